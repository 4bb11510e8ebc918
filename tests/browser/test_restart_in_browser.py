"""Two notebooks in two tabs, then a new kernel in one: what was done in them is still there."""

from __future__ import annotations

import pytest
from lab import until, write_notebook
from selenium.common.exceptions import ElementNotInteractableException
from selenium.webdriver.common.by import By
from test_widgets_in_browser import SLOW_MODEL

from labs_helper.exercises import progress

pytestmark = pytest.mark.browser

BEGIN = """
import os
os.environ["LABS_PROGRESS"], os.environ["LABS_DATA_DIR"] = "on", {folder!r}
from labs_helper import chat, check
"""
TALK = "talk = chat(slow)\ntalk"
SAVE = "window.jupyterapp.commands.execute('docmanager:save')"
NEW_KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"


def finish(driver, promise: str) -> None:
    """Wait for a promise of the page; its error becomes the test's."""
    driver.set_script_timeout(60)
    wrong = driver.execute_async_script(
        f"const done = arguments[0]; {promise}.then(() => done(), e => done(String(e)));"
    )
    assert wrong is None


def tries() -> int:
    """How often exercise 0.1 was tried, from the learner's file."""
    return progress.entries()["0.1"].tries


def test_two_tabs_and_a_restart_lose_nothing(server, open_cells, tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "data"))
    begin = BEGIN.format(folder=str(tmp_path / "data"))
    write_notebook(server.folder / "other.ipynb", [begin, "check('0.1', 'a guess in the other tab')"])
    page = open_cells(
        "restart.ipynb",
        [
            begin,
            SLOW_MODEL,
            TALK,
            "talk.send('keep me').wait(30).transcript()",
            "check('0.1', 'a guess')",
            "check('0.1', 'another guess')",
        ],
    )
    driver, first = page.driver, page.driver.current_window_handle
    until(lambda: "keep me keep me" in page.boxes("Chat with slow")[0].text, 30, "the chat has answered")
    finish(driver, SAVE)
    assert tries() == 2

    # The second tab adds its own to what the first has tried.
    driver.switch_to.new_window("tab")
    driver.get(server.address("other.ipynb").replace("workspaces/test", "workspaces/second"))

    def clicked() -> bool:
        """Click in the first cell: a tab that nobody has clicked in has no current notebook."""
        for cell in driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-InputArea-editor")[:1]:
            try:
                cell.click()
            except ElementNotInteractableException:  # not drawn yet
                return False
        return page._ready()

    until(clicked, 60, "the other notebook is drawn and its kernel is idle")
    page.run_all(60)
    assert page.errors() == [] and tries() == 3

    # A new kernel in the first: what the chat said stays on the page, and the tries of both tabs stay.
    driver.switch_to.window(first)
    finish(driver, NEW_KERNEL)
    until(page._ready, 60, "the new kernel is idle")
    assert "keep me keep me" in page.boxes("Chat with slow")[0].text
    # And in the file: the page is loaded again, and the transcript is there without running anything.
    driver.get(server.address("restart.ipynb"))
    until(page._ready, 60, "the notebook is open again")
    assert "keep me keep me" in " ".join(str(cell["outputs"]) for cell in page.cells())
    page.run_all(60)
    assert page.errors() == [] and tries() == 5  # two more from the new kernel, none lost
