"""Every page of the site for everybody: axe-core in both themes, a narrow phone, the keyboard, and no scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_page import answered, ask, before_each_page, call, text_of, until

pytestmark = pytest.mark.site
ROOT = Path(__file__).resolve().parents[2]
AXE = (ROOT / "tests/browser/axe-core/axe.min.js").read_text("utf-8")
PHONE = {"width": 320, "height": 800, "deviceScaleFactor": 1, "mobile": True}
CHOSEN = (
    "index.html",
    "ask/index.html",
    "ko/index.html",
    "ko/ask/index.html",
    "docs/site/index.html",
    "docs/ko/site/index.html",
    "notebooks/solutions/00-start-here.html",
    "notebooks/ko/solutions/00-start-here.html",
)
FINDINGS = """
async () => (await axe.run({ resultTypes: ["violations"] })).violations.flatMap((rule) =>
  rule.nodes.map((node) => `${rule.id} (${rule.impact}): ${node.html.slice(0, 200)} ${node.failureSummary}`))
"""


def findings(chromium) -> list[str]:
    """What axe-core finds in the page that is open, of any impact."""
    chromium.execute_script(AXE)
    return call(chromium, FINDINGS)


def look(chromium, address: str, asked: bool) -> list[str]:
    """Open a page in both themes, and in one of them on a narrow phone; returns what is wrong there."""
    wrong = []
    for theme in ("dark", "light"):
        with before_each_page(chromium, f"localStorage.setItem('theme', '{theme}')"):
            chromium.get(address)
        if asked:
            ask(chromium, "Where is Lima?")
            answered(chromium)
        wrong += [f"{theme}: {finding}" for finding in findings(chromium)]
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    call(chromium, "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # drawn
    width = chromium.execute_script("return document.documentElement.scrollWidth")
    if width > PHONE["width"]:
        wrong.append(f"{width} pixels wide on a screen of 320")
    wrong += [f"narrow: {finding}" for finding in findings(chromium)]
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return wrong


QUICK = ("index.html", "ask/index.html", "ko/index.html", "ko/ask/index.html", "docs/ko/site/index.html")


@pytest.mark.parametrize(
    "page", [page if page in QUICK else pytest.param(page, marks=pytest.mark.slow) for page in CHOSEN]
)
def test_axe_and_a_narrow_phone(site, chromium, page):
    assert look(chromium, site.address + page, asked=page.endswith("ask/index.html")) == []


@pytest.mark.slow
def test_axe_and_a_narrow_phone_on_all_other_pages(built, site, chromium):
    pages = sorted(path.relative_to(built).as_posix() for path in built.rglob("*.html"))
    assert set(CHOSEN) < set(pages)
    wrong = {
        page: found for page in pages if page not in CHOSEN and (found := look(chromium, site.address + page, False))
    }
    print(f"{len(pages)} pages")
    assert wrong == {}


def test_keyboard_alone(site, chromium):
    """From the front page to an answer and through its tokens; Enter belongs to an input method while it composes."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(chromium).send_keys(*keys).perform()

    def focused() -> str:
        return chromium.execute_script("return document.activeElement.id || document.activeElement.textContent.trim()")

    chromium.get(site.address)
    until(lambda: call(chromium, "() => !document.getElementById('ask-here').hidden"), 120, "the form")
    stops = []
    while "question" not in stops:
        press(Keys.TAB)
        stops.append(focused())
        assert len(stops) < 12, stops
    assert stops[0] == "To the content"
    press(Keys.ENTER)  # with the question that is there
    first = answered(chromium)
    assert "Lima" in first
    while focused() != "question":
        press(Keys.TAB)
    composing = "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true})"
    chromium.execute_script(f"document.activeElement.dispatchEvent({composing})")
    assert len(chromium.execute_script("return document.querySelectorAll('.turn')")) == 1
    press(Keys.END, " ", Keys.ENTER)
    answered(chromium, 2)
    newest = "[...document.querySelectorAll('.turn:first-child .token')]"
    pressed = f"return {newest}.findIndex((token) => token.ariaPressed === 'true')"
    chosen = chromium.execute_script(pressed)
    while not chromium.execute_script("return document.activeElement.matches('.turn:first-child .token')"):
        press(Keys.TAB)
    press(Keys.HOME if chosen else Keys.END)
    assert chromium.execute_script(pressed) != chosen
    assert "what was likeliest here" in text_of(chromium, ".turn caption")


def test_readable_without_scripts(site, chromium):
    from selenium.webdriver.common.by import By

    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    for page, wanted in (("", "Two commands"), ("ask/", "this page needs JavaScript")):
        chromium.get(site.address + page)
        assert wanted in chromium.find_element(By.TAG_NAME, "main").text
    assert not chromium.find_element(By.ID, "ask").is_displayed()
