"""The page Ask in a browser: parity with the package, speed, offline, bad input, keyboard, accessibility.

Nothing here is written down beforehand: what the page has to answer is what the package answers today.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from site_server import serving

pytestmark = pytest.mark.site
ROOT = Path(__file__).resolve().parents[2]
MBIT_20 = 20e6 / 8  # bytes a second
LANGUAGES = ("en", "zh", "ko", "ja", "es")
MAX_TOKENS = 64
TYPED = "Where is <|end|> <b>Lima</b>?"

# Asks every conversation of `arguments[0]` in the page that is open: [{text, ids, prompt, counted}].
ASK_ALL = """
const [conversations, maxTokens, name, done] = arguments;
(async () => {
  const { models } = await import(new URL("_static/labs/ask.js", new URL("../", location.href)));
  const model = models.find((one) => one.name === name);
  const found = [];
  for (const messages of conversations) {
    const answer = await model.ask(messages, { maxTokens });
    const numbers = answer.prompt.ids.map((id) => `<${id}>`).join("");
    const counted = await model.wllama.createCompletion({ prompt: numbers, max_tokens: 1, temperature: 0 });
    found.push({ text: answer.text, prompt: answer.prompt.text, ids: answer.prompt.ids, pieces: answer.prompt.pieces,
      logprobs: answer.tokens.map((token) => token.logprob), counted: counted.usage.prompt_tokens });
  }
  return found;
})().then(done, (error) => done(String(error.stack ?? error)));
"""


def text_of(driver, selector: str) -> str:
    return driver.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)


def until(condition, seconds: float, what: str):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"After {seconds:g} seconds still not: {what}"
        time.sleep(0.02)
    return found


def answered(driver, count: int = 1, seconds: float = 60) -> str:
    """The newest answer's text, once it is complete."""
    script = "return document.querySelectorAll('.turn:not([aria-busy])').length >= arguments[0]"
    until(lambda: driver.execute_script(script, count), seconds, "an answer")
    return text_of(driver, ".turn .answer-text")


def conversations() -> list[list[dict[str, str]]]:
    """Sixty held-out conversations, twelve of each language, spread over the skills in the order of the file."""
    rows = [json.loads(line) for line in (ROOT / "data/questions/skills.jsonl").read_text("utf-8").splitlines()]
    chosen = []
    for language in LANGUAGES:
        skills: dict[str, list] = {}
        for row in rows:
            if row["language"] == language:
                skills.setdefault(row["skill"], []).append(row["messages"][:-1])
        turns = max(map(len, skills.values()))
        spread = [rest[turn] for turn in range(turns) for rest in skills.values() if turn < len(rest)]
        chosen += spread[:12]
    return chosen


@pytest.fixture(scope="module")
def lima() -> str:
    """What the package answers to "Where is Lima?"."""
    from labs_helper import load

    return load("instruct", tier="tiny").ask("Where is Lima?").text


def test_sixty_questions_are_asked():
    assert len(conversations()) == 60
    assert len({json.dumps(messages) for messages in conversations()}) == 60


def test_parity_with_the_package(site, chromium, record_property):
    from labs_helper import load

    chromium.get(site.address + "ask/")
    asked = conversations()
    here = chromium.execute_async_script(ASK_ALL, asked, MAX_TOKENS, "instruct-tiny")
    assert isinstance(here, list), here
    model = load("instruct", tier="tiny")
    there = [model.ask(messages, max_tokens=MAX_TOKENS) for messages in asked]
    for mine, theirs in zip(here, there, strict=True):
        assert mine["prompt"] == theirs.prompt.text
        assert mine["ids"] == list(theirs.prompt.ids)
        assert mine["pieces"] == list(theirs.prompt.pieces)
    # What llama.cpp says that it read: the text of numbers is as many tokens.
    assert [mine["counted"] for mine in here] == [len(theirs.prompt.ids) for theirs in there]
    other = [(mine["text"], theirs.text) for mine, theirs in zip(here, there) if mine["text"] != theirs.text]
    record_property("answers that differ", other)
    print(f"{60 - len(other)} of 60 answers are equal; others: {other}")
    assert len(other) <= 2, other
    # Where the whole answer is equal, so are its probabilities, up to what rounding to 8 bits costs.
    for mine, theirs in zip(here, there):
        if mine["text"] == theirs.text:
            wanted = [token.logprob for token in theirs.tokens]
            assert mine["logprobs"] == pytest.approx(wanted, abs=0.25)


def test_the_previous_model_answers_as_in_the_package(site, chromium):
    from labs_helper import load

    chromium.get(site.address + "ask/")
    asked = conversations()[::12]
    here = chromium.execute_async_script(ASK_ALL, asked, MAX_TOKENS, "instruct-previous-tiny")
    assert isinstance(here, list), here
    model = load("instruct-previous", tier="tiny")
    there = [model.ask(messages, max_tokens=MAX_TOKENS).text for messages in asked]
    assert sum(mine["text"] == theirs for mine, theirs in zip(here, there)) >= len(asked) - 1


def test_first_answer_at_20_mbit_then_warm_then_offline(built, chromium, lima):
    """With an empty cache within 5 s, warm within 1 s, under 16 MB, from this origin alone, and without the server."""
    seconds, transferred, others = {}, {}, []
    chromium.execute_cdp_cmd("Network.enable", {})
    network = {"offline": False, "latency": 20, "downloadThroughput": MBIT_20, "uploadThroughput": MBIT_20}
    chromium.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    with serving(built) as site:
        port, page = site.server_address[1], site.address + "ask/#q=Where%20is%20Lima%3F"
        site.rate = MBIT_20  # workers do not always hear what the browser is told, so the server is as slow
        for visit in ("empty", "warm"):
            before = len(site.requests)
            chromium.get("about:blank")
            start = time.monotonic()
            chromium.get(page)
            assert answered(chromium) == lima, visit
            seconds[visit] = time.monotonic() - start
            until(lambda: kept(chromium), 60, "the site is kept for a visit without a network")
            transferred[visit] = sum(count for _path, count in site.requests[before:])
            loaded = chromium.execute_script(
                "return performance.getEntriesByType('resource').map((entry) => entry.name)"
            )
            others += [name for name in loaded if not name.startswith((site.address, f"blob:{site.address}"))]
    print(f"seconds: {seconds}, bytes: {transferred}")
    chromium.get("about:blank")
    chromium.get(f"http://127.0.0.1:{port}/ask/#q=Where%20is%20Lima%3F")  # the server has ended
    assert answered(chromium) == lima
    chromium.get(f"http://127.0.0.1:{port}/")
    assert "look inside" in text_of(chromium, "h1")
    assert others == []
    assert sum(transferred.values()) < 16e6
    assert seconds["empty"] < 5
    assert seconds["warm"] < 1


def kept(driver) -> bool:
    """Whether the service worker has taken the page over, and the large files are in the cache."""
    return driver.execute_async_script(
        "const done = arguments[0]; (async () => {"
        " const large = await (await caches.open('phi35-labs-files')).keys();"
        " return Boolean(navigator.serviceWorker.controller) && large.length >= 4 })().then(done, () => done(false))"
    )


def test_firefox_answers_fast_and_offline(built, firefox, lima):
    newest = "() => document.querySelector('.turn:not([aria-busy]) .answer-text')?.textContent ?? ''"
    controlled = "() => Boolean(navigator.serviceWorker.controller)"
    with serving(built) as site:
        site.rate = MBIT_20
        page, seconds = site.address + "ask/#q=Where%20is%20Lima%3F", {}
        for visit in ("empty", "warm"):
            firefox.open("about:blank")
            start = time.monotonic()
            firefox.open(page)
            found = until(lambda: firefox.run(newest), 60, "an answer in Firefox")
            seconds[visit] = time.monotonic() - start
            assert found == lima
            until(lambda: firefox.run(controlled), 30, "the site is kept for a visit without a network")
        transferred = sum(count for _path, count in site.requests)
    print(f"seconds in Firefox: {seconds}, bytes: {transferred}")
    firefox.open("about:blank")
    firefox.open(page)
    assert until(lambda: firefox.run(newest), 60, "an answer without the server") == lima
    assert transferred < 16e6
    assert seconds["empty"] < 5
    assert seconds["warm"] < 1


def test_what_is_typed_is_text(site, chromium):
    """HTML and marks of the template reach the model and the page as text; Korean in pieces is joined."""
    chromium.get(site.address + "ask/")
    ask(chromium, TYPED)
    answered(chromium)
    assert text_of(chromium, ".turn h2") == TYPED
    assert chromium.execute_script("return document.querySelectorAll('.turn b').length") == 0
    marks = "return [...document.querySelectorAll('.turn .chips .mark')].map((chip) => chip.textContent.split(' ')[0])"
    assert chromium.execute_script(marks) == ["<|user|>", "<|end|>", "<|assistant|>"]
    assert "Only the template writes control tokens" in text_of(chromium, ".turn .answer")
    ask(chromium, "서울은 어디에 있나요?".encode().decode())
    joined = answered(chromium, 2)
    import unicodedata

    ask(chromium, unicodedata.normalize("NFD", "서울은 어디에 있나요?"))
    assert answered(chromium, 3) == joined


def ask(driver, text: str) -> None:
    driver.execute_script("document.getElementById('question').value = arguments[0]", text)
    driver.execute_script("document.getElementById('ask').requestSubmit()")


NO_WORKER = "globalThis.Worker = class { constructor() { throw new Error('blocked') } }"
SILENT_WORKER = "globalThis.Worker = class { constructor() { setTimeout(() => this.onerror({})) } terminate() {} }"
NO_MEMORY = "Blob.prototype.stream = () => { throw new RangeError('Out of memory') }"


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ("delete globalThis.WebAssembly", "does not run WebAssembly"),
        ("WebAssembly.validate = () => false", "too old for the model: it lacks WebAssembly SIMD"),
        ("delete globalThis.DecompressionStream", "lacks DecompressionStream"),
        (NO_WORKER, "start a worker"),
        (SILENT_WORKER, "start a worker"),
        (NO_MEMORY, "too little free memory"),
    ],
)
def test_what_the_browser_lacks_is_said(site, chromium, before, wanted):
    chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": before})
    chromium.get(site.address + "ask/")
    until(lambda: wanted in text_of(chromium, "#state-text"), 30, wanted)
    assert chromium.execute_script("return document.getElementById('again').checkVisibility()")


def test_a_half_loaded_model_is_said_and_fetched_again(built, chromium):
    with serving(built) as site:
        site.cut["/model/instruct-tiny.gguf.gz"] = 100_000
        chromium.get(site.address + "ask/")
        state = "return document.querySelector('#state[data-state=trouble] p')?.textContent"
        said = until(lambda: chromium.execute_script(state), 30, "that the model is not whole")
        assert "instruct-tiny.gguf.gz" in said
        site.cut.clear()
        chromium.execute_script("document.getElementById('again').click()")
        until(lambda: "is ready" in text_of(chromium, "#state-text"), 30, "the model after a second try")


def test_a_text_that_is_too_long_is_refused(site, chromium):
    chromium.get(site.address + "ask/")
    ask(chromium, "word " * 2000)
    assert "context holds 1024" in answered(chromium)
    ask(chromium, "x" * 30_000)
    until(lambda: "30,000 characters" in text_of(chromium, "#problem"), 5, "a limit on characters")
    ask(chromium, "   ")
    until(lambda: "no question yet" in text_of(chromium, "#problem"), 5, "that nothing was asked")


def test_a_longer_prompt_takes_the_long_table_as_the_package_does(site, chromium):
    from labs_helper import load

    text = "Remember the code 4711. " + "Lima is a city in Peru. " * 35 + "What is the code?"
    chromium.get(site.address + "ask/")
    here = chromium.execute_async_script(ASK_ALL, [[{"role": "user", "content": text}]], 24, "instruct-tiny")
    assert isinstance(here, list), here
    there = load("instruct", tier="tiny").ask(text, max_tokens=24)
    assert there.rope_table == "long"
    assert here[0]["ids"] == list(there.prompt.ids)
    assert here[0]["text"] == there.text


def test_the_same_seed_draws_the_same_answer(site, chromium):
    chromium.get(site.address + "ask/")
    script = (
        "const done = arguments[0];"
        "import(new URL('../_static/labs/ask.js', location.href)).then(async ({ models }) => {"
        " const draw = async (seed) => (await models[0].ask([{ role: 'user', content: 'Suggest a city to visit.' }],"
        " { temperature: 1.5, seed, maxTokens: 24 })).text;"
        " const found = []; for (const seed of [1, 1, 2, 3, 4, 5]) found.push(await draw(seed)); return found;"
        "}).then(done, (error) => done(String(error)))"
    )
    found = chromium.execute_async_script(script)
    assert found[0] == found[1]
    assert len(set(found)) > 2, found


def test_keyboard_alone(site, chromium, lima):
    """Type, Enter, then arrow keys through the tokens; Enter belongs to an input method while it composes."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    chromium.get(site.address + "ask/")
    question = chromium.find_element(By.ID, "question")
    question.send_keys("Where is Lima?")
    until(
        lambda: text_of(chromium, "#count").startswith("5 tokens") or "prompt of" in text_of(chromium, "#count"),
        10,
        "a count",
    )
    chromium.execute_script(
        "arguments[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))",
        question,
    )
    assert not chromium.execute_script("return document.querySelector('.turn')")
    question.send_keys(Keys.ENTER)
    assert answered(chromium) == lima
    pressed = "return [...document.querySelectorAll('.turn .token')].findIndex((token) => token.ariaPressed === 'true')"
    first = chromium.execute_script(pressed)
    chromium.execute_script("document.querySelector('.turn .token[tabindex=\"0\"]').focus()")
    chromium.switch_to.active_element.send_keys(Keys.HOME if first else Keys.END)
    assert chromium.execute_script(pressed) != first
    assert "what was likeliest here" in text_of(chromium, ".turn caption")


def test_both_models_on_the_labs_own_questions(site, chromium):
    chromium.get(site.address + "ask/")
    chromium.execute_script("document.getElementById('compare-now').click()")
    cells = "(row) => [...row.children].map((cell) => cell.textContent)"
    rows = f"return [...document.querySelectorAll('.compared tbody tr')].map({cells})"
    until(lambda: len(chromium.execute_script(rows)) == 5, 60, "five rows")
    found = chromium.execute_script(rows)
    assert found[0][0] == "Where is Changsha?"
    assert all(len(row) == 3 and all(row) for row in found)


def test_a_cell_of_a_lab_can_be_tried(site, chromium):
    chromium.get(site.address + "notebooks/solutions/00-start-here.html")
    buttons = "return [...document.querySelectorAll('.labs-try button:not(.token)')]"
    until(lambda: chromium.execute_script(buttons), 20, "a button below a cell")
    for button in chromium.execute_script(buttons):
        button.click()
    said = "return [...document.querySelectorAll('.labs-try [role=status]')].map((state) => state.textContent)"
    until(
        lambda: all("stored" in state for state in chromium.execute_script(said)), 60, "an answer beside the stored one"
    )
    assert set(chromium.execute_script(said)) == {"The same as stored."}


@pytest.mark.parametrize("page", ["", "ask/", "docs/site/index.html", "notebooks/solutions/00-start-here.html"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_and_320_pixels(site, chromium, page, theme):
    from browser.lab import axe_findings

    chromium.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": f"localStorage.setItem('theme', '{theme}')"}
    )
    chromium.get(site.address + page)
    if page == "ask/":
        ask(chromium, "Where is Lima?")
        answered(chromium)
    assert axe_findings(chromium) == []
    size = {"width": 320, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 320


def test_readable_without_scripts(site, chromium):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    from selenium.webdriver.common.by import By

    for page, wanted in (("", "Two commands"), ("ask/", "this page needs JavaScript")):
        chromium.get(site.address + page)
        assert wanted in chromium.find_element(By.TAG_NAME, "main").text
    assert not chromium.find_element(By.ID, "ask").is_displayed()
