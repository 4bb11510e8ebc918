"""Fixtures of the browser tests: one server and one browser for all of them, an empty page and new kernels a test."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress

import pytest


@pytest.fixture(scope="session")
def needs_chromium():
    """Skip where there is no browser; fail where there has to be one."""
    pytest.importorskip("selenium", reason="pip install selenium")
    from lab import chromium

    if chromium() is None:
        words = "Chromium and its driver are needed: apt install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)


@pytest.fixture(scope="session")
def fresh_browser(needs_chromium, tmp_path_factory):
    """A function that gives a headless browser with one empty page: always the same one, as long as it lives."""
    from lab import empty, start_browser
    from selenium.common.exceptions import WebDriverException

    running = []

    def fresh():
        if running and running[-1].service.is_connectable():
            with suppress(WebDriverException):  # it has died of the last test
                empty(running[-1])
                return running[-1]
        running.append(start_browser(tmp_path_factory.mktemp("profile")))
        return running[-1]

    yield fresh
    for each in running:
        each.quit()


@pytest.fixture
def browser(fresh_browser):
    """A headless browser with one empty page."""
    return fresh_browser()


@pytest.fixture(scope="session")
def server(needs_chromium, tmp_path_factory):
    """JupyterLab over a temporary folder that holds copies of the notebooks and their pictures."""
    from lab import ROOT, LabServer

    folder, home = tmp_path_factory.mktemp("labs"), tmp_path_factory.mktemp("home")
    for name in ("notebooks", "images"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
    # `timeout` ends a run that takes too long with SIGTERM. As an interrupt it lets the fixtures clean up, so that
    # no server and no browser is left behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LabServer(folder, home) as running:
            yield running
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def open_cells(server, open_page):
    """A function that writes a notebook of these cells, opens it and runs it; each cell must pass."""
    from lab import write_notebook

    def open_(name: str, cells: list[str]):
        write_notebook(server.folder / name, cells)
        page = open_page(name)
        page.run_all(150)
        assert page.errors() == []
        return page

    return open_


@pytest.fixture
def open_page(server, browser):
    """A function that opens a notebook of the server; its kernel ends with the test."""
    from lab import Page

    pages = []

    def open_(notebook: str) -> Page:
        pages.append(Page(server, browser, notebook))
        return pages[-1]

    yield open_
    for page in pages[:1]:
        page.__exit__()
