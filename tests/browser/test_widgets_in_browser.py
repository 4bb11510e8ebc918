"""Widgets in a real JupyterLab: what a learner sees when typing, pressing Enter, Send and Stop."""

from __future__ import annotations

import time

import pytest
from lab import until

pytestmark = pytest.mark.browser

SLOW_MODEL = '''
import threading, time
from types import SimpleNamespace
from labs_helper.engines.base import Prompt, Sampling, Token
from labs_helper.models.answers import Answer
from labs_helper.models.conversation import Conversation

class Slow:
    """A stand-in for a model: repeats the question forty times, slowly enough for Stop."""
    name, loaded = "slow", True
    def __init__(self):
        self.seen, self.turn = [], threading.Lock()
    def conversation(self):
        return Conversation(self)
    def submit(self, messages, *, on_token, on_done, on_error, on_loading=None, **request):
        self.seen.append(messages)
        stop = threading.Event()
        def work():
            with self.turn:
                asked = messages if isinstance(messages, str) else messages[-1]["content"]
                words = (asked + " ") * (40 if asked is not messages else 2)
                made = []
                for word in words.split(" "):
                    if stop.is_set():
                        break
                    time.sleep(0.03)
                    made.append(Token(word + " ", 1, -0.1))
                    on_token(made[-1])
                on_done(Answer(text="".join(t.text for t in made), model="slow", tokens=tuple(made),
                        finish_reason="cancelled" if stop.is_set() else "stop", prompt_tokens=9, cached_tokens=3,
                        generated_tokens=len(made), seconds=1.0, tokens_per_second=33.0, prompt=Prompt("", (), ()),
                        seconds_to_first_token=0.1, peak_memory=0, rope_table=None, sampling=Sampling()))
        threading.Thread(target=work, daemon=True).start()
        return SimpleNamespace(stop=stop.set)

slow = Slow()
'''
CELLS = [
    SLOW_MODEL,
    "from labs_helper.widgets import chat, compare, tokens, benchmarks\nfrom labs_helper import figures\nchat(slow)",
    "chat(slow)",
    "benchmarks()",
    "figures.kv_cache()",
    "figures.token_counts({'English': 9, '한국어': 12, '中文': 5})",
    "figures.token_view([Token('장', 1, -0.2), Token(' 사', 2, -2.0)])",
]


@pytest.fixture
def page(open_cells):
    page = open_cells("widgets.ipynb", CELLS)
    until(lambda: len(page.boxes("Chat with slow")) == 2, 60, "both chats are drawn")
    return page


def send(page, box, text, *, enter=False):
    field = page.field(box, "Your message")
    page.show(field)
    field.send_keys(text + ("\n" if enter else ""))
    if not enter:
        page.click(page.button(box, "Send"))


def test_send_stop_and_go_on(page):
    from selenium.webdriver.common.by import By

    first, second = page.boxes("Chat with slow")
    # Many lines come, and Stop is where it was before the question, during the answer and after it.
    with page.stays(first, "Stop", "Stopping…"):
        send(page, first, "<script>document.title='pwned'</script><img src=x onerror=document.title='pwned'> 안녕")
        until(lambda: first.text.count("pwned'> 안녕") > 6, 30, "the answer streams")
        page.screenshot("widget-chat-streaming", first)
        page.button(first, "Stop").click()
        until(lambda: "Stopped." in page.status(first), 30, "Stop ends the answer")
    assert "(stopped)" in first.text and "안녕" in first.text and "<script>" in first.text
    assert page.driver.title != "pwned" and not first.find_elements(By.CSS_SELECTOR, "img, script")
    assert page.field(first, "Your message").get_attribute("value") == ""

    # Enter sends too; both chats ask at once and each shows only its own answer.
    send(page, first, "left " * 9, enter=True)  # ten seconds: the second one waits long enough to be seen
    send(page, second, "right", enter=True)
    until(lambda: "Waiting" in page.status(second) or "Generating" in page.status(second), 30, "the second one waits")
    for box, own, other in ((first, "left left left", "right"), (second, "right right right", "left")):
        until(lambda box=box: "Done." in page.status(box), 60, "both chats are answered")
        page.screenshot(f"widget-chat-{other}", box)
        assert own in box.text, box.text
        assert other not in box.text, box.text
    assert "33.0 tokens/s" in first.text
    page.screenshot("widget-chat-done", first)
    assert page.complaints() == []


def test_a_long_answer_stays_scrolled_to_its_end(page):
    box = page.boxes("Chat with slow")[0]
    for i in range(2):
        send(page, box, f"{i} one two three four five six seven eight nine ten " * 3)
        time.sleep(1.5)
        page.button(box, "Stop", "Stopping…").click()
        until(lambda: "Stopped." in page.status(box), 30, "stopped")
    send(page, box, "the end " * 40)
    until(lambda: "Generating" in page.status(box), 30, "the answer streams")
    time.sleep(2)
    place = page.driver.execute_script(
        "const area = [...arguments[0].querySelectorAll('*')].find(e => e.scrollHeight > e.clientHeight + 20 &&"
        " getComputedStyle(e).flexDirection === 'column-reverse'); if (!area) return null;"
        " return Math.abs(area.scrollTop);",
        box,
    )
    page.screenshot("widget-chat-long", box)
    assert place is not None and place < 5, "the newest words are in view"
    page.button(box, "Stop", "Stopping…").click()


def test_benchmarks_and_figures_are_drawn(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    (explorer,) = page.boxes("Published figures")
    page.screenshot("widget-benchmarks", explorer)
    Select(page.field(explorer, "Table")).select_by_visible_text("Long context")
    until(
        lambda: "Long context" in explorer.find_element(By.CSS_SELECTOR, "figure img").get_attribute("alt"),
        30,
        "the chart follows the table",
    )
    page.click(explorer.find_element(By.XPATH, ".//label[normalize-space()='table']"))
    until(lambda: explorer.find_elements(By.CSS_SELECTOR, "figure table"), 30, "the table view")
    page.screenshot("widget-benchmarks-table", explorer)
    # The list of models is whole: no part of the widget scrolls in itself.
    assert not page.driver.execute_script(
        "return [...arguments[0].querySelectorAll('.labs-controls, .labs-controls *')].filter(e =>"
        " e.scrollHeight > e.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(e).overflowY)).length",
        explorer,
    )
    pictures = page.driver.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output figure img")
    assert len(pictures) >= 2
    for picture in pictures:
        assert picture.get_attribute("alt")
        assert page.driver.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 100", picture)
    for number, figure in enumerate(page.driver.find_elements(By.CSS_SELECTOR, ".jp-RenderedHTML figure")):
        page.screenshot(f"figure-{number}", figure)
    assert page.complaints() == []
