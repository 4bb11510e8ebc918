"""Visits of the site with nothing kept, with everything kept, and without a server, at 20 Mbit/s.

How long a first answer takes is printed, not asserted: it says as much of the machine as of the page. What must hold
anywhere is asserted: what is sent, who is asked for it, and that it works at all.
"""

from __future__ import annotations

import re
import time
from urllib.parse import urljoin

import pytest
from site_page import KEPT, answered, ask, call, text_of, until
from site_server import serving

pytestmark = pytest.mark.site
MBIT_20 = 20e6 / 8  # bytes a second
QUESTION = "ask/#q=Where%20is%20Lima%3F"
MOST = 16e6  # bytes
READ = 3  # seconds in which an answer is read: meanwhile the browser keeps what it has compiled for the next visit
# Where the engine's worker finds its code.
ENGINE = """
async () => {
  const { models } = await import(new URL("_static/labs/ask.js", new URL("../", location.href)));
  return (await models[0].engine.load()).code();
}
"""
# Take that from the cache after the page has looked for it, and ask the other model.
EVICTED = """
async () => {
  const { models } = await import(new URL("_static/labs/ask.js", new URL("../", location.href)));
  const there = await (await models[0].engine.load()).code();
  const gone = await (await caches.open("phi35-labs-files")).delete(there);
  return [gone, (await models[1].ask([{ role: "user", content: "Where is Lima?" }])).text];
}
"""


@pytest.fixture(scope="module")
def lima() -> str:
    """What the package answers to "Where is Lima?"."""
    from labs_helper import load

    return load("instruct", tier="tiny").ask("Where is Lima?").text


def others(browser, address: str) -> list[str]:
    """What the page that is open loaded from another place than below this address."""
    loaded = call(browser, "() => performance.getEntriesByType('resource').map((entry) => entry.name)")
    origin = urljoin(address, "/")  # blobs are named after it, and not after the folder
    return [name for name in loaded if not name.startswith((address, f"blob:{origin}"))]


def visits(browser, go, built, lima) -> None:
    """First answers: with nothing kept, with everything kept, and after the server has ended; then a new question.

    The site is in a folder of the server, as on GitHub Pages; the other tests have it at the top.
    """
    seconds, sent, elsewhere = {}, {}, []
    with serving(built.parent) as site:
        site.rate = MBIT_20
        address = f"{site.address}{built.name}/"
        for visit in ("empty", "warm"):
            before = len(site.requests)
            go("about:blank")
            start = time.monotonic()
            go(address + QUESTION)
            assert answered(browser) == lima, visit
            seconds[visit] = round(time.monotonic() - start, 2)
            code = call(browser, ENGINE)
            until(lambda: call(browser, KEPT), 180, "the site is kept for a visit without a network")
            time.sleep(READ)
            sent[visit] = sum(count for _path, count in site.requests[before:])
            elsewhere += others(browser, address)
    assert code.startswith(f"{address}model/")  # of this site and not of this page: what was compiled can be kept
    go("about:blank")
    start = time.monotonic()
    go(address + QUESTION)  # the server has ended
    assert answered(browser) == lima
    seconds["without a server"] = round(time.monotonic() - start, 2)
    ask(browser, "Where is Nairobi?")
    assert "Nairobi" in answered(browser, 2)
    go(address)
    assert "look inside" in text_of(browser, "h1")
    print(f"seconds to the first answer: {seconds}; bytes: {sent}")
    assert elsewhere == []
    assert sent["empty"] + sent["warm"] < MOST
    assert sent["warm"] < sent["empty"] / 20  # engine and model are not sent again


def test_visits_in_chromium(built, new_chromium, lima):
    network = {"offline": False, "latency": 20, "downloadThroughput": MBIT_20, "uploadThroughput": MBIT_20}
    new_chromium.execute_cdp_cmd("Network.enable", {})
    new_chromium.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    # Workers do not hear what DevTools is told, so the server is as slow.
    visits(new_chromium, new_chromium.get, built, lima)


def test_what_the_browser_has_thrown_away_is_fetched_again(site, new_chromium):
    for _visit in range(2):
        new_chromium.get("about:blank")
        new_chromium.get(site.address + QUESTION)
        answered(new_chromium)
        until(lambda: call(new_chromium, KEPT), 180, "the site is kept")
    gone, text = call(new_chromium, EVICTED)
    assert gone
    assert "Lima" in text


def test_the_modules_of_the_page_are_named_at_once(built):
    """One after another, as each is read, they would take a round trip more each time."""
    from docs.site.door.publish import imported

    page = (built / "ask/index.html").read_text("utf-8")
    named = re.findall(r'<link rel="modulepreload" href="[^"]*/([\w-]+\.js)"', page)
    assert sorted(named) == imported(built / "_static/labs/ask.js")
    assert {"engine.js", "assets.js", "abilities.js"} <= set(named)  # the last is not imported by the page itself


@pytest.mark.slow
def test_visits_in_firefox(built, firefox, lima):
    visits(firefox, firefox.open, built, lima)


@pytest.mark.slow
def test_a_person_types_and_clicks_in_firefox(site, firefox, lima):
    """From the front page to an answer, its tokens and another model, with keys and clicks alone."""
    from selenium.webdriver.common.keys import Keys

    firefox.open(site.address)
    until(lambda: call(firefox, "() => !document.getElementById('ask-here').hidden"), 120, "the form")
    firefox.click("#ask-here button")
    assert answered(firefox) == lima
    firefox.click("#both")
    firefox.run("() => { document.getElementById('question').value = '' }")
    firefox.type("#question", "나이로비는 어디에 있나요?")
    until(lambda: "prompt of" in text_of(firefox, "#count"), 120, "a count")
    firefox.press(Keys.ENTER)
    answered(firefox, 2)
    answers = "() => [...document.querySelectorAll('.turn:first-child .answer-text')].map((text) => text.textContent)"
    found = firefox.run(answers)
    assert len(found) == 2
    assert "케냐" in found[0]
    firefox.click(".turn:first-child .token:last-child")
    assert "<|end|>" in text_of(firefox, ".turn caption")
