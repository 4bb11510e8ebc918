"""The widgets, driven without a browser: buttons are clicked, the model is a fake with the same methods."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from labs_helper.engines.base import Candidate, Prompt, Sampling, Token
from labs_helper.errors import BadRequest, LabError
from labs_helper.models.answers import Answer
from labs_helper.models.conversation import Conversation
from labs_helper.widgets import benchmarks, chat, compare, tokens, turns
from labs_helper.widgets.jobs import UPDATE_SECONDS
from labs_helper.widgets.markdown import allowed_address, markdown

NASTY = "<script>alert(1)</script> <img src=x onerror=alert(1)> [click](javascript:alert(1)) ![x](http://e.org/p)"


class FakeJob:
    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.finished = threading.Event()

    def stop(self) -> None:
        self.stopped.set()

    @property
    def done(self) -> bool:
        return self.finished.is_set()


class FakeModel:
    """`submit` and `ask` as a Model has them; one thread answers all jobs in order, as the real worker does."""

    path = None

    def __init__(self, name="fake", reply="Hello there.", delay=0.0, error=None, queue_lock=None) -> None:
        self.name, self.reply, self.delay, self.error, self.loaded = name, reply, delay, error, True
        self.requests: list[tuple] = []
        self._turn = queue_lock or threading.Lock()

    def _words(self, prompt):
        text = self.reply(prompt) if callable(self.reply) else self.reply
        return [word + (" " if i < text.count(" ") else "") for i, word in enumerate(text.split(" "))]

    def _answer(self, prompt, made, reason):
        return Answer(
            text="".join(token.text for token in made),
            finish_reason=reason,
            model=self.name,
            prompt=Prompt("", (), ()),
            tokens=tuple(made),
            prompt_tokens=10,
            cached_tokens=4,
            generated_tokens=len(made),
            seconds_to_first_token=0.1,
            seconds=0.5,
            tokens_per_second=20.0,
            peak_memory=0,
            rope_table=None,
            sampling=Sampling(),
        )

    def _generate(self, prompt, on_token, stopped):
        made = []
        for i, word in enumerate(self._words(prompt)):
            if stopped():
                return self._answer(prompt, made, "cancelled")
            time.sleep(self.delay)
            made.append(Token(word, i, -0.1, (Candidate(word, i, -0.1), Candidate("<b>", 99, -3.0))))
            if on_token:
                on_token(made[-1])
        return self._answer(prompt, made, "stop")

    def conversation(self):
        return Conversation(self)

    def ask(self, prompt, **request):
        self.requests.append((prompt, request))
        if self.error:
            raise self.error
        return self._generate(prompt, None, lambda: False)

    def submit(self, prompt, *, on_token=None, on_done=None, on_error=None, on_loading=None, **request):
        self.requests.append((prompt, request))
        job = FakeJob()

        def work():
            with self._turn:
                if not self.loaded:
                    on_loading(None)
                    self.loaded = True
                    on_loading(0.2)
                if self.error:
                    error, self.error = self.error, None
                    on_error(error)
                else:
                    on_done(self._generate(prompt, on_token, job.stopped.is_set))
            job.finished.set()

        threading.Thread(target=work, daemon=True).start()
        return job


def shown(talk) -> str:
    """What the page shows of the answers."""
    return "".join(turn["html"] + turn["note"] for turn in talk.shown) + talk.growing


def page(talk, kind, **content):
    """What the page sends; gives the reason when it was refused."""
    told = []
    talk.tell = lambda kind, **content: told.append(content)
    try:
        talk.receive({"kind": kind, "id": 1, **content})
    finally:
        del talk.tell
    return next(one["refused"] for one in told if "refused" in one)


# -- chat ----------------------------------------------------------------------------------------------------------


def test_chat_sends_what_the_page_sends_and_shows_the_answer():
    talk = chat(FakeModel(reply="**Bold** words."))
    assert page(talk, "send", text="  Hi there ") == ""
    talk.wait(5)
    (turn,) = talk.shown
    assert turn["question"] == "Hi there" and "<strong>Bold</strong> words." in turn["html"]
    assert talk.asked == {} and talk.growing == ""
    assert talk.last.text == "**Bold** words." == turn["text"]
    assert "20.0 tokens/s" in turn["facts"] and "(4 from the cache), " in turn["facts"]
    assert talk.status == "Done." and talk.running == ""


def asked(model, count, seconds=5.0):
    end = time.monotonic() + seconds
    while len(model.requests) < count and time.monotonic() < end:
        time.sleep(0.01)
    return [messages[-1]["content"] for messages, _ in model.requests]


def test_two_messages_at_once_are_one_question():
    model = FakeModel(delay=0.02)
    talk = chat(model)
    start = threading.Barrier(2)

    def press(action):
        start.wait()
        action()

    actions = (lambda: talk.receive({"kind": "send", "text": "once"}),) * 2
    threads = [threading.Thread(target=press, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    talk.wait(5)
    assert len(model.requests) == 1


def test_chat_passes_history_settings_and_system_prompt():
    model = FakeModel(reply=lambda messages: f"answer {len(messages)}")
    talk = chat(model, system="Answer in Spanish.", temperature=0.7, top_p=0.9, max_tokens=33)
    talk.send("one").wait(5)
    talk.send("two").wait(5)
    messages, request = model.requests[-1]
    assert messages == [
        {"role": "system", "content": "Answer in Spanish."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "answer 2"},
        {"role": "user", "content": "two"},
    ]
    assert request == {"temperature": 0.7, "top_p": 0.9, "max_tokens": 33}


def test_the_history_of_a_chat_can_be_edited():
    model = FakeModel(reply="Paris.")
    talk = chat(model)
    talk.send("Where is the Louvre?").wait(5)
    talk.conversation.messages[-1]["content"] = "In Lyon."
    talk.send("Why?").wait(5)
    messages, _request = model.requests[-1]
    assert [message["content"] for message in messages] == ["Where is the Louvre?", "In Lyon.", "Why?"]


def test_stop_keeps_the_words_so_far_and_says_so():
    talk = chat(FakeModel(reply=" ".join(str(i) for i in range(1000)), delay=0.01))
    talk.send("Count.")
    while "Generating" not in talk.status:
        time.sleep(0.005)
    assert talk.running == "running"
    page(talk, "stop")
    assert talk.running == "stopping"
    talk.wait(5)
    assert talk.running == ""
    assert talk.last.finish_reason == "cancelled" and 0 < talk.last.generated_tokens < 1000
    assert talk.shown[0]["note"] == "(stopped)" and talk.status == "Stopped."


def test_stop_pressed_before_the_job_is_known_still_stops():
    model = FakeModel(reply="a b c d e f g h", delay=0.05)
    talk = chat(model)
    submit = model.submit

    def slow_submit(*args, **kwargs):
        page(talk, "stop")  # the reader pressed Stop while submit was running
        return submit(*args, **kwargs)

    model.submit = slow_submit
    talk.send("x").wait(5)
    assert talk.last.finish_reason == "cancelled"


def test_streaming_is_coalesced_and_reports_in_words():
    seen, status = [], []
    talk = chat(FakeModel(reply=" ".join(["<b>x</b>"] * 60), delay=0.005))
    talk.observe(lambda change: seen.append(change["new"]), "growing")
    talk.observe(lambda change: status.append(change["new"]), ["status", "count"])
    begin = time.monotonic()
    talk.send("go").wait(5)
    seconds = time.monotonic() - begin
    growing = [value for value in seen if value.startswith("<b>x</b>")]  # the page shows it as text, not as HTML
    assert growing and len(growing) <= seconds / UPDATE_SECONDS + 1
    # What is read aloud says it once; the number beside it changes silently.
    assert status.count("Generating…") == 1 and sum(value.endswith("tokens") for value in status) >= 2
    assert "&lt;b&gt;" in talk.shown[0]["html"] and "<b>" not in talk.shown[0]["html"]


def test_a_lab_error_is_shown_and_the_chat_lives_on():
    model = FakeModel(error=BadRequest("The prompt is <too> long.", "Shorten it."))
    talk = chat(model)
    talk.send("long").wait(5)
    assert "The prompt is &lt;too&gt; long. Shorten it." in shown(talk)
    talk.send("short").wait(5)
    assert talk.last.text == "Hello there."
    assert model.requests[-1][0] == [{"role": "user", "content": "short"}]  # the failed turn is not history
    assert "Error: The prompt is <too> long." in talk.transcript().text


def test_an_error_raised_by_submit_itself_frees_the_widget():
    model = FakeModel()
    submit = model.submit
    model.submit = lambda *a, **k: (_ for _ in ()).throw(BadRequest("No.", "Do this."))
    talk = chat(model)
    talk.send("x").wait(1)
    assert "No. Do this." in shown(talk) and talk.running == ""
    model.submit = lambda *a, **k: (_ for _ in ()).throw(RuntimeError("a bug"))
    with pytest.raises(RuntimeError):
        talk.send("y")
    assert not talk.busy and "RuntimeError" in shown(talk)
    model.submit = submit
    talk.send("z").wait(5)
    assert talk.last.text == "Hello there."


def test_a_mistake_while_showing_an_answer_does_not_lock_the_widget(monkeypatch):
    talk = chat(FakeModel())
    monkeypatch.setattr(turns, "markdown", lambda text: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    talk.send("x").wait(5)
    assert talk.running == ""


def test_empty_messages_and_messages_while_busy_are_refused_in_words():
    model = FakeModel(delay=0.05, reply="a b c")
    talk = chat(model)
    talk.send("   ")
    assert "Type a message first." in talk.status and model.requests == []
    assert page(talk, "send", text=" ") == "Type a message first."
    talk.send("one")
    talk.send("two")
    assert page(talk, "send", text="three") == "Still answering. Wait, or press Stop first."
    page(talk, "new")
    talk.wait(5)
    assert len(model.requests) == 1 and len(talk.turns) == 1


def test_loading_is_said_in_words():
    model = FakeModel()
    model.loaded = False
    talk = chat(model)
    assert "first question" in talk.status
    said = []
    talk.observe(lambda change: said.append(change["new"]), "status")
    talk.send("x").wait(5)
    assert any("Loading fake…" in words for words in said)


def test_new_conversation_forgets():
    model = FakeModel()
    talk = chat(model)
    talk.send("one").wait(5)
    page(talk, "new")
    assert talk.turns == [] == talk.shown and talk.words["empty"] == "No messages yet."
    talk.send("two").wait(5)
    assert model.requests[-1][0] == [{"role": "user", "content": "two"}]


def test_wait_gives_up():
    talk = chat(FakeModel(delay=0.5))
    talk.send("x")
    with pytest.raises(TimeoutError):
        talk.wait(0.05)
    talk.wait(5)


def test_two_chats_on_one_model_do_not_mix():
    model = FakeModel(reply=lambda messages: " ".join([messages[-1]["content"]] * 20), delay=0.002)
    left, right = chat(model), chat(model)
    left.send("left")
    right.send("right")
    left.wait(5), right.wait(5)
    assert "right" not in shown(left).replace("left", "") and left.last.text == " ".join(["left"] * 20)
    assert "left" not in shown(right)


def test_model_and_reader_text_cannot_become_html():
    talk = chat(FakeModel(name="<i>m</i>", reply=NASTY))
    talk.send(NASTY).wait(5)
    # The rest of the page's state goes in as text: test_views.py looks at the scripts, a browser test at the page.
    for html in (talk.shown[0]["html"], talk.transcript().html):
        assert "<script" not in html and "<img" not in html and "<i>m" not in html
        assert 'href="javascript' not in html.lower()


def test_static_form_is_stable_and_readable():
    talk = chat(FakeModel())
    bundle = talk._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == "Chat with fake: no messages yet."
    talk.send("Hi").wait(5)
    bundle = talk._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == "Chat with fake\nYou: Hi\nfake: Hello there."
    assert "tokens/s" not in data["text/plain"]  # nothing that differs from run to run
    assert repr(talk) == data["text/plain"]
    assert "<p>Hello there.</p>" in data["text/html"]
    assert list(talk.transcript().frame()["answer"]) == ["Hello there."]


def test_an_edited_question_takes_the_conversation_back_to_before_it():
    model = FakeModel(reply=lambda messages: f"answer to {messages[-1]['content']}")
    talk = chat(model)
    for question in ("one", "two", "three"):
        talk.send(question).wait(5)
    assert page(talk, "edit", number=2, text=" ") == "Type a message first." and len(talk.turns) == 3
    assert page(talk, "edit", number=9, text="x") == "That question is no longer there."
    assert page(talk, "edit", number=2, text="TWO") == ""
    talk.wait(5)
    assert [turn["question"] for turn in talk.shown] == ["one", "TWO"]
    assert [message["content"] for message in talk.conversation.messages] == [
        "one",
        "answer to one",
        "TWO",
        "answer to TWO",
    ]


def test_again_asks_the_last_question_in_place_of_its_answer():
    replies = iter(("first", "second"))
    model = FakeModel(reply=lambda messages: next(replies))
    talk = chat(model)
    talk.send("Why?").wait(5)
    assert page(talk, "again", number=2) == "That question is no longer there."
    assert page(talk, "again", number=1) == ""
    talk.wait(5)
    assert [message["content"] for message in talk.conversation.messages] == ["Why?", "second"]
    assert [messages for messages, _ in model.requests] == [[{"role": "user", "content": "Why?"}]] * 2


def test_a_wrong_setting_refuses_the_message_and_says_why():
    model = FakeModel()
    talk = chat(model)
    page(talk, "set", name="max_tokens", text="abc")
    assert talk.numbers[2]["typed"] == "abc" and "not 'abc'" in talk.numbers[2]["problem"]
    assert page(talk, "send", text="Hi") == "Max tokens: type a whole number from 1 to 1,024, not 'abc'."
    assert model.requests == []
    page(talk, "set", name="max_tokens", text="9")
    page(talk, "set", name="system", text="Be brief.")
    assert page(talk, "send", text="Hi") == ""
    talk.wait(5)
    messages, request = model.requests[0]
    assert request["max_tokens"] == 9 and messages[0] == {"role": "system", "content": "Be brief."}


def test_a_question_that_failed_goes_back_to_the_page():
    talk = chat(FakeModel(error=BadRequest("Too long.", "Shorten it.")))
    told = []
    talk.tell = lambda kind, **content: told.append((kind, content))
    talk.receive({"kind": "send", "id": 3, "text": "a long one"})
    talk.wait(5)
    time.sleep(0.05)
    assert ("failed", {"text": "a long one", "why": "Too long. Shorten it."}) in told


def test_the_page_gets_the_tokens_of_an_answer_that_it_asks_for():
    talk = chat(FakeModel(reply="<b>Nairobi</b> is"))
    talk.send("Capital?").wait(5)
    told = []
    talk.tell = lambda kind, **content: told.append((kind, content))
    talk.receive({"kind": "tokens", "id": 1, "number": 1})
    (kind, content), _ack = told
    assert kind == "tokens" and content["number"] == 1
    assert "&lt;b&gt;Nairobi" in content["html"] and "<b>Nairobi" not in content["html"]
    assert page(talk, "tokens", number=2) == "There are no tokens to show."


def test_the_meter_says_how_much_of_the_context_is_taken():
    model = FakeModel()
    model.card = SimpleNamespace(context=300)
    talk = chat(model, max_tokens=256)
    assert talk.meter == {}
    talk.send("Hi").wait(5)
    assert talk.meter == {"used": 12, "most": 300, "words": "12 of 300 tokens", "hint": ""}
    page(talk, "set", name="max_tokens", text="290")
    talk.send("Hi").wait(5)
    assert talk.meter["hint"].startswith("The next answer may not fit.")
    talk.new_conversation()
    assert talk.meter == {}


KERNEL = """
import json, sys
from ipykernel.inprocess import InProcessKernelManager

manager = InProcessKernelManager()
manager.start_kernel()
client = manager.client()
client.start_channels()
cells = []
for code in sys.argv[1:]:
    client.execute(code)
    reply = client.get_shell_msg(timeout=30)
    assert reply["content"]["status"] == "ok", reply
    cells.append(reply["parent_header"]["msg_id"])
while client.iopub_channel.msg_ready():
    message = client.get_iopub_msg(timeout=1)
    if message["msg_type"].endswith("display_data"):
        cell = cells.index(message["parent_header"]["msg_id"])
        print(json.dumps({"kind": message["msg_type"], "cell": cell, **message["content"]}))
"""


def test_the_notebook_keeps_what_was_said_after_the_cell_ran():
    """In a kernel: a second output of the same cell, replaced with each answer; each conversation has its own."""
    cells = (
        "from test_widgets import FakeModel; from labs_helper.widgets import chat",
        "talk = chat(FakeModel(reply='<b>yes</b>')); talk.send('first').wait(5)",
        "talk.send('second').wait(5); talk.send('third').wait(5); None",
        "talk.new_conversation(); talk.send('new').wait(5); assert talk.kept['code'] == 'talk.transcript()'",
    )
    ran = subprocess.run(
        [sys.executable, "-c", KERNEL, *cells], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent
    )
    assert ran.returncode == 0, ran.stderr
    kept = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [one["kind"] for one in kept] == ["display_data", "update_display_data", "display_data"]
    assert {one["cell"] for one in kept} == {1}
    ids = [one["transient"]["display_id"] for one in kept]
    assert ids[0] == ids[1] != ids[2]
    texts = [one["data"]["text/plain"] for one in kept]
    assert "You: second" in texts[0] and "You: third" in texts[1] and "You: first" in texts[1]
    assert "You: new" in texts[2] and "You: first" not in texts[2]
    html = kept[1]["data"]["text/html"]
    assert 'data-labs-count="3"' in html and "&lt;b&gt;" in html and "<b>" not in html


def test_outside_of_a_notebook_nothing_is_kept():
    talk = chat(FakeModel())
    talk._repr_mimebundle_()
    talk.send("Hi").wait(5)
    assert talk.kept["count"] == 0


# -- markdown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        " javascript:alert(1)",
        "&#106;avascript:alert(1)",
        "java&#10;script:alert(1)",
        "data:text/html,<script>",
        "data:image/svg+xml;base64,AA",
        "vbscript:x",
        "file:///x",
        "//evil.example",
        "relative",
        "\x01javascript:x",
        "jav\u200bascript:x",
        "http:[x",
        "https:",
    ],
)
def test_only_web_and_mail_addresses_become_links(url):
    assert allowed_address(url) is None
    assert "href" not in markdown(f"[a](<{url}>)")


def test_markdown_renders_what_it_should():
    html = markdown("# Title\n\n1. one\n2. two\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n[s](https://example.org)\n\n`x<y`")
    for part in (
        "<h4>Title</h4>",
        "<li>one</li>",
        "<td>1</td>",
        'href="https://example.org"',
        "x&lt;y",
        'rel="noopener noreferrer"',
    ):
        assert part in html
    assert "<img" not in markdown("![a](https://example.org/x.png)")
    assert "<script" not in markdown("<script>x</script>\n\n<div onclick=x>\n\n```<script>\n<script>\n```")
    assert allowed_address("http://[x") is None


@pytest.mark.parametrize(
    "text",
    [
        NASTY,
        '[x](https://e.org "><script>")',
        '[x](https://e.org/"onmouseover="alert)',
        '<https://e.org/"><script>>',
        "![<script>](x)",
        "[x]: javascript:alert(1)\n\n[x]",
        "<a href='javascript:x'>",
        "`<img src=x onerror=y>`",
        "| <b onclick=x> |\n| - |\n| <script> |",
        '```"><script>\nx\n```',
        "[a](https://e.org/?a=\u2028<b>)",
        "&lt;script&gt;",
        "[<img src=x onerror=y>](https://e.org)",
        "# <svg onload=x>",
        "[x](https://e.org 'a\" onclick=\"b')",
    ],
)
def test_markdown_makes_only_harmless_tags(text):
    """Parsed as a browser would: known tags, known attributes, addresses of the web only."""
    from html.parser import HTMLParser

    harmless = {
        "p",
        "h4",
        "h5",
        "h6",
        "strong",
        "em",
        "del",
        "code",
        "pre",
        "ul",
        "ol",
        "li",
        "blockquote",
        "br",
        "hr",
        "a",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }

    class Watch(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag in harmless, tag
            assert {name for name, _ in attrs} <= {"href", "target", "rel", "class", "style", "start"}, attrs
            assert dict(attrs).get("href", "https://").startswith("https://")

    Watch().feed(markdown(text))


# -- compare -------------------------------------------------------------------------------------------------------


def test_compare_without_widget():
    figure = compare([FakeModel("old", "no"), FakeModel("new", "yes")], ["q1", "q2"], widget=False, max_tokens=7)
    frame = figure.frame()
    assert list(frame["model"]) == ["old", "new", "old", "new"] and list(frame["answer"]) == ["no", "yes"] * 2
    assert figure.text.splitlines() == [
        "Prompt: q1",
        "  old: no",
        "  new: yes",
        "Prompt: q2",
        "  old: no",
        "  new: yes",
    ]
    assert list(frame["tokens_per_second"]) == [20.0] * 4 and figure.html.count(">1 token<") == 4


def test_compare_widget_fills_its_table_and_runs_edited_prompts():
    lock = threading.Lock()
    old, new = FakeModel("old", "no", queue_lock=lock), FakeModel("new", NASTY, queue_lock=lock)
    both = compare([old, new], ["q1", "q2"], seed=3)
    both.wait(5)
    assert [prompt for prompt, _ in old.requests] == ["q1", "q2"] and old.requests[0][1]["seed"] == 3
    assert "<script" not in both.table and "&lt;script&gt;" in both.table
    assert len(both.frame()) == 4 and "Done." in both.status
    assert page(both, "run", text="q3\n\n") == ""
    both.wait(5)
    assert [prompt for prompt, _ in new.requests][2:] == ["q3"] and "Prompt: q3" in repr(both)


def test_compare_stop_leaves_out_the_rest():
    lock = threading.Lock()
    both = compare([FakeModel("a", "w " * 500, 0.01, queue_lock=lock), FakeModel("b", queue_lock=lock)], ["1", "2"])
    time.sleep(0.05)
    page(both, "stop")
    both.wait(5)
    assert "Stopped before 3 more answers" in both.status
    assert both.frame()["answer"].notna().sum() == 1


def test_compare_shows_an_error_in_its_cell_and_goes_on():
    both = compare([FakeModel("bad", error=LabError("Broken.", "Mend it.")), FakeModel("good")], "q").wait(5)
    assert "Error: Broken. Mend it." in both.result().text and "good: Hello there." in both.result().text


def test_compare_takes_messages_and_refuses_nothing_to_do():
    talk = [{"role": "user", "content": "Hi"}]
    assert "Prompt: Hi" in compare(FakeModel(), talk, widget=False).text
    with pytest.raises(BadRequest):
        compare([FakeModel()], [], widget=False)
    with pytest.raises(BadRequest):
        compare([], "x")


# -- tokens --------------------------------------------------------------------------------------------------------


def test_tokens_shows_the_token_view():
    model = FakeModel(reply="<b>Nairobi</b> is")
    view = tokens(model, "Capital?", top_logprobs=2).wait(5)
    assert model.requests[0][1]["top_logprobs"] == 2
    assert "&lt;b&gt;Nairobi" in view.drawing and "<b>Nairobi" not in view.drawing
    assert "90.5 %" in view.static().text
    assert "Type a prompt first." in view.show(" ").status


def test_tokens_shows_errors_and_lives_on():
    view = tokens(FakeModel(error=BadRequest("Empty.", "Write."))).show("x").wait(5)
    assert "Empty. Write." in view.drawing and "Empty. Write." in repr(view)
    view.show().wait(5)
    assert view.answer.text == "Hello there."


# -- benchmarks ----------------------------------------------------------------------------------------------------


def test_benchmarks_without_widget():
    figure = benchmarks(
        "multilingual_by_language", models=["Phi-3.5-mini", "June 2024"], test="Multilingual MMLU", widget=False
    )
    assert "lower in 2 (French, Italian)" in figure.alt
    assert set(figure.frame()["model"]) == {"Phi-3.5-mini-instruct", "Phi-3-mini-128k-instruct (June 2024)"}
    assert "Source: " in figure.text and "huggingface.co/microsoft/Phi-3.5-mini-instruct" in figure.html


@pytest.mark.parametrize("arguments", [{"table": "nope"}, {"models": ["GPT-99"]}, {"test": "nope"}, {"view": "pie"}])
@pytest.mark.parametrize("widget", [True, False])
def test_benchmarks_refuses_what_is_unknown(arguments, widget):
    with pytest.raises(BadRequest) as caught:
        benchmarks(**arguments, widget=widget)
    assert caught.value.do


def test_benchmarks_explorer_follows_its_controls():
    explorer = benchmarks()
    assert explorer.test == "Multilingual MMLU" and "Arabic" in repr(explorer)
    draws = []
    explorer.observe(lambda change: draws.append(1), "drawing")
    assert page(explorer, "set", name="table", text="long_context") == ""
    assert len(draws) == 1, "three controls change with the table; the chart is drawn once"
    assert "RULER, 4K" in repr(explorer) and explorer.test == "" and explorer.tests[0] == ["all tests", ""]
    page(explorer, "set", name="test", text="RULER")
    for name in explorer.models:
        page(explorer, "tick", name=name, on=name == "Phi-3.5-MoE-instruct")
    page(explorer, "set", name="view", text="table")
    assert explorer.ticked == ["Phi-3.5-MoE-instruct"]
    assert "<table" in explorer.drawing and set(explorer.frame()["benchmark"]) == {"RULER"}
    page(explorer, "tick", name="Phi-3.5-MoE-instruct", on=False)
    assert "Choose at least one model." in explorer.drawing
    page(explorer, "set", name="table", text="mlx_checkpoints")
    assert "mlx-community/Phi-3.5-mini-instruct-4bit" in explorer.drawing and explorer.models == []


def test_benchmarks_explorer_takes_nothing_that_it_did_not_offer():
    explorer = benchmarks()
    before = explorer.drawing
    for name, text in (("table", "../secrets"), ("test", "nope"), ("view", "pie"), ("models", "x"), ("drawing", "<b>")):
        page(explorer, "set", name=name, text=text)
    page(explorer, "tick", name="GPT-99", on=True)
    assert explorer.drawing == before and "GPT-99" not in explorer.ticked


def test_benchmarks_explorer_shows_every_table():
    from labs_helper.figures import published

    explorer = benchmarks()
    for name in published.tables():
        explorer.choose("table", name)
        assert "Source:" in explorer.drawing, name
        for _words, test in explorer.tests:
            explorer.choose("test", test)
            assert "<figure" in explorer.drawing, (name, test)
        for model in explorer.models[:9]:  # nine are too many for a chart: said in words
            explorer.tick(model, on=True)
        assert explorer.drawing
