"""Many clients at once, against servers that answer as they are told."""

from __future__ import annotations

import math
import threading
import time

import pytest
from fake_endpoint import FakeEndpoint, failing

from labs_helper.errors import BadRequest
from labs_helper.serving import Backoff, load_test

QUICK = Backoff(first=0.01, longest=0.05)


def broken_off(times: int):
    """A behaviour: the first answers begin and never end."""

    def behave(fake, handler, body):
        if len(fake.requests) <= times:
            handler.start_stream()
            handler.piece("Chang")
        else:
            fake.stream(handler, body)

    return behave


def test_every_question_is_asked_once_and_timed():
    with FakeEndpoint() as fake:
        run = load_test(fake.url, 4, ["a", "b", "c"], each=3, model="phi-fake", key="secret-key-of-16")
    assert len(run.replies) == len(fake.requests) == 12 and run.lost == 0
    assert sorted(body["messages"][0]["content"] for _path, _headers, body in fake.requests) == sorted("abc" * 4)
    assert {body["model"] for _path, _headers, body in fake.requests} == {"phi-fake"}
    assert {headers["Authorization"] for _path, headers, _body in fake.requests} == {"Bearer secret-key-of-16"}
    for reply in run.replies:
        assert (reply.text, reply.tokens) == ("Changsha is in Hunan.", 9)
        assert (reply.prompt_tokens, reply.cached_tokens) == (12, 5)
        assert 0 <= reply.asked <= reply.first <= reply.ended <= run.seconds
    assert run.tokens_per_second == pytest.approx(12 * 9 / run.seconds)
    assert "4 clients" in str(run) and "12 answers" in str(run)


def test_a_plain_address_asks_for_the_servers_own_model():
    with FakeEndpoint() as fake:
        load_test(fake.url, 1, ["a"], each=1)
    assert fake.requests[0][2]["model"] == "default_model"


def test_clients_do_not_wait_for_each_other():
    """Four clients whose server needs 0.3 s for each answer are done after one round, not after four."""

    def slowly(fake, handler, body):
        time.sleep(0.3)
        fake.stream(handler, body)

    with FakeEndpoint(slowly) as fake:
        run = load_test(fake.url, 4, ["a"], each=1)
    assert 0.3 <= run.seconds < 0.9
    assert 0.3 <= run.to_first < 0.9


def test_the_pause_of_a_reader_counts_for_the_run_and_not_for_an_answer():
    with FakeEndpoint() as fake:
        run = load_test(fake.url, 1, ["a"], each=3, pause=0.2)
    assert run.seconds >= 0.4 and run.waited < 0.2


@pytest.mark.parametrize(
    ("status", "again", "asked", "lost"), [(503, None, 2, 2), (503, QUICK, 3, 0), (400, QUICK, 2, 2)]
)
def test_a_server_that_refuses(status, again, asked, lost):
    with FakeEndpoint(failing(status, times=1 if again is QUICK and status == 503 else 99)) as fake:
        run = load_test(fake.url, 1, ["a"], each=2, again=again)
    assert (len(fake.requests), run.lost) == (asked, lost)
    assert all(str(status) in reply.problem for reply in run.replies if not reply.whole)


def test_a_server_says_how_long_to_wait():
    with FakeEndpoint(failing(429, times=1, headers=[("Retry-After", "1")])) as fake:
        run = load_test(fake.url, 1, ["a"], each=1, again=QUICK)
    assert run.lost == 0 and run.seconds >= 1 and run.replies[0].attempts == 2


def test_an_answer_that_began_is_not_asked_for_again_blindly():
    with FakeEndpoint(broken_off(1)) as fake:
        run = load_test(fake.url, 1, ["a"], each=1, again=QUICK)
    assert len(fake.requests) == 1 and run.lost == 1
    assert run.replies[0].text == "Chang" and run.replies[0].problem


def test_it_is_if_the_caller_says_that_this_changes_nothing():
    with FakeEndpoint(broken_off(2)) as fake:
        run = load_test(fake.url, 1, ["a"], each=1, again=Backoff(first=0.01, repeatable=True))
    (reply,) = run.replies
    assert len(fake.requests) == 3 and run.lost == 0
    assert (reply.text, reply.attempts, reply.repeated) == ("Changsha is in Hunan.", 3, 2)


def test_an_error_inside_a_stream_is_no_answer():
    def behave(fake, handler, body):
        handler.start_stream()
        handler.wfile.write(b'data: {"error": {"message": "out of memory"}}\n\n')

    with FakeEndpoint(behave) as fake:
        run = load_test(fake.url, 1, ["a"], each=1)
    assert run.lost == 1 and "out of memory" in run.replies[0].problem


def test_a_server_that_never_answers_is_given_up():
    over = threading.Event()
    with FakeEndpoint(lambda fake, handler, body: over.wait(10)) as fake:
        started = time.monotonic()
        timed_out = load_test(fake.url, 1, ["a"], each=1, timeout=0.3)
        stopped = load_test(fake.url, 2, ["a"], each=2, seconds=0.5)
        over.set()
    assert time.monotonic() - started < 5
    assert "0.3 seconds" in timed_out.replies[0].problem
    assert len(stopped.replies) == stopped.lost == 4
    assert math.isnan(stopped.to_first) and math.isnan(stopped.waited) and stopped.tokens_per_second == 0


def test_nobody_listens():
    run = load_test("http://127.0.0.1:9/v1", 1, ["a"], each=1)
    assert run.lost == 1 and "connection broke" in run.replies[0].problem


def test_something_happens_in_the_middle_once():
    happened = []
    with FakeEndpoint() as fake:
        run = load_test(fake.url, 2, ["a"], each=4, at=(3, lambda: happened.append(len(fake.requests))))
    assert run.lost == 0 and len(happened) == 1 and happened[0] >= 3


def test_what_fails_in_the_middle_is_told():
    def fail():
        raise RuntimeError("the restart failed")

    with FakeEndpoint() as fake, pytest.raises(RuntimeError, match="restart failed"):
        load_test(fake.url, 2, ["a"], each=4, at=(3, fail))


@pytest.mark.parametrize("clients", [0, -1, 1000, 1.5, True, "two"])
def test_numbers_of_clients_that_make_no_sense(clients):
    with pytest.raises(BadRequest, match="clients"):
        load_test("http://127.0.0.1:9/v1", clients, ["a"])


@pytest.mark.parametrize(("questions", "each"), [([], 1), ("Where is Lima?", 1), (["a"], 0)])
def test_nothing_to_ask(questions, each):
    with pytest.raises(BadRequest, match="nothing to ask"):
        load_test("http://127.0.0.1:9/v1", 1, questions, each=each)


def test_it_runs_inside_a_running_loop():
    """A notebook's cells run inside one."""
    import asyncio

    async def cell(url):
        return load_test(url, 2, ["a"], each=1)

    with FakeEndpoint() as fake:
        assert asyncio.run(cell(fake.url)).lost == 0
