"""What the tests of the built site do in a page: read, wait, ask. They work in Chromium and in Firefox alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh", "ko", "ja", "es")
MAX_TOKENS = 64

# Asks every conversation of `arguments[0]` in the page that is open: [{text, answered (ids), table, logprobs, prompt,
# ids, pieces, counted}].
ASK_ALL = """
async (conversations, maxTokens, name) => {
  const { models } = await import(new URL("_static/labs/ask.js", new URL("../", location.href)));
  const model = models.find((one) => one.name === name);
  const found = [];
  for (const messages of conversations) {
    const answer = await model.ask(messages, { maxTokens });
    const numbers = answer.prompt.ids.map((id) => `<${id}>`).join("");
    const counted = await model.wllama.createCompletion({ prompt: numbers, max_tokens: 1, temperature: 0 });
    found.push({ text: answer.text, table: answer.table, answered: answer.tokens.map((token) => token.id),
      prompt: answer.prompt.text, ids: answer.prompt.ids, pieces: answer.prompt.pieces,
      logprobs: answer.tokens.map((token) => token.logprob), counted: counted.usage.prompt_tokens });
  }
  return found;
}
"""
# Whether the service worker has taken the page over, and the large files are in the cache.
KEPT = """
async () => {
  const large = await (await caches.open("phi35-labs-files")).keys();
  return Boolean(navigator.serviceWorker.controller) && large.length >= 4;
}
"""


def call(browser: Any, function: str, *arguments: Any) -> Any:
    """Call a function of JavaScript in the page and return what it returns, promises awaited."""
    if hasattr(browser, "run"):
        return browser.run(function, *arguments)
    return browser.execute_script(f"return ({function})(...arguments)", *arguments)


def text_of(browser: Any, selector: str) -> str:
    return str(call(browser, "(selector) => document.querySelector(selector)?.textContent ?? ''", selector))


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"After {seconds:g} seconds still not: {what}"
        time.sleep(0.02)
    return found


def answered(browser: Any, count: int = 1, seconds: float = 240) -> str:
    """The newest answer's text, once it is complete."""
    complete = "(count) => document.querySelectorAll('.turn:not([aria-busy])').length >= count"
    until(lambda: call(browser, complete, count), seconds, "an answer")
    return text_of(browser, ".turn .answer-text")


def ask(browser: Any, text: str) -> None:
    function = (
        "(text) => { document.getElementById('question').value = text; document.getElementById('ask').requestSubmit() }"
    )
    call(browser, function, text)


@contextmanager
def before_each_page(chromium: Any, source: str) -> Iterator[None]:
    """Run JavaScript in each new page before the page's own."""
    added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        yield
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def conversations() -> list[list[dict[str, str]]]:
    """Sixty held-out conversations, twelve of each language, spread over the skills in the order of the file."""
    rows = [json.loads(line) for line in (ROOT / "data/questions/skills.jsonl").read_text("utf-8").splitlines()]
    chosen = []
    for language in LANGUAGES:
        skills: dict[str, list[Any]] = {}
        for row in rows:
            if row["language"] == language:
                skills.setdefault(row["skill"], []).append(row["messages"][:-1])
        turns = max(map(len, skills.values()))
        spread = [rest[turn] for turn in range(turns) for rest in skills.values() if turn < len(rest)]
        chosen += spread[:12]
    return chosen
