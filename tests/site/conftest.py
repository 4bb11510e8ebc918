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


@pytest.fixture(scope="session")
def site(built):
    """The built site on a plain static server. What one test loads, the next one has: `visits` begin with nothing."""
    from site_server import serving

    with serving(built) as running:
        yield running


@pytest.fixture(scope="session")
def start_chromium(tmp_path_factory):
    """A function that starts a headless Chromium with an empty profile."""
    pytest.importorskip("selenium", reason="pip install selenium")
    from browser.lab import chromium, start_browser

    if chromium() is None:
        words = "Chromium and its driver are needed: apt install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)

    def start():
        driver = start_browser(tmp_path_factory.mktemp("profile"))
        driver.set_script_timeout(180)
        return driver

    return start


@pytest.fixture(scope="session")
def one_chromium(start_chromium):
    """A headless Chromium for all tests: to start it takes longer than most of them."""
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def new_chromium(start_chromium):
    """A headless Chromium that has seen nothing yet."""
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def chromium(one_chromium):
    """The headless Chromium with one empty page, as if it had just been started."""
    from browser.lab import empty

    yield one_chromium
    one_chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    empty(one_chromium)


@pytest.fixture
def firefox(tmp_path):
    """A headless Firefox with an empty profile; Debian and some runners have none."""
    from firefox import Firefox, firefox

    if firefox() is None:
        pytest.skip("Firefox is needed: apt install firefox-esr")
    browser = Firefox(tmp_path / "firefox")
    yield browser
    browser.quit()
