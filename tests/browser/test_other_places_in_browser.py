"""All five views in Firefox with JupyterLab and in Chromium with Notebook 7: with the keyboard, then with the mouse.

What each view does in detail is tested in Chromium with JupyterLab. JupyterHub has tests of its own; VS Code has none.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab import until, write_notebook
from selenium.webdriver.common.keys import Keys
from test_keyboard_in_browser import CELLS, FIRST

pytestmark = [pytest.mark.browser, pytest.mark.places, pytest.mark.posix]

LONG = "안녕 " + " ".join(["slowly"] * 14)  # answered in some twenty seconds: time to press Stop
VIEWS = {title: source for title, source in CELLS.items() if title != "Published figures"}
APP = {"lab": "lab/workspaces/other/tree", "notebook": "notebooks"}
# Of the page: the kernel's state, running all cells, the view with a title, and what has the keyboard.
NOTEBOOK = "[...(window.jupyterapp?.shell?.widgets('main') ?? [])].find(w => w.sessionContext)"
STATE = f"() => {NOTEBOOK}?.sessionContext.session?.kernel?.status ?? ''"
FIRST_CELL = "() => document.querySelector('.jp-Notebook .jp-InputArea-editor')"
RUN = (
    "() => { window.labsRun = ''; const end = () => { window.labsRun = 'ended'; };"
    " window.jupyterapp.commands.execute('notebook:run-all-cells').then(end, end); }"
)
ERRORS = (
    "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
    ".flatMap(c => c.model.outputs.toJSON()).filter(o => o.output_type === 'error').map(o => o.evalue)"
)
VIEW = "[...document.querySelectorAll('.labs-view')].find(v => v.innerText.startsWith({title!r}))"
BEGIN = """number => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = number;
  notebook.mode = "command";
  notebook.activeCell.node.focus();
}"""
NAME = """() => {
  const held = document.activeElement;
  return (held.getAttribute("aria-label") || held.labels?.[0]?.innerText || held.innerText || "").trim().slice(0, 80);
}"""
RING = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""


class Place:
    """A notebook with all views, open in one browser and one application."""

    def __init__(self, browser, address: str, name: str) -> None:
        self.browser, self.name = browser, name
        browser.open(address)
        until(lambda: browser.run(STATE) == "idle", 150, "the notebook is open and its kernel is idle")
        browser.click(FIRST_CELL)  # a notebook that nobody has clicked in is not the current one everywhere
        browser.run(RUN)
        until(lambda: browser.run("() => window.labsRun"), 150, "all cells have run")
        until(lambda: all(self.view(title, "Boolean(v)") for title in VIEWS), 60, "all views are drawn")
        assert browser.run(ERRORS) == []

    def view(self, title: str, expression: str):
        """The value of an expression about the view `v`."""
        return self.browser.run(f"() => {{ const v = {VIEW.format(title=title)}; return {expression}; }}")

    def status(self, title: str) -> str:
        return self.view(title, "v.querySelector('.labs-status').innerText")

    def says(self, title: str, words: str, seconds: float = 60) -> None:
        try:
            until(lambda: self.status(title).startswith(words), seconds, f"{title}: {words}")
        except AssertionError as late:
            raise AssertionError(f"{late}. It says: {self.view(title, 'v.innerText')}") from late

    def begin(self, title: str) -> None:
        """The focus goes to the cell of a view, in command mode."""
        self.browser.run(BEGIN, 1 + list(CELLS).index(title))

    def tab_to(self, name: str) -> None:
        met = []
        for _step in range(40):
            self.browser.press(Keys.TAB)
            held, ring = self.browser.run(f"() => [({NAME})(), ({RING})()]")  # at once: Stop may end meanwhile
            met.append(held)
            if held == name:
                assert ring, f"{name} has no ring"
                return
        raise AssertionError(f"40 times Tab, but {name!r} was not among {met}")

    def button(self, title: str, *words: str) -> str:
        """JavaScript that gives a button of a view."""
        return (
            f"() => [...{VIEW.format(title=title)}.querySelectorAll('button')]"
            f".find(b => {list(words)!r}.includes(b.innerText.trim()))"
        )

    def field(self, title: str, label: str) -> str:
        """JavaScript that gives the field with a label."""
        return (
            f"() => [...{VIEW.format(title=title)}.querySelectorAll('textarea, input')]"
            f".find(f => f.labels?.[0]?.innerText.trim() === {label!r})"
        )

    def picture(self, name: str) -> None:
        if folder := os.environ.get("LABS_SCREENSHOTS"):
            self.browser.picture(Path(folder) / f"{self.name}-{name}.png")


@pytest.fixture(scope="module", params=["firefox-lab", "chromium-notebook"])
def place(request, server, fresh_browser, tmp_path_factory, tiny_moe, tiny_vision):
    from firefox import firefox
    from hands import InChromium, InFirefox

    browser, app = request.param.split("-")
    if browser == "firefox" and not firefox():
        pytest.skip("Firefox is needed: apt install firefox-esr")
    if app == "notebook":
        pytest.importorskip("notebook", reason="pip install notebook")
    names = {"moe": str(tiny_moe), "vision": str(tiny_vision)}
    first = FIRST.replace("{moe!r}", repr(names["moe"]))
    path = f"other-{request.param}.ipynb"
    write_notebook(server.folder / path, [first, *(source.format(**names) for source in CELLS.values())])
    opened = InChromium(fresh_browser()) if browser == "chromium" else InFirefox(tmp_path_factory.mktemp("firefox"))
    try:
        yield Place(opened, f"http://127.0.0.1:{server.port}/{APP[app]}/{path}?token={server.token}", request.param)
    finally:
        opened.quit()
        server.end_kernels()


def test_with_the_keyboard_alone(place):
    press = place.browser.press
    place.begin("Chat with slow")
    place.tab_to("Your message")
    press(LONG, Keys.ENTER)
    place.says("Chat with slow", "Generating")
    place.tab_to("Stop")
    press(" ")
    place.says("Chat with slow", "Stopped.")
    assert f"{LONG} slow 안녕" in " ".join(place.view("Chat with slow", "v.innerText").split())
    for title, field, text, last in (
        ("Compare models", "Prompts, one per line", "one", "Run"),
        ("Tokens of", "Prompt", "hello", ""),
        ("Look with", "Your question", "What is it?", ""),
        ("Experts of", "Prompt", "hello", ""),
    ):
        place.begin(title)
        place.tab_to(field)
        press(Keys.CONTROL + "a", text)
        if last:
            place.tab_to(last)
        press(Keys.ENTER)
        # The status may still be that of the answer before.
        shown = "v.innerText + ' ' + [...v.querySelectorAll('textarea')].map(f => f.value)"
        until(lambda t=title, w=text, s=shown: w in place.view(t, s), 90, f"{title} shows {text}")
        place.says(title, "Done", 90)
    # "d d" would delete the cell, were it not in a control.
    cells = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    place.begin("Chat with slow")
    place.tab_to("Settings")
    press("d", "d")
    assert place.browser.run(cells) == 1 + len(CELLS)
    place.picture("keyboard")


def test_with_the_mouse_alone(place):
    """Only letters are typed: where they go, what is sent and what is stopped is clicked."""
    click, title = place.browser.click, "Chat with slow"
    click(place.field(title, "Your message"))
    place.browser.press("slowly it goes on and on")
    click(place.button(title, "Send"))
    place.says(title, "Generating")
    stop = place.button(title, "Stop", "Stopping…")
    where = f"() => {{ const place = ({stop})().getBoundingClientRect(); return [place.x, place.y]; }}"
    before = place.browser.run(where)
    until(lambda: place.view(title, "v.innerText.split('slowly').length") > 12, 30, "lines come")
    assert place.browser.run(where) == before, "Stop is where it was"
    click(stop)
    place.says(title, "Stopped.")
    assert place.browser.run(NAME) == "Your message", "the focus goes back to the field"
    for title, field, text, button in (
        ("Compare models", "Prompts, one per line", "two", "Run"),
        ("Tokens of", "Prompt", "again", "Show"),
        ("Look with", "Your question", "What else?", "Ask"),
        ("Experts of", "Prompt", "again", "Show"),
    ):
        click(place.field(title, field))
        place.browser.press(Keys.CONTROL + "a", text)
        words = place.view(title, "[...v.querySelectorAll('.labs-primary')].map(b => b.innerText.trim())")
        assert len(words) == 1 and words[0].startswith(button), words
        click(place.button(title, *words))
        # The status may still be that of the answer before.
        shown = "v.innerText + ' ' + [...v.querySelectorAll('textarea')].map(f => f.value)"
        until(lambda t=title, w=text, s=shown: w in place.view(t, s), 90, f"{title} shows {text}")
        place.says(title, "Done", 90)
    place.picture("mouse")
