"""The lists below pictures of attention in a real JupyterLab, with the keyboard alone and without a kernel."""

from __future__ import annotations

import pytest
from lab import Page, axe_findings, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser

# Head 1 of layer 1 looks at the token before, with .75; all others look at the token itself.
RECORD = """
import numpy as np
from labs_helper.figures import attention_view
from labs_helper.reference import Attention
pieces = ("长", "沙", "是", "湖", "南", "省", "的", "一", "个", "城", "市", "<b>")
shares = np.broadcast_to(np.eye(12), (2, 3, 12, 12)).copy()
for place in range(1, 12):
    shares[1, 1, place] = 0
    shares[1, 1, place, place - 1 : place + 1] = 0.75, 0.25
record = Attention(shares, np.zeros((3, 12, 4)), pieces, 2)
"""
CELLS = [RECORD, "attention_view(record)", "attention_view(record, 1, 1)", "print('the last cell')"]
HEADS = "Choose a head to see where each token looked (with the keyboard: arrows, Home, End):"
TOKENS = "Choose a token to see where it looked (with the keyboard: arrows, Home, End):"


def read_aloud(page: Page) -> tuple[list[str], list[str]]:
    """What a screen reader gets of each view: the chosen line of its list, and the text that is read on a change."""
    driver = page.driver
    root = driver.execute_cdp_cmd("DOM.getDocument", {"depth": 0})["root"]["nodeId"]

    def parts(selector: str, role: str) -> list[list[dict]]:
        found = driver.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": root, "selector": selector})["nodeIds"]
        asked = [driver.execute_cdp_cmd("Accessibility.queryAXTree", {"nodeId": each, "role": role}) for each in found]
        return [answer["nodes"] for answer in asked]

    def chosen(node: dict) -> bool:
        return any(each["name"] == "selected" and each["value"].get("value") for each in node.get("properties", ()))

    lists = parts(".labs-choice select", "option")
    texts = parts(".labs-choice [role=status]", "StaticText")
    return (
        [node["name"]["value"] for nodes in lists for node in nodes if chosen(node)],
        [" ".join(node["name"]["value"] for node in nodes if not node.get("ignored")) for nodes in texts],
    )


def seen_frame(page: Page, cell: int):
    """The frame that is drawn over the picture of a cell."""
    output = page.driver.find_elements(By.CSS_SELECTOR, ".jp-CodeCell")[cell]
    frames = [each for each in output.find_elements(By.CSS_SELECTOR, ".labs-choice i") if each.is_displayed()]
    assert len(frames) == 1
    return frames[0].rect


def test_heads_and_tokens_are_chosen_with_the_keyboard(open_cells):
    page = open_cells("attention.ipynb", CELLS)
    page.driver.execute_script("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    before = len(page.cells())

    page.select_cell(1)
    focus = page.tab_to(HEADS, most=8)
    assert focus.ring and focus.role == "listbox"
    lines, told = read_aloud(page)
    assert lines[0].startswith("layer 0, head 0") and "沙 (1) at 沙 (1) 100%" in told[0]
    upper = seen_frame(page, 1)
    page.press(*[Keys.ARROW_DOWN] * 4)
    lines, told = read_aloud(page)
    assert lines[0] == "layer 1, head 1: 10% at the first token; sharpest 是 (2) at 沙 (1) 75%"
    assert told[0].startswith("layer 1, head 1") and "沙 (1) at 长 (0) 75%" in told[0]
    lower = seen_frame(page, 1)
    assert lower["y"] > upper["y"] + 20 and lower["x"] > upper["x"] + 20

    # Tab goes on to the next list: each is one stop.
    focus = page.tab_to(TOKENS, most=4)
    assert focus.ring and read_aloud(page)[0][1] == "2: 是 looked at 沙 (1) 75%"
    page.press(Keys.END)
    lines, told = read_aloud(page)
    assert lines[1] == "10: 市 looked at 城 (9) 75%" and "城 9 75.0%" in told[1] and "市 10 25.0%" in told[1]
    last = seen_frame(page, 2)
    page.press(Keys.HOME)
    assert read_aloud(page)[0][1] == "1: 沙 looked at 长 (0) 75%"
    first = seen_frame(page, 2)
    assert last["y"] - first["y"] == pytest.approx(9 * first["height"], rel=0.1) and last["x"] == first["x"]
    # Letters go to the line that begins with them, and none to JupyterLab, where they delete, add and cut cells.
    page.press("7")
    until(lambda: read_aloud(page)[0][1].startswith("7: 一"), 5, "7 is chosen")
    page.press("d", "d", "a", "b", "x", "m")
    assert len(page.cells()) == before and page.focused().name == TOKENS
    assert "\u4e00" in page.cells()[0]["source"]
    # Escape changes nothing, and Shift+Tab leads back to the list before.
    page.press(Keys.ESCAPE)
    assert read_aloud(page)[0][1].startswith("7: 一") and len(page.cells()) == before
    assert page.tab_to(HEADS, back=True, most=4).ring
    page.screenshot("attention", page.driver.find_elements(By.CSS_SELECTOR, ".jp-CodeCell")[2])
    assert axe_findings(page.driver, ".labs-choice") == []
