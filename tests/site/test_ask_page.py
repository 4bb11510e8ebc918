"""The page Ask in Chromium: what it answers beside the package, what it refuses, and what it says then.

Nothing here is written down beforehand: what the page has to answer is what the package answers today.
"""

from __future__ import annotations

import json
import unicodedata

import pytest
from near_ties import NEAR, parting
from site_page import ASK_ALL, MAX_TOKENS, answered, ask, before_each_page, call, conversations, text_of, until
from site_server import serving

pytestmark = pytest.mark.site
TYPED = "Where is <|end|> <b>Lima</b>?"


def test_sixty_questions_are_asked():
    assert len(conversations()) == 60
    assert len({json.dumps(messages) for messages in conversations()}) == 60


@pytest.mark.parametrize("step", [pytest.param(1, id="60", marks=pytest.mark.slow), pytest.param(6, id="10")])
def test_parity_with_the_package(site, chromium, record_property, step):
    from labs_helper import load

    chromium.get(site.address + "ask/")
    asked = conversations()[::step]
    # A few at a time: WebDriver waits two minutes for an answer, and a machine can be busy.
    parts = [asked[start : start + 6] for start in range(0, len(asked), 6)]
    here = [one for part in parts for one in call(chromium, ASK_ALL, part, MAX_TOKENS, "instruct-tiny")]
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
    print(f"{len(asked) - len(other)} of {len(asked)} answers are equal; others: {other}")
    assert len(other) <= len(asked) // 30, other  # 58 of 60 at least
    # Where the whole answer is equal, so are its probabilities, up to what llama.cpp's rounding costs.
    for mine, theirs in zip(here, there):
        if mine["text"] == theirs.text:
            wanted = [token.logprob for token in theirs.tokens]
            assert mine["logprobs"] == pytest.approx(wanted, abs=NEAR)


@pytest.mark.slow
def test_the_previous_model_answers_as_in_the_package(site, chromium):
    from labs_helper import load

    chromium.get(site.address + "ask/")
    asked = conversations()[::12]
    here = call(chromium, ASK_ALL, asked, MAX_TOKENS, "instruct-previous-tiny")
    model = load("instruct-previous", tier="tiny")
    there = [model.ask(messages, max_tokens=MAX_TOKENS).text for messages in asked]
    assert sum(mine["text"] == theirs for mine, theirs in zip(here, there)) >= len(asked) - 1


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
    ask(chromium, unicodedata.normalize("NFD", "서울은 어디에 있나요?"))
    assert answered(chromium, 3) == joined


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
    with before_each_page(chromium, before):
        chromium.get(site.address + "ask/")
        until(lambda: wanted in text_of(chromium, "#state-text"), 120, wanted)
        assert chromium.execute_script("return document.getElementById('again').checkVisibility()")
        ask(chromium, "Where is Lima?")
        assert wanted in answered(chromium)  # asked all the same, it says so again


def test_a_half_loaded_model_is_said_and_fetched_again(built, chromium):
    with serving(built) as site:
        site.cut["/model/instruct-tiny.gguf.gz"] = 100_000
        chromium.get(site.address + "ask/")
        state = "return document.querySelector('#state[data-state=trouble] p')?.textContent"
        said = until(lambda: chromium.execute_script(state), 120, "that the model is not whole")
        assert "instruct-tiny.gguf.gz" in said
        site.cut.clear()
        chromium.execute_script("document.getElementById('again').click()")
        until(lambda: "is ready" in text_of(chromium, "#state-text"), 120, "the model after a second try")


def test_a_text_that_is_too_long_is_refused(site, chromium):
    chromium.get(site.address + "ask/")
    ask(chromium, "word " * 2000)
    assert "context holds 1024" in answered(chromium)
    ask(chromium, "x" * 30_000)
    until(lambda: "30,000 characters" in text_of(chromium, "#problem"), 120, "a limit on characters")
    ask(chromium, "   ")
    until(lambda: "no question yet" in text_of(chromium, "#problem"), 120, "that nothing was asked")


# MLX and the page are both undecided between "5555" and "2255": at the first digit .067 parts them.
CODE = "Remember the code 4711. " + "Lima is a city in Peru. " * 35 + "What is the code?"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CODE, id="code", marks=pytest.mark.slow),
        # tests/engines compares these without a page.
        pytest.param("Nairobi is a city in Kenya. " * 35 + "Where is Lima?", id="English", marks=pytest.mark.slow),
        pytest.param("内罗毕是肯尼亚的城市。" * 25 + "长沙在哪里?", id="Chinese", marks=pytest.mark.slow),
        pytest.param(
            "리마는 페루의 도시입니다. " * 18 + "東京はどこにありますか。", id="Korean", marks=pytest.mark.slow
        ),
    ],
)
def test_a_longer_prompt_takes_the_long_table_as_the_package_does(site, chromium, text):
    """The answers leave each other at most where MLX itself is undecided, as without a page (test_llama_cpp.py)."""
    from labs_helper import load

    chromium.get(site.address + "ask/")
    (here,) = call(chromium, ASK_ALL, [[{"role": "user", "content": text}]], 24, "instruct-tiny")
    there = load("instruct", tier="tiny").ask(text, max_tokens=24, top_logprobs=8)
    assert (here["table"], there.rope_table) == ("long", "long")
    assert here["ids"] == list(there.prompt.ids)
    place, margin = parting(here["answered"], there.tokens) or (len(there.tokens), 0.0)
    print(f"equal up to token {place} of {len(there.tokens)}; there MLX is {margin:.3f} apart")
    assert margin < NEAR
    wanted = [token.logprob for token in there.tokens[:place]]
    assert here["logprobs"][:place] == pytest.approx(wanted, abs=NEAR)


@pytest.mark.slow
def test_the_same_seed_draws_the_same_answer(site, chromium):
    chromium.get(site.address + "ask/")
    function = """async () => {
      const { models } = await import(new URL("../_static/labs/ask.js", location.href));
      const messages = [{ role: "user", content: "Suggest a city to visit." }];
      const draw = async (seed) => (await models[0].ask(messages, { temperature: 1.5, seed, maxTokens: 24 })).text;
      const found = [];
      for (const seed of [1, 1, 2, 3, 4, 5]) found.push(await draw(seed));
      return found;
    }"""
    found = call(chromium, function)
    assert found[0] == found[1]
    assert len(set(found)) > 2, found


@pytest.mark.slow
def test_both_models_on_the_labs_own_questions(site, chromium):
    chromium.get(site.address + "ask/")
    chromium.execute_script("document.getElementById('compare-now').click()")
    cells = "(row) => [...row.children].map((cell) => cell.textContent)"
    rows = f"return [...document.querySelectorAll('.compared tbody tr')].map({cells})"
    until(lambda: len(chromium.execute_script(rows)) == 5, 60, "five rows")
    found = chromium.execute_script(rows)
    assert found[0][0] == "Where is Changsha?"
    assert all(len(row) == 3 and all(row) for row in found)


@pytest.mark.parametrize("lab", ["00-start-here", pytest.param("01-instruct", marks=pytest.mark.slow)])
def test_a_cell_of_a_lab_can_be_tried(site, chromium, lab):
    chromium.get(f"{site.address}notebooks/solutions/{lab}.html")
    buttons = "return [...document.querySelectorAll('.labs-try button:not(.token)')]"
    until(lambda: chromium.execute_script(buttons), 120, "a button below a cell")
    for button in chromium.execute_script(buttons):
        chromium.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
        button.click()
    said = "return [...document.querySelectorAll('.labs-try [role=status]')].map((state) => state.textContent)"
    until(
        lambda: all("stored" in state for state in chromium.execute_script(said)),
        120,
        "an answer beside the stored one",
    )
    assert set(chromium.execute_script(said)) == {"The same as stored."}
