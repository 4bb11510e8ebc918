"""The gate: who gets in, how many, with what."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import httpx
import pytest
from fake_endpoint import FakeEndpoint

from labs_helper.errors import BadRequest
from labs_helper.serving import Backoff, gate, load_test

KEY = "a-key-that-nobody-guesses"
ASK = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}


def behind(fake):
    return SimpleNamespace(url=fake.url, model="phi-fake")


def post(door, body=None, key=KEY, path="/chat/completions", **options):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{door.url}{path}", json=body or ASK, headers=headers, trust_env=False, timeout=10, **options)


def test_an_answer_passes_as_it_is():
    with FakeEndpoint() as fake, gate(behind(fake), KEY) as door:
        direct = httpx.post(f"{fake.url}/chat/completions", json=ASK, trust_env=False)
        answer = post(door)
        assert answer.status_code == 200 and answer.content == direct.content
        assert "Authorization" not in fake.requests[-1][1]  # the server behind need not know the key
        run = load_test(door, 3, ["a"], key=KEY)
    assert run.lost == 0 and door.refused == {}


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", KEY[:-1], "ключ"])
def test_without_the_key_nothing_passes(key):
    with FakeEndpoint() as fake, gate(behind(fake), KEY) as door:
        headers = {"Authorization": f"Bearer {key}".encode()} if key else {}
        answer = httpx.post(f"{door.url}/chat/completions", json=ASK, headers=headers, trust_env=False)
        assert answer.status_code == 401 and fake.requests == [] and door.refused == {401: 1}


def test_a_request_names_another_model_and_fields_that_nobody_allowed():
    with FakeEndpoint() as fake, gate(behind(fake), KEY) as door:
        post(door, {**ASK, "model": "/etc", "adapters": "/tmp/x", "draft_model": "/tmp/y", "max_tokens": 10**6})
        body = fake.requests[-1][2]
    assert (body["model"], body["max_tokens"]) == ("phi-fake", 512)
    assert not {"adapters", "draft_model"} & set(body)


@pytest.mark.parametrize(
    "body", [[], {"messages": "Hi"}, {"prompt": "Hi"}, {**ASK, "max_tokens": -1}, {**ASK, "max_tokens": "9"}]
)
def test_what_is_no_request(body):
    with FakeEndpoint() as fake, gate(behind(fake), KEY) as door:
        answer = httpx.post(
            f"{door.url}/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
        )
        assert answer.status_code == 400 and fake.requests == []


def test_a_request_that_is_too_long_and_a_path_that_is_not_served():
    with FakeEndpoint() as fake, gate(behind(fake), KEY) as door:
        try:
            long = post(door, {"messages": [{"role": "user", "content": "x" * 200_000}]}).status_code
        except httpx.HTTPError:  # tornado closes the connection while the rest is still on its way
            long = 400
        assert long in (400, 413) and post(door, path="/completions").status_code == 404 and fake.requests == []


def test_a_full_server_says_so_and_when_to_come_back():
    def slowly(fake, handler, body):
        time.sleep(0.4)
        fake.stream(handler, body)

    with FakeEndpoint(slowly) as fake, gate(behind(fake), KEY, most=1) as door:
        first = threading.Thread(target=post, args=(door,))
        first.start()
        while not fake.requests:
            time.sleep(0.01)
        full = post(door)
        assert (full.status_code, full.headers["Retry-After"]) == (429, "1")
        first.join()
        assert post(door).status_code == 200
        patient = load_test(door, 3, ["a"], each=1, key=KEY, again=Backoff())
    assert patient.lost == 0 and max(reply.attempts for reply in patient.replies) > 1


def test_the_server_behind_is_gone_or_breaks_off():
    with gate(SimpleNamespace(url="http://127.0.0.1:9/v1", model="x"), KEY) as door:
        assert post(door).status_code == 502

    def begins(fake, handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n')
        handler.close_connection = True

    with FakeEndpoint(begins) as fake, gate(behind(fake), KEY) as door:
        run = load_test(door, 1, ["a"], each=1, key=KEY)
    assert run.lost == 1 and run.replies[0].text == "Hi"


def test_a_client_that_leaves_ends_the_work_behind():
    def endless(fake, handler, body):
        handler.start_stream()
        for _turn in range(500):
            handler.piece("more ")
            time.sleep(0.01)

    with FakeEndpoint(endless) as fake, gate(behind(fake), KEY) as door:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.stream("POST", f"{door.url}/chat/completions", json=ASK, headers=headers, trust_env=False) as answer:
            next(answer.iter_bytes())
        assert fake.gone.wait(5)
        end = time.monotonic() + 5
        while door.at_work and time.monotonic() < end:
            time.sleep(0.01)
        assert door.at_work == 0


@pytest.mark.parametrize("key", ["", "short", "a" * 15, "with a space in it", "line\nbreak-of-16-letters", None])
def test_keys_that_are_none(key):
    with pytest.raises(BadRequest, match="key"):
        gate(SimpleNamespace(url="http://127.0.0.1:9/v1", model="x"), key)
