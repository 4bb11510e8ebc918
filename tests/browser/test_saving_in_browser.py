"""Opening a lab changes nothing in its file, however soon JupyterLab saves it."""

from __future__ import annotations

import shutil

import pytest
from lab import ROOT, until

pytestmark = pytest.mark.browser

LABS = [f"{path.stem}.ipynb" for path in sorted((ROOT / "notebooks/src").glob("*.py"))]


@pytest.mark.parametrize("name", LABS)
def test_a_lab_that_is_only_opened_stays_as_it_was(name, server, open_page):
    file = server.folder / "untouched" / name
    file.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "notebooks" / name, file)
    page = open_page(f"untouched/{name}")
    saved = file.stat().st_mtime_ns
    page.driver.execute_script("return window.jupyterapp.commands.execute('docmanager:save')")
    until(lambda: file.stat().st_mtime_ns != saved, 20, "the file is written")
    assert file.read_bytes() == (ROOT / "notebooks" / name).read_bytes()
