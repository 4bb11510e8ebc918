"""Fixtures of the tests of the built site: `make site` first, then `make site-test`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("LABS_SITE", ROOT / "build/site"))


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the built site, with its engine."""
    if not (BUILT / "model/wllama.js").is_file():
        pytest.fail(f"There is no built site with its engine in {BUILT}. Run `make site` first.")
    return BUILT


@pytest.fixture(scope="module")
def site(built):
    """The built site on a plain static server."""
    from site_server import serving

    with serving(built) as running:
        yield running


@pytest.fixture
def chromium(tmp_path):
    """A headless Chromium with an empty profile."""
    pytest.importorskip("selenium", reason="pip install selenium")
    from browser.lab import chromium, start_browser

    if chromium() is None:
        words = "Chromium and its driver are needed: apt install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    driver = start_browser(tmp_path / "profile")
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def firefox(tmp_path):
    """A headless Firefox with an empty profile; Debian and some runners have none."""
    from firefox import Firefox, firefox

    if firefox() is None:
        pytest.skip("Firefox is needed: apt install firefox-esr")
    browser = Firefox(tmp_path / "firefox")
    yield browser
    browser.quit()
