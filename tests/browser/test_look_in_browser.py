"""`look` in a real JupyterLab with the bundled model: upload, paste, order, tiles, ask and read the answer."""

from __future__ import annotations

import base64
import shutil

import nbformat
import pytest
from lab import ROOT, until

pytestmark = pytest.mark.browser

SIGN = ROOT / "images" / "vision" / "sign.png"
CELLS = ["from labs_helper import load, look\nlook(load('vision'), prompt='Which word is written on the sign?')"]


@pytest.fixture
def page(server, open_page, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
                                        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    nbformat.write(notebook, server.folder / "look.ipynb")
    page = open_page("look.ipynb")
    page.run_all(150)
    assert page.errors() == []
    until(lambda: page.boxes("Look with"), 60, "the widget is drawn")
    return page


def words_of(page, box) -> list[str]:
    """The captions of the pictures in the list."""
    return page.driver.execute_script(
        "return [...arguments[0].querySelectorAll('figcaption strong')].map(e => e.innerText.trim())", box)


def test_upload_paste_order_and_answer(page, tmp_path):
    from selenium.webdriver.common.by import By

    box = page.boxes("Look with")[0]
    mine = tmp_path / "<img src=x onerror=document.title='pwned'>.png"
    shutil.copy(SIGN, mine)
    box.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(mine))
    until(lambda: words_of(page, box) == [f"1: {mine.name}"], 30, "the upload is in the list")
    assert "313 tokens" in box.text
    page.button(box, "Ask").click()
    until(lambda: page.status(box) == "Done.", 90, "the model answers")
    page.screenshot("look-upload", box)
    said = box.find_element(By.CSS_SELECTOR, "[role=log]").text
    assert "ZEBRA" in said, said
    assert page.driver.title != "pwned" and not box.find_elements(By.CSS_SELECTOR, "img[src=x]")

    # A picture from the clipboard: the event that the browser makes of Ctrl+V, as no clipboard holds one here.
    other = base64.b64encode((ROOT / "images" / "vision" / "one-shape.png").read_bytes()).decode()
    page.driver.execute_script(
        "const bytes = Uint8Array.from(atob(arguments[1]), c => c.charCodeAt(0)), data = new DataTransfer();"
        "data.items.add(new File([bytes], 'shape.png', {type: 'image/png'}));"
        "const place = [...arguments[0].querySelectorAll('[role=group]')]"
        ".find(e => e.innerText.startsWith('Paste or drop'));"
        "place.focus(); place.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));",
        box, other)
    until(lambda: len(words_of(page, box)) == 2, 30, "the pasted picture is in the list")
    page.button(box, "Move 2 up").click()
    until(lambda: words_of(page, box)[0] == "1: shape.png", 30, "the order has changed")
    page.button(box, "Remove 2").click()
    until(lambda: len(words_of(page, box)) == 1, 30, "one is left")

    box.find_element(By.XPATH, ".//label[contains(normalize-space(),'Show what the model sees')]").click()
    until(lambda: box.find_elements(By.CSS_SELECTOR, "figure svg, figure img[alt^='What the model sees']"), 30, "tiles")
    field = page.field(box, "Your question")
    field.clear()
    field.send_keys("Which thing is in this picture?\n")
    until(lambda: "star" in box.find_element(By.CSS_SELECTOR, "[role=log]").text, 60, "the second answer")
    page.screenshot("look-tiles", box)
    assert page.complaints() == []
