"""`look` in a real JupyterLab: upload, paste, order, tiles, ask and read the answer.

With the bundled model, once there is one, the answers must be right; until then random weights answer.
"""

from __future__ import annotations

import base64
import shutil

import pytest
from lab import ROOT, until

pytestmark = pytest.mark.browser

SIGN = ROOT / "images" / "vision" / "sign.png"
BUNDLED = (ROOT / "data" / "checkpoints" / "vision-tiny").is_dir()
CELL = "from labs_helper import load, look\nlook(load({model!r}), prompt='Which word is written on the sign?')"


@pytest.fixture
def page(open_cells, tiny_vision):
    page = open_cells("look.ipynb", [CELL.format(model="vision" if BUNDLED else str(tiny_vision))])
    until(lambda: page.boxes("Look with"), 60, "the widget is drawn")
    return page


def words_of(page, box) -> list[str]:
    """The captions of the pictures in the list."""
    return page.driver.execute_script(
        "return [...arguments[0].querySelectorAll('figcaption strong')].map(e => e.innerText.trim())", box
    )


def test_upload_paste_order_and_answer(page, tmp_path):
    from selenium.webdriver.common.by import By

    box = page.boxes("Look with")[0]
    mine = tmp_path / "<img src=x onerror=document.title='pwned'>.png"
    shutil.copy(SIGN, mine)
    # The button clicks an input that is not part of the page, and the browser's own window for files would open. Put
    # into the page instead, it takes the file as if it had been chosen there.
    page.driver.execute_script(
        "HTMLInputElement.prototype.click = function () { this.id = 'chosen'; document.body.appendChild(this); };"
    )
    box.find_element(By.CSS_SELECTOR, "button.widget-upload").click()
    page.driver.find_element(By.ID, "chosen").send_keys(str(mine))
    until(lambda: words_of(page, box) == [f"1: {mine.name}"], 30, "the upload is in the list")
    assert "313 tokens" in box.text
    page.button(box, "Ask").click()
    until(lambda: page.status(box) == "Done.", 90, "the model answers")
    page.screenshot("look-upload", box)
    said = box.find_element(By.CSS_SELECTOR, "[role=log]").text
    assert "Which word is written on the sign?" in said and "tokens/s" in box.text
    assert not BUNDLED or "ZEBRA" in said, said
    assert page.driver.title != "pwned" and not box.find_elements(By.CSS_SELECTOR, "img[src=x]")

    # A picture from the clipboard: the event that the browser makes of Ctrl+V, as no clipboard holds one here.
    other = base64.b64encode((ROOT / "images" / "vision" / "one-shape.png").read_bytes()).decode()
    page.driver.execute_script(
        "const bytes = Uint8Array.from(atob(arguments[1]), c => c.charCodeAt(0)), data = new DataTransfer();"
        "data.items.add(new File([bytes], 'shape.png', {type: 'image/png'}));"
        "const place = [...arguments[0].querySelectorAll('[role=group]')]"
        ".find(e => e.innerText.startsWith('Paste or drop'));"
        "place.focus(); place.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));",
        box,
        other,
    )
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
    until(
        lambda: "Which thing is in this picture?" in box.find_element(By.CSS_SELECTOR, "[role=log]").text,
        90,
        "the second answer",
    )
    assert not BUNDLED or "star" in box.find_element(By.CSS_SELECTOR, "[role=log]").text
    page.screenshot("look-tiles", box)
    assert page.complaints() == []
