"""Every widget in a real JupyterLab with the keyboard alone: Tab, Shift+Tab, Enter, Space, arrows and typing.

No test clicks. One notebook holds all widgets; each test begins in its cell in command mode, where JupyterLab has
commands of its own on arrows and letters.
"""

from __future__ import annotations

import pytest
from lab import Page, axe_findings, until, write_notebook
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_widgets_in_browser import SLOW_MODEL

pytestmark = pytest.mark.browser

CELLS = {
    "Chat with slow": "chat(slow)",
    "Compare models": "compare([slow, slow], [])",
    "Tokens of": "tokens(random_experts, max_tokens=4)",
    "Published figures": "benchmarks()",
    "Look with": "look({vision!r}, 'images/vision/sign.png', max_tokens=4)",
    "Experts of": "experts(random_experts, max_tokens=4)",
}
FIRST = (
    SLOW_MODEL
    + """
from labs_helper import load
from labs_helper.widgets import *
random_experts = load({moe!r})
"""
)


@pytest.fixture(scope="module")
def notebook(server, fresh_browser, tiny_moe, tiny_vision):
    """The page with all widgets, one for all tests."""
    names = {"moe": str(tiny_moe), "vision": str(tiny_vision)}
    first = FIRST.replace("{moe!r}", repr(names["moe"]))
    write_notebook(server.folder / "keyboard.ipynb", [first, *(source.format(**names) for source in CELLS.values())])
    with Page(server, fresh_browser(), "keyboard.ipynb") as page:
        page.run_all(150)
        assert page.errors() == []
        until(lambda: all(page.boxes(title) for title in CELLS), 60, "all widgets are drawn")
        yield page
        assert page.complaints() == []


@pytest.fixture
def begin(notebook):
    """A function: the focus goes to the cell of a widget, in command mode; the widget's box comes back."""

    def begin_(title):
        notebook.select_cell(1 + list(CELLS).index(title))
        assert "jp-Cell" in notebook.focused().element.get_attribute("class")
        return notebook.boxes(title)[0]

    return begin_


def number_of_cells(page):
    return len(page.cells())


@pytest.mark.parametrize("title", CELLS)
def test_tab_meets_every_control_with_a_name_and_a_ring(notebook, begin, title):
    """Each control has an accessible name that can be read on the page, a visible ring, and lies inside the window."""
    box = begin(title)
    wanted = notebook.driver.execute_script(
        "const every = 'button, input:not([type=file]), select, textarea, summary, [tabindex=\"0\"]';"
        "const seen = e => e.offsetParent && e.checkVisibility({contentVisibilityAuto: true});"
        "const stops = e => e.type !== 'radio' || e.checked;"  # of a group, Tab meets the chosen one
        "return [...arguments[0].querySelectorAll(every)]"
        "  .filter(e => !e.disabled && e.tabIndex >= 0 && seen(e) && stops(e));",
        box,
    )
    met = []
    for _ in range(len(wanted) + 8):
        notebook.press(Keys.TAB)
        focus = notebook.focused()
        if focus.element in wanted:
            met.append(focus)
        if len(met) == len(wanted):
            break
    assert [focus.element for focus in met] == wanted, [focus.name for focus in met]
    shown = " ".join(box.text.split())
    for focus in met:
        # A button that shows a sign has its name where the mouse rests.
        name = " ".join(focus.name.split())
        assert name and (name in shown or name == focus.element.get_attribute("title")), focus
        assert focus.ring and focus.seen, focus
    notebook.screenshot(f"keyboard-{title.split()[0].lower()}", box)
    # And all the way back.
    for focus in reversed(met[:-1]):
        notebook.press(Keys.SHIFT + Keys.TAB)
        assert notebook.focused().element == focus.element, focus.name


def test_letters_on_a_button_do_no_harm(notebook, begin):
    """In command mode "d d" deletes a cell, "a" adds one and "0 0" restarts the kernel: not from inside a widget."""
    begin("Chat with slow")
    notebook.tab_to("New conversation")
    before = number_of_cells(notebook)
    notebook.press("a", "b", "x", "d", "d", "m", Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert notebook.focused().name == "New conversation" and number_of_cells(notebook) == before
    # Escape stays JupyterLab's, and outside the widget its keys work as ever.
    begin("Chat with slow")
    notebook.press("b")
    until(lambda: number_of_cells(notebook) == before + 1, 10, "a cell below")
    notebook.press("d", "d")
    until(lambda: number_of_cells(notebook) == before, 10, "it is gone again")


def test_chat(notebook, begin):
    box = begin("Chat with slow")
    with notebook.stays(box, "Stop"):
        notebook.tab_to("Your message")
        notebook.press("안녕 hi", Keys.ENTER)
        until(lambda: "Generating" in notebook.status(box), 30, "Enter sends")
        notebook.tab_to("Stop")
        notebook.press(Keys.SPACE)
        until(lambda: notebook.status(box) == "Stopped.", 30, "Space on Stop stops")
    assert "안녕 hi" in box.text and "(stopped)" in box.text
    begin("Chat with slow")
    notebook.tab_to("Settings")
    notebook.press(Keys.ENTER)
    notebook.tab_to("Max tokens (1 to 1024)")
    notebook.press(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_DOWN)
    assert notebook.focused().element.get_attribute("value") == "257"
    notebook.tab_to("Temperature (0 to 2)", back=True)
    notebook.press(Keys.CONTROL + "a", "0.7", Keys.TAB)
    assert notebook.field(box, "Temperature (0 to 2)").get_attribute("value") == "0.7"
    notebook.tab_to("New conversation", back=True)
    notebook.press(Keys.ENTER)
    until(lambda: notebook.status(box) == "New conversation.", 30, "Enter on a button presses it")


def test_compare(notebook, begin):
    box = begin("Compare models")
    notebook.tab_to("Prompts, one per line")
    notebook.press("one", Keys.ENTER, "two")  # Enter begins a line here
    notebook.tab_to("Run")
    with notebook.stays(box, "Stop"):
        notebook.press(Keys.SPACE)
        until(lambda: notebook.status(box).startswith("Done"), 60, "all answers are there")
    rows = box.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == ["one", "two"]
    assert all("Error" not in row.text for row in rows), box.text


def test_tokens(notebook, begin):
    box = begin("Tokens of")
    notebook.tab_to("Prompt")
    with notebook.stays(box, "Stop"):
        notebook.press("hello", Keys.ENTER)
        until(lambda: notebook.status(box).startswith("Done."), 60, "Enter shows the tokens")
    notebook.tab_to("All tokens as a table, with the alternatives")
    assert notebook.focused().ring
    notebook.press(Keys.ENTER)
    until(lambda: box.find_element(By.CSS_SELECTOR, "details table").is_displayed(), 10, "the table opens")


def test_benchmarks(notebook, begin):
    box = begin("Published figures")

    def words():
        return box.find_element(By.CSS_SELECTOR, "figure img").get_attribute("alt")

    before = words()
    notebook.tab_to("Test")
    notebook.press(Keys.ARROW_DOWN)
    until(lambda: words() != before, 30, "the chart follows an arrow in the choice of the test")
    assert notebook.focused().name == "Test"
    notebook.tab_to("Table", back=True)
    notebook.press("Long")  # a choice box finds what begins so
    until(lambda: "Long context" in words(), 30, "the chart follows typed letters")
    notebook.tab_to("chart")
    notebook.press(Keys.ARROW_DOWN)
    until(lambda: box.find_elements(By.CSS_SELECTOR, "figure table"), 30, "the table view")
    assert "Llama-3.1-8B-Instruct" not in box.find_element(By.CSS_SELECTOR, "figure").text
    notebook.tab_to("Llama-3.1-8B-Instruct")
    notebook.press(Keys.SPACE)
    until(lambda: "Llama-3.1-8B-Instruct" in box.find_element(By.CSS_SELECTOR, "figure").text, 30, "one more model")
    notebook.screenshot("keyboard-benchmarks-table", box)


def test_look(notebook, begin):
    box = begin("Look with")

    def names():
        return [one.text for one in box.find_elements(By.CSS_SELECTOR, ".labs-card strong")]

    until(lambda: box.find_elements(By.CSS_SELECTOR, ".labs-thumb"), 30, "the strip")
    notebook.tab_to("one-shape.png")
    notebook.press(Keys.ARROW_RIGHT, Keys.END, Keys.HOME, Keys.ARROW_RIGHT)
    assert notebook.focused().name == "four-shapes.png", "arrows go through the strip"
    notebook.press(Keys.ENTER)
    until(lambda: names()[1:] == ["2: four-shapes.png"], 30, "Enter adds the picture")
    assert notebook.focused().name == "four-shapes.png"
    notebook.tab_to("A file where the notebook runs")
    notebook.press(Keys.ENTER)
    notebook.tab_to("Path of a file")
    notebook.press("nowhere.png", Keys.ENTER)
    until(lambda: "nowhere.png" in box.text, 30, "the reason")
    assert notebook.focused().element.get_attribute("value") == "nowhere.png", "what was refused stays"
    notebook.press(Keys.CONTROL + "a", "images/vision/pie.png", Keys.ENTER)
    until(lambda: len(names()) == 3, 30, "Enter adds a path")
    notebook.tab_to("Move 3, pie.png, earlier")
    notebook.press(Keys.SPACE)
    until(lambda: names()[1] == "2: pie.png", 30, "it has moved")
    notebook.press(Keys.SPACE)
    until(lambda: names()[0] == "1: pie.png", 30, "the focus went with it")
    until(lambda: notebook.focused().name == "Move 1, pie.png, later", 10, "first: the other direction has the focus")
    notebook.tab_to("Remove 2, sign.png")
    notebook.press(Keys.ENTER)
    until(lambda: names() == ["1: pie.png", "2: four-shapes.png"], 30, "it is gone")
    until(lambda: notebook.focused().name == "Remove 2, four-shapes.png", 10, "the next one has the focus")
    notebook.tab_to("num_crops")
    notebook.press(Keys.ARROW_DOWN)
    notebook.tab_to("What the model sees")
    notebook.press(Keys.SPACE)
    until(lambda: box.find_elements(By.CSS_SELECTOR, "figure img[alt^='What the model sees']"), 30, "tiles")
    notebook.tab_to("Your question")
    with notebook.stays(box, "Stop"):
        notebook.press(Keys.CONTROL + "a", "What is it?", Keys.ENTER)
        until(lambda: notebook.status(box) == "Done.", 90, "Enter asks")
    notebook.screenshot("keyboard-look", box)
    assert "What is it?" in box.find_element(By.CSS_SELECTOR, "[role=log]").text


def test_experts(notebook, begin):
    box = begin("Experts of")
    assert "Layer" not in box.text, "nothing is drawn yet"
    notebook.tab_to("Prompt")
    with notebook.stays(box, "Stop"):
        notebook.press("hello", Keys.TAB, "you", Keys.ENTER)
        until(lambda: notebook.status(box).startswith("Done."), 60, "Enter shows the experts")
    until(lambda: "In layer 0" in box.text, 30, "the experts of the first layer are there")
    until(lambda: notebook.focused().name == "Compare with", 10, "the focus stays where Enter was pressed")
    notebook.tab_to("Layer")
    notebook.press(Keys.ARROW_DOWN)
    until(lambda: "In layer 1" in box.text, 30, "an arrow chooses the layer")
    assert notebook.focused().name == "Layer"
    notebook.tab_to("View", back=True)
    notebook.press(Keys.ARROW_DOWN)
    until(lambda: box.find_elements(By.CSS_SELECTOR, "figure img"), 30, "an arrow chooses the view")
    until(lambda: "Layer" not in box.text, 10, "all layers are drawn: there is none to choose")
    notebook.screenshot("keyboard-experts", box)


def test_axe_finds_nothing_in_the_widgets(notebook):
    """After the tests above: with answers, tables, charts and pictures in them. JupyterLab around them is not ours."""
    assert len(notebook.driver.find_elements(By.CSS_SELECTOR, ".labs-widget")) == len(CELLS)
    assert axe_findings(notebook.driver, ".labs-widget") == []
