"""`look` in a real JupyterLab: the strip, files, drop and paste, order, tiles, ask and read the answer.

With the bundled model, once there is one, the answers must be right; until then random weights answer.
"""

from __future__ import annotations

import base64
import shutil

import pytest
from lab import ROOT, axe_findings, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_restart_in_browser import NEW_KERNEL, finish

pytestmark = pytest.mark.browser

PICTURES = ROOT / "images" / "vision"
SIGN = PICTURES / "sign.png"
BUNDLED = (ROOT / "data" / "checkpoints" / "vision-tiny").is_dir()
ASK = "Which word is written on the sign?"
CELL = f"from labs_helper import load, look\nview = look(load({{model!r}}), prompt={ASK!r})\nview"
# What the browser makes of Ctrl+V and of a drop, with files that hold these bytes; no clipboard holds some here.
GIVE = """
const [place, kind, files] = arguments;
const data = new DataTransfer();
for (const [name, type, text] of files) {
  data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name, { type }));
}
const given = { bubbles: true, cancelable: true };
place.dispatchEvent(kind === "paste"
  ? new ClipboardEvent("paste", { ...given, clipboardData: data })
  : new DragEvent(kind, { ...given, dataTransfer: data }));
"""


@pytest.fixture
def page(open_cells, tiny_vision, request):
    name = f"look-{request.node.name[5:25]}.ipynb"
    page = open_cells(name, [CELL.format(model="vision" if BUNDLED else str(tiny_vision)), "print('the last cell')"])
    until(lambda: page.boxes("Look with"), 60, "the widget is drawn")
    page.file = request.getfixturevalue("server").folder / name
    page.driver.set_script_timeout(60)
    return page


def all_of(box, selector):
    return box.find_elements(By.CSS_SELECTOR, selector)


def names(box) -> list[str]:
    """The names on the cards."""
    return [one.text for one in all_of(box, ".labs-card strong")]


def arrived(box) -> list[str]:
    return [one.text for one in all_of(box, ".labs-arrived li")]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def field(box):
    return box.find_element(By.CSS_SELECTOR, ".labs-message")


def holds_focus(page, element) -> bool:
    return page.driver.switch_to.active_element == element


def test_files_paste_drop_order_and_answer(page, tmp_path):
    box, driver = page.boxes("Look with")[0], page.driver
    assert field(box).get_attribute("value") == ASK, "the notebook's question is in the field"
    mine = tmp_path / "<img src=x onerror=document.title='pwned'>.png"
    shutil.copy(SIGN, mine)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    chooser = box.find_element(By.CSS_SELECTOR, "input[type=file]")
    chooser.send_keys(f"{mine}\n{tmp_path / 'broken.png'}\n{PICTURES / 'pie.png'}")
    until(lambda: len(arrived(box)) == 3, 30, "every file is named")
    assert names(box) == [f"1: {mine.name}", "2: pie.png"]
    words = arrived(box)
    assert "added" in words[0] and "broken.png" in words[1] and "added" in words[2], words
    page.screenshot("look-files", box)
    # The words about files stand beside the files, above the list.
    said, card = all_of(box, ".labs-arrived")[0], all_of(box, ".labs-card")[0]
    assert said.rect["y"] < card.rect["y"] and "broken.png" not in page.status(box)

    page.click(page.button(box, "Ask"))
    assert holds_focus(page, field(box)), "the focus goes back to the question"
    until(lambda: page.status(box) == "Done.", 90, "the model answers")
    said = box.find_element(By.CSS_SELECTOR, "[role=log]").text
    assert ASK in said and "tokens/s" in box.text and field(box).get_attribute("value") == ""
    assert driver.title != "pwned" and not all_of(box, "img[src=x]")

    driver.execute_script(
        GIVE, field(box), "paste", [["shape.png", "image/png", encoded((PICTURES / "one-shape.png").read_bytes())]]
    )
    until(lambda: names(box)[2:] == ["3: shape.png"], 30, "a picture that is pasted into the question joins the list")
    zone = box.find_element(By.CSS_SELECTOR, ".labs-drop")
    files = [["a.png", "image/png", encoded(SIGN.read_bytes())], ["notes.txt", "text/plain", encoded(b"words")]]
    driver.execute_script(GIVE, zone, "dragover", files)
    assert "labs-over" in zone.get_attribute("class")
    driver.execute_script(GIVE, zone, "drop", files)
    until(lambda: len(names(box)) == 4 and len(arrived(box)) == 2, 30, "a drop")
    assert "labs-over" not in zone.get_attribute("class") and "notes.txt" in arrived(box)[1]
    driver.execute_script(GIVE, zone, "paste", [])
    until(lambda: "no picture in what was pasted" in " ".join(arrived(box)), 30, "nothing to paste")

    earlier = box.find_element(By.CSS_SELECTOR, "[aria-label='Move 3, shape.png, earlier']")
    page.click(earlier)
    until(lambda: names(box)[1] == "2: shape.png", 30, "the order has changed")
    assert holds_focus(page, earlier), "the pressed button has the focus where it is now"
    page.click(box.find_element(By.CSS_SELECTOR, "[aria-label^='Remove 1,']"))
    until(lambda: len(names(box)) == 3, 30, "one is gone")
    assert page.focused().name == "Remove 1, shape.png", "its neighbour has the focus"
    page.click(page.button(box, "Undo"))
    until(lambda: len(names(box)) == 4, 30, "and back again")
    page.click(page.button(box, "Remove all"))
    until(lambda: names(box) == [], 30, "all are gone")
    assert page.complaints() == []


def test_a_press_in_the_strip_adds_and_its_question_can_be_asked(page):
    box, driver = page.boxes("Look with")[0], page.driver
    drawn = "return [...arguments[0].querySelectorAll('.labs-thumb img')].map(i => i.naturalWidth)"
    until(lambda: all(driver.execute_script(drawn, box)), 60, "small pictures come")
    assert len(all_of(box, ".labs-thumb")) > 30
    page.click(box.find_element(By.XPATH, ".//button[normalize-space()='one-shape.png']"))
    until(lambda: names(box) == ["1: one-shape.png"], 30, "one press adds it")
    assert field(box).get_attribute("value") == ASK, "what the notebook asks stays"
    own = "Which thing is in this picture?"
    page.click(page.button(box, own))
    assert field(box).get_attribute("value") == own and holds_focus(page, field(box))
    page.press(Keys.ENTER)
    until(lambda: page.status(box) == "Done.", 90, "the answer")
    log = box.find_element(By.CSS_SELECTOR, "[role=log]").text
    assert own in log and (not BUNDLED or "star" in log), log
    assert not [one for one in all_of(box, ".labs-suggest button") if one.text == own], "asked: suggested no more"
    page.press(Keys.ARROW_UP)
    assert field(box).get_attribute("value") == own, "Up brings the last question"
    page.screenshot("look-strip", box)


def test_the_tiles_are_drawn_on_demand_and_the_cost_follows(page):
    box = page.boxes("Look with")[0]
    page.click(page.button(box, "sign.png"))
    until(lambda: "tokens of the prompt" in box.text, 30, "the cost")
    assert not all_of(box, "img[alt^='What the model sees']")
    page.click(box.find_element(By.XPATH, ".//summary[normalize-space()='What the model sees']"))
    until(lambda: all_of(box, "img[alt^='What the model sees']"), 30, "tiles")
    before = box.find_element(By.CSS_SELECTOR, ".labs-total").text
    choice = page.field(box, "num_crops")
    page.click(choice.find_element(By.CSS_SELECTOR, "option[value='9']"))
    until(lambda: box.find_element(By.CSS_SELECTOR, ".labs-total").text != before, 30, "another cost")
    page.screenshot("look-tiles", box)


def test_seconds_are_shown_while_it_reads_and_the_status_says_what_it_does(page):
    box, driver = page.boxes("Look with")[0], page.driver
    page.in_kernel(
        "import time\nreal = view.model.submit\n"
        "def slow(*given, **options):\n    time.sleep(2.5)\n    return real(*given, **options)\n"
        "view.model.submit = slow"
    )
    page.click(page.button(box, "sign.png"))
    until(lambda: names(box), 30, "added")
    driver.execute_script(
        "window.labsSaid = []; const box = arguments[0];"
        "new MutationObserver(() => labsSaid.push(box.innerText))"
        ".observe(box, {subtree: true, childList: true, characterData: true});",
        box.find_element(By.CSS_SELECTOR, ".labs-status").find_element(By.XPATH, ".."),
    )
    page.click(page.button(box, "Ask"))
    until(lambda: page.status(box) == "Done.", 90, "the answer")
    said = driver.execute_script("return window.labsSaid")
    assert any(line.split()[-2:] == ["2", "s"] for line in said), said
    assert any("Reading 1 picture" in line or "Loading" in line for line in said), said
    assert said[-1].strip() == "Done.", "no seconds after the answer"


def test_jupyterlab_keeps_its_keys_and_a_lost_kernel_is_told_in_place(page):
    box, driver = page.boxes("Look with")[0], page.driver
    page.click(page.button(box, "sign.png"))
    until(lambda: names(box), 30, "added")
    cells = len(page.cells())
    thumb = next(one for one in all_of(box, ".labs-thumb") if one.get_attribute("tabindex") == "0")
    thumb.send_keys("d", "d", "a", "m")
    assert len(page.cells()) == cells
    field(box).send_keys(" and more")
    driver.execute_script(
        "window.labsSaved = 0; window.jupyterapp.commands.commandExecuted.connect("
        "(_, c) => { if (c.id === 'docmanager:save') window.labsSaved += 1; });"
    )
    field(box).send_keys(Keys.CONTROL + "s")
    until(lambda: driver.execute_script("return window.labsSaved"), 20, "Ctrl+S saves")
    finish(driver, NEW_KERNEL)
    until(lambda: "The kernel was restarted. Run this cell again." in box.text, 30, "it says so")
    assert field(box).get_attribute("value") == f"{ASK} and more", "what was typed can be copied"
    assert all(not one.is_enabled() for one in all_of(box, ".labs-thumb")[:1]), (
        "nothing that does nothing can be pressed"
    )
    page.screenshot("look-gone", box)


@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_in_a_narrow_window_and_axe_finds_nothing(page, width):
    box, driver = page.boxes("Look with")[0], page.driver
    page.click(page.button(box, "village"))
    until(lambda: len(names(box)) == 2, 30, "added")
    driver.execute_script("arguments[0].style.width = arguments[1] + 'px'", box, width)
    wide = driver.execute_script(
        "const box = arguments[0], edge = box.getBoundingClientRect().right + 1;"
        "return [...box.querySelectorAll('*')].filter(e => !e.closest('.labs-strip') && !e.matches('.labs-aside')"
        " && e.getBoundingClientRect().right > edge && e.getBoundingClientRect().width)"
        ".map(e => e.className || e.tagName);",
        box,
    )
    assert wide == []
    page.screenshot(f"look-{width}", box)
    assert axe_findings(driver, ".labs-widget") == []
