"""What servers, proxies and people do wrong around LABS_ENDPOINT, and what a learner gets all the same."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_endpoint import FakeEndpoint, failing

from labs_helper.errors import BadRequest, EndpointFailed, LabError
from labs_helper.models.load import load

KEY = "nvapi-very-secret-0123456789"
TESTS = Path(__file__).resolve().parents[1]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def point(monkeypatch):
    """Points LABS_ENDPOINT at a server and gives the model behind it. No proxy is set."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def at(url, model="phi-fake", key=KEY):
        for name, value in {"LABS_ENDPOINT": url, "LABS_ENDPOINT_MODEL": model, "LABS_ENDPOINT_KEY": key}.items():
            monkeypatch.setenv(name, value)
        chosen = load("endpoint")
        chosen.last = None
        return chosen

    return at


def chunk(content, finish=None):
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


def sending(*events):
    """A behaviour: these events, as JSON or as the bytes that they are."""

    def behave(fake, handler, body):
        handler.start_stream()
        for event in events:
            handler.wfile.write(event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() + b"\n\n")
            handler.wfile.flush()

    return behave


DONE = b"data: [DONE]\n\n"
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


# -- streams: B1 to B6 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        [chunk("Hel"), {"choices": None, "usage": {"prompt_tokens": 3}}, chunk("lo"), STOP, DONE],
        [chunk("Hel"), {}, {"usage": None}, chunk("lo"), STOP, DONE],
        [chunk("Hel"), chunk("lo"), STOP, {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}, DONE],
        [chunk("Hel"), b"data: null\n\n", chunk("lo"), STOP, DONE],
        [chunk("Hel"), b": keep-alive\n\n", b"event: ping\ndata: {}\n\n", chunk("lo"), STOP, DONE],
        [chunk([{"type": "text", "text": "Hel"}]), chunk(["lo"]), STOP, DONE],
        [{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}],
        [b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'],
        [
            b'data: {"choices": [{"delta": {"content": "Hel"}}]}\ndata: {"choices": [{"delta": {"content": "lo"}}]}\n',
            DONE,
        ],
    ],
)
def test_the_text_comes_out_whole(point, events):
    with FakeEndpoint(sending(*events)) as fake:
        assert point(fake.url).ask("Hi").text == "Hello"


def test_without_a_reason_the_text_is_kept_and_the_reason_unknown(point):
    for events in ([chunk("Hel", ""), chunk("lo", ""), DONE], [chunk("Hel"), chunk("lo"), DONE]):
        with FakeEndpoint(sending(*events)) as fake:
            answer = point(fake.url).ask("Hi")
            assert (answer.text, answer.finish_reason) == ("Hello", "unknown")


def test_an_error_in_the_stream_is_told_in_the_servers_words(point):
    error = {"error": {"message": f"CUDA out of memory \x1b[31m{KEY}", "code": 500}}
    with FakeEndpoint(sending(chunk("Hel"), error)) as fake:
        model = point(fake.url)
        with pytest.raises(EndpointFailed, match="out of memory") as caught:
            model.ask("Hi")
        assert model.last.text == "Hel" and model.last.finish_reason == "failed"
        assert "model.last" in caught.value.do
        assert KEY not in str(caught.value) and "\x1b" not in str(caught.value)
    with FakeEndpoint(sending(error)) as fake:
        with pytest.raises(EndpointFailed, match="500: CUDA out of memory") as caught:
            point(fake.url).ask("Hi")
        assert "LABS_ENDPOINT" not in caught.value.do, "the address is right: the server has answered"


@pytest.mark.parametrize(
    "broken",
    [b"data: {oops\n\n", {"choices": [{"delta": {"content": 5}}]}, {"choices": "text"}, {"choices": [{"delta": "lo"}]}],
)
def test_text_that_cannot_be_read_does_not_pass_in_silence(point, broken):
    with FakeEndpoint(sending(chunk("Hel"), broken, chunk("lo"), STOP, DONE)) as fake:
        model = point(fake.url)
        with pytest.raises(EndpointFailed, match="1 part of its answer"):
            model.ask("Hi")
        assert model.last.text == "Hello"


def test_an_answer_that_broke_off_is_kept_and_leaves_no_trace_in_a_conversation(point):
    with FakeEndpoint() as fake:
        talk = point(fake.url).conversation()
        talk.ask("First")
        fake.behave = sending(chunk("Hel"))
        for ask in (talk.ask, lambda text: list(talk.stream(text))):
            with pytest.raises(EndpointFailed, match="broke off"):
                ask("Second")
            assert talk.model.last.text == "Hel" and len(talk) == 2
        fake.behave = FakeEndpoint.stream
        talk.ask("Third")
        assert [message["content"] for message in fake.requests[-1][2]["messages"]][::2] == ["First", "Third"]


def test_the_halves_of_an_emoji_are_joined_and_the_next_turn_works(point):
    with FakeEndpoint(sending(chunk("a \ud83d"), chunk("\ude00 b \ud83d"), STOP, DONE)) as fake:
        model = point(fake.url)
        talk, seen = model.conversation(), []
        answer = talk.ask("Hi", on_token=lambda token: seen.append(token.text))
        assert answer.text == "a 😀 b \ufffd" == "".join(seen)
        assert talk.ask("And now?").text
        assert fake.requests[1][2]["messages"][1]["content"] == "a 😀 b \ufffd"


@pytest.mark.parametrize("stays_open", [False, True])
def test_what_follows_the_end_does_no_harm(point, stays_open):
    def behave(fake, handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")  # they never come
        handler.end_headers()
        handler.piece("Hello")
        handler.wfile.write(DONE)
        handler.wfile.flush()
        if stays_open:
            fake.gone.wait(10)
        handler.close_connection = True

    with FakeEndpoint(behave) as fake:
        began = time.perf_counter()
        assert point(fake.url).ask("Hi").text == "Hello"
        assert time.perf_counter() - began < 5, "a server that keeps the connection open is left"
        fake.gone.set()


def test_a_line_without_an_end_does_not_fill_the_memory(point, monkeypatch):
    monkeypatch.setattr("labs_helper.engines.stream_reader.LONGEST_EVENT", 10_000)

    def behave(fake, handler, body):
        handler.start_stream()
        handler.piece("Hello")
        while True:
            handler.wfile.write(b"x" * 4096)

    with FakeEndpoint(behave) as fake:
        model = point(fake.url)
        with pytest.raises(EndpointFailed, match="cannot be read"):
            model.ask("Hi")
        assert model.last.text == "Hello" and fake.gone.wait(5)


# -- thousands of streams, and nothing on stderr: B7 -----------------------------------------------------------


def in_a_process(*arguments, **environment):
    """(output, what came on stderr) of a Python program that says everything it can."""
    result = subprocess.run(
        [sys.executable, "-W", "default", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path[1:]])} | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return result.stdout + f"exit {result.returncode}", result.stderr


def test_a_thousand_generated_streams(record_property):
    seed = int(os.environ.get("LABS_TEST_SEED", time.time_ns() % 2**32))
    out, noise = in_a_process(str(TESTS / "engines/generated_streams.py"), "1000", "--seed", str(seed))
    print(out)
    record_property("seed", seed)
    assert f"1000 streams of seed {seed}" in out and out.endswith("exit 0"), out
    assert noise == ""


STOPS = """
import os, threading, time
from fake_endpoint import FakeEndpoint
from labs_helper.models.load import load

def endless(fake, handler, body):
    handler.start_stream()
    while True:
        handler.piece("word ")
        time.sleep(0.002)

with FakeEndpoint(endless) as fake:
    os.environ |= {"LABS_ENDPOINT": fake.url, "LABS_ENDPOINT_MODEL": "phi"}
    model = load("endpoint")
    for number in range(40):
        fake.gone.clear()
        if number % 2:
            for place, token in enumerate(model.stream("Hi")):
                if place == number % 5:
                    break
        else:
            job = model.submit("Hi")
            time.sleep(0.01 * (number % 7))
            model.stop()
            assert job.wait(5).finish_reason == "cancelled"
    print("calm")
"""


def test_stopping_and_leaving_early_say_nothing_on_stderr():
    out, noise = in_a_process("-c", STOPS)
    assert "calm" in out and noise == ""


# -- proxies: B8 and B9 ----------------------------------------------------------------------------------------


def test_a_server_in_the_room_is_asked_directly(point, monkeypatch):
    with FakeEndpoint(answer=("direct",)) as fake, FakeEndpoint(answer=("through a proxy",)) as proxy:
        model = point(fake.url)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        assert model.ask("Hi").text == "direct"
        assert proxy.requests == [], "neither the prompt nor the key went there"


def test_a_server_elsewhere_is_asked_through_the_proxy_and_messages_name_it(point, monkeypatch):
    with FakeEndpoint(answer=("through a proxy",)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1").replace("http://", "http://me:hunter2@"))
        model = point("http://models.example.org/v1")
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1").replace("http://", "http://me:hunter2@"))
        assert model.ask("Hi").text == "through a proxy"
        assert proxy.requests[0][0] == "http://models.example.org/v1/chat/completions"
        proxy.behave = failing(400)
        with pytest.raises(EndpointFailed) as caught:
            model.ask("Hi")
    assert f"through the proxy {proxy.url[7:-3]}" in str(caught.value) and "hunter2" not in str(caught.value)
    with pytest.raises(EndpointFailed, match=r"Nothing answers at .*through the proxy") as caught:
        model.ask("Hi")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["socks5://me:hunter2@127.0.0.1:1080", "socks://hunter2", "http://me:hunter2", "x://hunter2"]
)
def test_a_proxy_that_cannot_be_used_is_told_in_a_sentence(point, monkeypatch, proxy):
    model = point("http://models.example.org/v1")
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(LabError, match="ALL_PROXY") as caught:
        model.ask("Hi")
    assert "NO_PROXY" in caught.value.do and "hunter2" not in str(caught.value)
    with FakeEndpoint() as fake:
        assert point(fake.url).ask("Hi").text, "the room needs no proxy"


# -- secrets: B10 and B11 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "named",
    [
        "http://me:hunter2@host:99999999/v1",
        "http://me:hunter2",
        "me:hunter2@host/v1",
        "me:hunter2/v1",
        "http://me:hunter2/x@host/v1",
        "http://me:hunter2#x@host/v1",
        "http://host/v1?key=hunter2",
        "http://<hunter2>",
        "https://me:hunter2@<resource>.openai.azure.com",
        "http://[hunter2",
        "hunter2",
    ],
)
def test_an_address_that_cannot_be_used_is_never_repeated(point, named):
    with pytest.raises(LabError, match="LABS_ENDPOINT") as caught:
        point(named)
    assert "hunter2" not in str(caught.value)


def test_a_key_that_the_server_repeats_is_not_shown(point):
    pieces = [f"Your key: {KEY[:3]}", *KEY[3:-4], f"{KEY[-4:]}. Nice!"]
    with FakeEndpoint(sending(*map(chunk, pieces), STOP, DONE)) as fake:
        seen = []
        answer = point(fake.url).ask("Hi", on_token=lambda token: seen.append(token.text))
    assert answer.text == "Your key: ***. Nice!" == "".join(seen)
    assert KEY not in repr(answer) + repr(answer.tokens)
    with FakeEndpoint(models=(f"phi {KEY}\x1b[31m",)) as fake:
        model = point(fake.url, model="")
        answer = model.ask("Hi")
        assert "phi ***" in model.engine.endpoint.name + model.engine.model
        assert KEY not in repr(answer) + repr(vars(model.engine)) and "\x1b" not in model.engine.model


def test_words_that_begin_like_the_key_come_one_by_one(point):
    with FakeEndpoint(answer=("Hunan", " is", " n", "vapi", "!")) as fake:
        pieces = [token.text for token in point(fake.url).stream("Hi")]
    assert pieces == ["Hunan", " is", " n", "vapi", "!"]


def test_a_redirect_to_another_server_is_refused(point):
    with FakeEndpoint() as other:

        def behave(fake, handler, body):
            handler.answer_with(307, {}, [("Location", f"{other.url}/chat/completions?key={KEY}")])

        with FakeEndpoint(behave) as fake, pytest.raises(EndpointFailed, match="redirects requests to") as caught:
            point(fake.url).ask("Hi")
        assert other.requests == [] and other.url.removesuffix("/v1") in str(caught.value)
        assert KEY not in str(caught.value)


def test_a_redirect_within_the_server_is_followed(point):
    def behave(fake, handler, body):
        if handler.path.endswith("/"):
            fake.stream(handler, body)
        else:
            handler.answer_with(308, {}, [("Location", "/v1/chat/completions/")])

    with FakeEndpoint(behave) as fake:
        assert point(fake.url).ask("Hi").text == "Changsha is in Hunan."
    in_circles = FakeEndpoint(lambda fake, handler, body: handler.answer_with(307, {}, [("Location", "")]))
    with in_circles as fake, pytest.raises(EndpointFailed, match="redirects requests"):
        point(fake.url).ask("Hi")


@pytest.mark.parametrize("key", [f"{KEY}\nX-Other: {KEY}", f"{KEY} {KEY}", f"{KEY}\u200b", f"“{KEY}”"])
def test_a_key_that_is_none_is_refused_and_not_logged(point, caplog, key):
    caplog.set_level(logging.DEBUG)
    with FakeEndpoint() as fake, pytest.raises(BadRequest, match="LABS_ENDPOINT_KEY") as caught:
        point(fake.url, key=key).ask("Hi")
    assert not fake.requests and KEY not in str(caught.value) + caplog.text


def test_a_key_that_comes_back_in_a_header_is_not_logged(point, caplog):
    caplog.set_level(logging.DEBUG)

    def behave(fake, handler, body):
        handler.answer_with(400, {}, [("X-Echo", f"Bearer {KEY}")])

    with FakeEndpoint(behave) as fake, pytest.raises(EndpointFailed):
        point(fake.url).ask("Hi")
    assert "X-Echo" in caplog.text and KEY not in caplog.text


# -- what is shown: B12 ----------------------------------------------------------------------------------------


def test_control_and_bidirectional_characters_are_visible_and_the_text_stays_as_it_came(point):
    evil = "a\x1b]0;title\x07 \u202eabc\u202c \u2066d\u2069 \x9b31m"
    with FakeEndpoint(answer=(evil,)) as fake:
        answer = point(fake.url).ask("Hi")
    assert answer.text == evil
    for shown in (str(answer), repr(answer), answer._repr_html_()):
        assert "\ufffd" in shown and not set(shown) & set("\x1b\x07\x9b\u202e\u202c\u2066\u2069")


# -- further ways to fail ----------------------------------------------------------------------------------------


def test_an_answer_compressed_twice_is_not_unpacked(point):
    def behave(fake, handler, body):
        handler.answer_with(200, b"\x1f\x8b", [("Content-Encoding", "gzip, gzip")])

    with FakeEndpoint(behave) as fake, pytest.raises(EndpointFailed, match="compressed"):
        point(fake.url).ask("Hi")


def closing(fake, handler, body):
    handler.close_connection = True


def test_a_server_that_closes_without_a_word_is_asked_again(point, monkeypatch):
    monkeypatch.setattr("labs_helper.engines.endpoint_client.FIRST_PAUSE", 0.001)

    def behave(fake, handler, body):
        if len(fake.requests) < 3:
            handler.close_connection = True
        else:
            fake.stream(handler, body)

    with FakeEndpoint(behave) as fake:
        assert point(fake.url).ask("Hi").text == "Changsha is in Hunan."
        fake.behave = closing
        with pytest.raises(EndpointFailed, match="closed the connection without an answer"):
            point(fake.url).ask("Hi")


def test_a_list_of_models_that_is_none(point):
    with FakeEndpoint(models=({"not": "a name"}, None)) as fake, pytest.raises(EndpointFailed, match="no model"):
        point(fake.url, model="").ask("Hi")


@pytest.mark.parametrize("wish", ["²", "-1", "1e9", "nan", "9" * 20, "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_pause_that_makes_no_sense_is_not_waited_for(point, monkeypatch, wish):
    monkeypatch.setattr("labs_helper.engines.endpoint_client.FIRST_PAUSE", 0.001)
    headers = [("Retry-After", wish.encode().decode("latin-1"))]
    with FakeEndpoint(failing(429, times=2, headers=headers)) as fake:
        began = time.perf_counter()
        assert point(fake.url).ask("Hi").text == "Changsha is in Hunan."
        assert time.perf_counter() - began < 5


@pytest.mark.parametrize("state", ["looking up the name", "listing the models", "reading an error"])
def test_stop_is_heard_in_every_state(point, monkeypatch, state):
    """Between two pieces, before the first and between two attempts: tests/engines/test_openai_api.py."""
    arrived = threading.Event()

    def slow(*arguments, **options):
        arrived.set()
        time.sleep(3)
        raise OSError("no such name")

    def behave(fake, handler, body):
        handler.send_response(400)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        arrived.set()
        time.sleep(3)

    with FakeEndpoint(behave) as fake:
        if state == "looking up the name":
            monkeypatch.setattr(socket, "getaddrinfo", slow)
            model = point("http://models.local/v1")
        else:
            model = point(fake.url, model="" if state == "listing the models" else "phi-fake")
        if state == "listing the models":
            monkeypatch.setattr(fake.server.RequestHandlerClass, "do_GET", slow)
        job = model.submit("Hi")
        assert arrived.wait(5)
        began = time.perf_counter()
        model.stop()
        assert job.wait(5).finish_reason == "cancelled" and time.perf_counter() - began < 1
