"""Each notebook in a real JupyterLab: run all, no errors, and its first chat answers and stops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab import ROOT, until

pytestmark = pytest.mark.browser

# What learners open. The solved edition holds the same cells, and nbval runs both; LABS_BROWSER_ALL=1 opens it too.
ALL = bool(os.environ.get("LABS_BROWSER_ALL"))
PATTERN = "**/[0-9]*.ipynb" if ALL else "[0-9]*.ipynb"
NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "notebooks").glob(PATTERN)
    if ".ipynb_checkpoints" not in path.parts
)
# The server gives its kernels slow weights, for tests that press Stop. A lab runs with those that learners have, which
# are many times faster, and only the answer to be stopped is slowed down.
USUAL = "import os; os.environ['LABS_DEQUANTIZE'] = 'auto'"
SLOWLY = """
import time
from contextlib import closing
from labs_helper.engines.mlx_base import MLXEngine

stream_at_once = MLXEngine.stream

def stream_slowly(*given):
    with closing(stream_at_once(*given)) as tokens:
        for token in tokens:
            time.sleep(0.05)
            yield token

MLXEngine.stream = stream_slowly
"""
# anywidget gives up when a page takes more than two seconds to start one. On a busy machine it may, once.
TOO_BUSY = "[anywidget] Failed to initialize model."
LIMIT = float(os.environ.get("LABS_NOTEBOOK_SECONDS", "420"))
# These train, serve or measure for minutes. nbval runs them in each check; here they run with LONG=1, as test.yml does.
LONG = ("04", "05", "06", "08")


def in_this_run(notebook: str) -> object:
    """A notebook as a parameter, marked where it takes long."""
    return pytest.param(notebook, marks=pytest.mark.long) if Path(notebook).name.startswith(LONG) else notebook


@pytest.mark.parametrize("notebook", [in_this_run(notebook) for notebook in NOTEBOOKS])
def test_notebook_runs_and_its_chat_answers(notebook, open_page):
    name = "-".join(Path(notebook).with_suffix("").parts[1:])
    page = open_page(notebook)
    page.in_kernel(USUAL)
    cells, complaints = page.run_all(LIMIT), page.complaints()
    if complaints and all(TOO_BUSY in complaint for complaint in complaints):
        page.driver.refresh()
        until(page._ready, 150, f"{notebook} is open again")
        cells, complaints = page.run_all(LIMIT), page.complaints()
    page.screenshot(f"{name}-end")
    assert page.errors() == []
    assert all(cell["count"] for cell in cells if cell["source"].strip()), "every cell ran"
    assert complaints == []

    chats = page.boxes("Chat with")
    if not chats:
        return
    box = chats[0]
    field = page.field(box, "Your message")
    page.show(field)
    page.click(page.button(box, "New conversation"))  # the notebook has used this chat already
    until(lambda: page.status(box) == "New conversation.", 30, "the chat starts anew")
    field.send_keys("Where is Changsha?")
    page.click(page.button(box, "Send"))
    until(lambda: page.status(box) == "Done.", 60, "the chat answers")
    assert "Where is Changsha?" in box.text and "tokens/s" in box.text and "<|end|>" not in box.text
    page.screenshot(f"{name}-chat", box)

    # Stop is pressed in the page itself, as soon as it shows that words are coming.
    page.in_kernel(SLOWLY)
    page.driver.execute_script(
        "const box = arguments[0]; window.labsTimer = setInterval(() => {"
        " if (!box.querySelector('[role=status]')?.innerText.startsWith('Generating')) return;"
        " const stop = [...box.querySelectorAll('button')].find(b => b.innerText.trim() === 'Stop');"
        " if (stop && !stop.disabled) { clearInterval(window.labsTimer); stop.click(); } }, 10);",
        box,
    )
    page.click(page.button(box, "New conversation"))
    until(lambda: page.status(box) == "New conversation.", 30, "the chat starts anew")
    field.send_keys("Count from 1 to 50.\n")
    until(lambda: page.status(box) in ("Stopped.", "Done."), 60, "the long answer ends")
    assert page.status(box) == "Stopped." and "(stopped)" in box.text
    page.screenshot(f"{name}-stopped", box)
