"""The class board on loopback: what it takes, what it refuses, and that no result is lost and no check waits."""

from __future__ import annotations

import http.client
import json
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from urllib.parse import unquote

import numpy
import pytest

from labs_helper import cli
from labs_helper.board import client, membership, rules
from labs_helper.board.guard import Limiter, Limits
from labs_helper.board.membership import Membership
from labs_helper.board.server import Board
from labs_helper.board.storage import Result, Storage
from labs_helper.course import workshop
from labs_helper.errors import BadRequest, EndpointFailed, LabError
from labs_helper.exercises import all_exercises, check

RIGHT, WRONG = (1, 40, 20, "no better than guessing"), (1, 40, 20, "better than guessing")  # of exercise 1.7
EXERCISES = {"0.1": "Find a place", "1.7": "Compute a cache"}
ME = "0f" * 16


@pytest.fixture(autouse=True)
def learner(tmp_path, monkeypatch):
    """A machine of one learner, who is not on a board yet; senders that try again soon."""
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "learner"))
    monkeypatch.delenv("LABS_BOARD", raising=False)
    monkeypatch.setattr(client, "PAUSES", (0.1, 0.2))
    monkeypatch.setattr(client, "sender", client.Sender())
    yield tmp_path / "learner"
    client.sender.end(10)


@pytest.fixture
def board(tmp_path):
    with Board(tmp_path / "board.sqlite", EXERCISES, port=0) as running:
        yield running


def until(condition, seconds=15):
    """Wait until something is true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "still not true"
        time.sleep(0.05)


def ask(board, method, path, body=None, **headers):
    """Status, headers and text of an answer to exactly this request; a header given as None is left out.

    A server that refuses without reading the body closes at once, and the system may then throw the answer away: once
    more.
    """
    try:
        return ask_once(board, method, path, body, **headers)
    except ConnectionResetError:
        return ask_once(board, method, path, body, **headers)


def ask_once(board, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", board.port, timeout=10)
    sent = {"Authorization": f"Bearer {board.storage.code}", "X-Learner": ME, "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method, path, content, {name: value for name, value in sent.items() if value is not None})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def result(**changes):
    return {"id": "ab" * 16, "exercise": "1.7", "status": "passed", "tries": 1, "age": 0.5} | changes


def batch(*results, **changes):
    return {"alias": "Calm Otter", "results": list(results)} | changes


def shown(board):
    """What the page gets: alias -> exercise -> (status, tries)."""
    status, _, text = ask(board, "GET", "/api/state", Authorization=f"Bearer {board.storage.key}")
    assert status == 200
    return {
        each["alias"]: {number: (cell["status"], cell["tries"]) for number, cell in each["cells"].items()}
        for each in json.loads(text)["learners"]
    }


def kept(board):
    """Every result in the file, by tries. On the board's clock two may swap that are milliseconds apart."""
    with closing(sqlite3.connect(board.storage.file)) as connection:
        return connection.execute("select exercise, status, tries from result order by tries, at").fetchall()


# --- A learner and a board -----------------------------------------------------------------------------------------


def test_a_check_arrives_and_a_learner_can_leave(board, learner):
    check("1.7", RIGHT)
    assert not (learner / "board.sqlite").exists()  # nobody has joined
    assert client.join(board.url, board.storage.code.lower(), "Ann") == "Ann"
    check("1.7", ...)
    check("1.7", WRONG)
    check("1.7", RIGHT)
    until(lambda: len(kept(board)) == 2)
    assert kept(board) == [("1.7", "try again", 1), ("1.7", "passed", 2)]
    assert shown(board) == {"Ann": {"1.7": ("passed", 2)}}
    assert stat.S_IMODE((learner / "board.json").stat().st_mode) == 0o600
    assert client.leave() == 0
    check("1.7", WRONG)
    time.sleep(0.3)
    assert len(kept(board)) == 2 and not (learner / "board.sqlite").exists() and membership.current() is None


def test_no_answer_and_nothing_of_the_machine_is_sent(board, monkeypatch):
    sent = []
    post = client.post
    monkeypatch.setattr(client, "post", lambda *words: sent.append(words[2]) or post(*words))
    client.join(board.url, board.storage.code)
    check("0.1", "China, and my secret name")
    until(lambda: len(kept(board)) == 1)
    asked, joined, message = sent
    assert asked == {} and set(joined) == {"alias"} and set(message) == {"alias", "results"}
    assert set(message["results"][0]) == {"id", "exercise", "status", "tries", "age"}
    assert "secret" not in json.dumps(sent) and b"secret" not in board.storage.file.read_bytes()


def test_two_of_one_name_and_another_name_later(board):
    assert board.storage.join("a" * 32, "Calm Otter") == "Calm Otter"
    assert board.storage.join("b" * 32, "calm otter") == "calm otter 2"
    assert board.storage.join("b" * 32, "calm otter") == "calm otter 2"
    first = client.join(board.url, board.storage.code, "Ann")
    same = client.join(board.url, board.storage.code)  # once more: still Ann
    other = client.join(board.url, board.storage.code, "Bea")
    assert (first, same, other) == ("Ann", "Ann", "Bea")
    assert list(shown(board)) == ["Bea", "Calm Otter", "calm otter 2"]


def test_a_random_alias_is_a_good_one():
    for _ in range(50):
        alias = rules.random_alias()
        assert rules.clean_alias(alias) == alias and re.fullmatch("[A-Z][a-z]+ [A-Z][a-z]+", alias)


@pytest.mark.parametrize("alias", ["小明", "José", "O'Neil", "김 민수", "अमित", "T. 2_b-c", "ก้อง"])
def test_names_of_many_scripts_are_fine(alias):
    assert rules.clean_alias(f"  {alias} ") == alias


def test_the_longest_stuck_come_first(tmp_path):
    storage = Storage(tmp_path / "x.sqlite")
    some = (
        ("Ann", "try again", 1, 60),
        ("Bob", "try again", 7, 600),
        ("Cyd", "passed", 1, 9000),
        ("Dan", "try again", 1, 300),
    )
    for name, status, tries, age in some:
        storage.add(name * 10, name, [Result(name, "1.7", status, tries, age)])
    storage.add("Dan" * 10, "Dan", [Result("later", "1.7", "passed", 2, 5)])
    storage.add("Cyd" * 10, "Cyd", [Result("wrong again", "1.7", "try again", 2, 1)])
    state = storage.state()["learners"]
    assert [each["alias"] for each in state] == ["Bob", "Ann", "Cyd", "Dan"]
    assert [each["cells"]["1.7"]["status"] for each in state] == ["try again", "try again", "passed", "passed"]
    assert 599 < time.time() - state[0]["cells"]["1.7"]["since"] < 602
    storage.close()


def test_a_setting_joins_as_well_and_leaving_wins(board, monkeypatch):
    monkeypatch.setenv("LABS_BOARD", f"{board.url} {board.storage.code}")
    check("1.7", RIGHT)
    until(lambda: len(kept(board)) == 1)
    assert membership.current() == membership.current()
    assert list(shown(board)) == [membership.current().alias]
    monkeypatch.setenv("LABS_PROGRESS", "off")
    check("1.7", RIGHT)
    monkeypatch.setenv("LABS_PROGRESS", "on")
    client.leave()
    check("1.7", RIGHT)
    time.sleep(0.3)
    assert len(kept(board)) == 1
    client.join(board.url, board.storage.code)
    assert membership.current() is not None
    monkeypatch.setenv("LABS_BOARD", "off")
    assert membership.current() is None


def test_results_for_one_board_never_go_to_another(board, tmp_path):
    away = f"http://127.0.0.1:{free_port()}"
    membership.keep(Membership(away, "ABCD", "c" * 32, "Ann"))
    check("1.7", WRONG)
    client.join(board.url, board.storage.code)
    check("1.7", RIGHT)
    until(lambda: kept(board) == [("1.7", "passed", 1)])
    until(lambda: not client.sender.busy)  # the sender has noted that it arrived
    assert client.send() == client.Round(0, 0)


# --- Nothing is lost, and nobody waits -----------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_restart_in_the_middle_loses_nothing(tmp_path):
    """Results before, while and after the server is away, from eight learners at once; the second one has the file."""
    port, file, count = free_port(), tmp_path / "board.sqlite", 8
    first = Board(file, EXERCISES, port=port)
    code, problems, middle = first.storage.code, [], threading.Event()

    def one(number):
        rounds = Membership(first.url, code, f"{number:032x}", f"Learner {number}")
        for turn in range(6):
            if turn == 3:
                middle.wait(20)
            content = batch(result(id=f"{number * 100 + turn:032x}", tries=turn + 1), alias=rounds.alias)
            for _ in range(100):
                try:
                    if client.post(rounds, "/api/results", content)[0] == 200:
                        break
                except EndpointFailed:
                    time.sleep(0.1)
            else:
                problems.append((number, turn))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    until(lambda: len(kept(first)) == 3 * count)
    first.close()
    middle.set()
    time.sleep(0.5)
    with Board(file, EXERCISES, port=port) as second:
        assert second.storage.code == code and second.page.endswith(first.storage.key)
        for thread in threads:
            thread.join(30)
        assert problems == [] and len(kept(second)) == 6 * count
        assert shown(second) == {f"Learner {number}": {"1.7": ("passed", 6)} for number in range(count)}


def test_a_server_that_is_gone_costs_no_time_and_results_arrive_later(tmp_path):
    port, file = free_port(), tmp_path / "board.sqlite"
    with Board(file, EXERCISES, port=port) as board:
        client.join(board.url, board.storage.code, "Ann")
        check("1.7", WRONG)
        until(lambda: len(kept(board)) == 1)
    times = []
    for value in [WRONG] * 4 + [RIGHT]:
        started = time.monotonic()
        check("1.7", value)
        times.append(time.monotonic() - started)
    assert max(times) < 1.5
    assert "4 results wait" in client.report() or "5 results wait" in client.report()
    with Board(file, EXERCISES, port=port) as board:
        until(lambda: len(kept(board)) == 6)
        assert kept(board) == [("1.7", "try again", n) for n in range(1, 6)] + [("1.7", "passed", 6)]
        until(lambda: not client.sender.busy)
        assert client.report().endswith("Everything is sent.")


def test_a_server_that_never_answers_costs_no_time(monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        membership.keep(Membership(f"http://127.0.0.1:{silent.getsockname()[1]}", "ABCD", ME, "Ann"))
        started = time.monotonic()
        for _ in range(3):
            assert check("1.7", RIGHT).passed
        assert time.monotonic() - started < 3
        until(lambda: client.send().waiting == 3)


def test_a_kernel_that_ends_leaves_its_results_to_the_next(board, learner):
    membership.keep(Membership(f"http://127.0.0.1:{free_port()}", "ABCD", ME, "Ann"))
    code = f"from labs_helper.exercises import check; check('1.7', {WRONG}); check('1.7', {RIGHT})"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and time.monotonic() - started < 20
    membership.keep(Membership(board.url, rules.plain_code(board.storage.code), ME, "Ann"))
    assert client.send() == client.Round(2, 0)
    assert kept(board) == [("1.7", "try again", 1), ("1.7", "passed", 2)]


def test_the_same_result_twice_is_one_result(board):
    for _ in range(3):
        assert ask(board, "POST", "/api/results", batch(result(), result()))[0] == 200
    assert len(kept(board)) == 1
    # Nor can somebody else change it.
    assert ask(board, "POST", "/api/results", batch(result(status="try again")), X_Learner="c" * 32)[0] == 200
    assert kept(board) == [("1.7", "passed", 1)]


def test_a_result_that_the_board_refuses_holds_up_no_other(board):
    client.join(board.url, board.storage.code)
    client.note("9.9", "passed")  # an exercise of a newer course
    client.note("1.7", "passed")
    until(lambda: len(kept(board)) == 1)
    until(lambda: client.send().waiting == 0)


def test_a_busy_board_is_asked_again(tmp_path):
    with Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=Limits(learner=(2, 2))) as board:
        client.join(board.url, board.storage.code)
        for _ in range(4):
            client.note("1.7", "try again")
        until(lambda: len(kept(board)) == 4)


def test_with_an_old_code_each_check_asks_once_and_nothing_is_lost(board, monkeypatch):
    asked, post = [], client.post
    monkeypatch.setattr(client, "post", lambda *words: asked.append(words) or post(*words))
    membership.keep(Membership(board.url, "OLD", ME, "Ann"))
    for turn in (1, 2):
        check("1.7", RIGHT)
        until(lambda: not client.sender.busy)
        time.sleep(0.5)
        assert len(asked) == turn
    assert "another join code" in client.report() and client.send().waiting == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 5000, b'{"address": 1}', b'{"address": "x", "code": 1}'])
def test_a_damaged_settings_file_never_reaches_a_check(learner, content):
    learner.mkdir()
    (learner / "board.json").write_bytes(content)
    assert check("1.7", RIGHT).passed


def test_a_damaged_outbox_never_reaches_a_check(board, learner):
    client.join(board.url, board.storage.code)
    (learner / "board.sqlite").write_bytes(b"this is not a database" * 100)
    assert check("1.7", RIGHT).passed


def test_a_router_that_answers_anything_with_200_takes_no_result():
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Router(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Please log in</html>")

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Router) as router:
        threading.Thread(target=router.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http://127.0.0.1:{router.server_port}"
        with pytest.raises(EndpointFailed, match="not a class board"):
            client.join(address, "ABCD")
        membership.keep(Membership(address, "ABCD", ME, "Ann"))
        client.note("1.7", "passed")
        assert client.send().waiting == 1
        router.shutdown()


def test_the_alias_that_a_hostile_board_gives_does_not_steer_the_terminal():
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Hostile(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"alias": "A\x1b[2J\n\u202eB"}).encode())

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Hostile) as board:
        threading.Thread(target=board.serve_forever, args=(0.05,), daemon=True).start()
        assert client.join(f"http://127.0.0.1:{board.server_port}", "ABCD") == "A\ufffd[2J \ufffdB"
        board.shutdown()


# --- What is refused -----------------------------------------------------------------------------------------------

SCRIPT = "<script>document.title='pwned'</script>"
TIME = json.dumps(batch(result(age=0.125)))
HOSTILE = {
    "not JSON": b"hello",
    "cut off": b'{"alias": "A", "results": [',
    "empty": b"",
    "not UTF-8": b'{"alias": "\xff\xfe"}',
    "nested deeply": b"[" * 30_000,
    "a number with 30,000 digits": b'{"alias": ' + b"9" * 30_000 + b"}",
    "another kind": ["alias"],
    "null": None,
    "no results": batch(),
    "too many results": batch(*[result(id=f"{n:032x}") for n in range(rules.BATCH + 1)]),
    "results that are no list": batch(results={"0": result()}),
    "a field too many": batch(result(answer="42")),
    "a field too many outside": batch(result(), learner=ME),
    "a field too few": {"alias": "Ann"},
    "markup as alias": batch(result(), alias="<b>A</b>"),
    "a script as alias": batch(result(), alias=SCRIPT[:24]),
    "an attribute as alias": batch(result(), alias='A" onload=x'),
    "a long alias": batch(result(), alias="A" * (rules.ALIAS + 1)),
    "a huge alias": batch(result(), alias="A" * 20_000),
    "no alias": batch(result(), alias=""),
    "spaces as alias": batch(result(), alias="   "),
    "an alias that turns text around": batch(result(), alias="Ann\u202enna"),
    "an invisible alias": batch(result(), alias="\u200b\u200b"),
    "an alias over two lines": batch(result(), alias="Ann\nBob"),
    "a null character": batch(result(), alias="Ann\0"),
    "half a character": batch(result(), alias="\ud800"),
    "marks in heaps": batch(result(), alias="A" + "\u0301\u0302\u0303\u0304\u0305"),
    "pictures as alias": batch(result(), alias="\U0001f4a9"),
    "an alias that is a number": batch(result(), alias=7),
    "an unknown exercise": batch(result(exercise="9.9")),
    "markup as exercise": batch(result(exercise="<b>")),
    "a prototype as exercise": batch(result(exercise="__proto__")),
    "a long exercise": batch(result(exercise="1.7" * 100)),
    "SQL as exercise": batch(result(exercise="';--")),
    "an unknown status": batch(result(status="won")),
    "markup as status": batch(result(status=SCRIPT)),
    "a status of an empty stub": batch(result(status="not yet")),
    "no tries": batch(result(tries=0)),
    "tries below zero": batch(result(tries=-1)),
    "too many tries": batch(result(tries=10**9)),
    "tries as text": batch(result(tries="1")),
    "tries as a truth": batch(result(tries=True)),
    "half a try": batch(result(tries=1.5)),
    "a time to come": batch(result(age=-1)),
    "a time long ago": batch(result(age=10**9)),
    "a time that is no number": TIME.replace("0.125", "NaN").encode(),
    "an endless time": TIME.replace("0.125", "1e999").encode(),
    "a short id": batch(result(id="ab")),
    "an id with other signs": batch(result(id="zz" * 16)),
    "an id over two lines": batch(result(id="ab" * 16 + "\n")),
    "one bad among good ones": batch(result(id="cd" * 16), result(tries=0)),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_message_that_is_wrong_is_refused_whole(board, body):
    body = b"null" if body is None else body
    status, headers, text = ask(board, "POST", "/api/results", body)
    assert status in (400, 422), text
    assert headers["Content-Type"] == "application/json" and len(text) < 200
    assert "<" not in text and "pwned" not in text  # nothing that was sent comes back
    assert kept(board) == [] and shown(board) == {}
    assert ask(board, "POST", "/api/results", batch(result()))[0] == 200  # and the next one is fine


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer WRONG"}, 401),
        ({"Authorization": "Bearer \u00e9\u00e9"}, 401),
        ({"Authorization": "Bearer " + "A" * 10_000}, 401),
        ({"X_Learner": None}, 400),
        ({"X_Learner": "0f"}, 400),
        ({"X_Learner": ME.upper()}, 400),
        ({"X_Learner": "' or 1=1 --"}, 400),
        ({"Content_Type": None}, 415),
        ({"Content_Type": "text/plain"}, 415),  # what a form of another site could send
        ({"Content_Length": "999999999999"}, 413),
        ({"Content_Length": "-5"}, 400),
        ({"X_Long": "a" * 50_000}, 431),
    ],
)
def test_wrong_headers_are_refused(board, headers, expected):
    status, answered, _ = ask(board, "POST", "/api/results", batch(result()), **headers)
    assert status == expected
    assert "access-control-allow-origin" not in answered
    assert kept(board) == []


def head(board, length):
    """The first lines of a message, as they go over the wire."""
    lines = (
        "POST /api/results HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {board.storage.code}",
        f"X-Learner: {ME}",
        "Content-Type: application/json",
        length,
    )
    return "\r\n".join((*lines, "", "")).encode()


def test_a_message_that_is_too_long_is_refused_with_and_without_its_length(board):
    long = b" " * (rules.BODY + 1)
    assert ask(board, "POST", "/api/results", long)[0] == 413
    with socket.create_connection(("127.0.0.1", board.port), timeout=10) as raw:
        raw.sendall(head(board, "Transfer-Encoding: chunked") + f"{len(long):x}\r\n".encode() + long + b"\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_a_message_that_comes_drop_by_drop_is_given_up(tmp_path):
    with (
        Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=Limits(seconds=0.3)) as board,
        socket.create_connection(("127.0.0.1", board.port), timeout=10) as raw,
    ):
        raw.sendall(head(board, "Content-Length: 100") + b"{")
        assert raw.recv(100).startswith(b"HTTP/1.1 408")


def test_there_is_nothing_else_to_find(board):
    for path in ("/docs", "/openapi.json", "/api", "/api/", "/api/results/", "/../page.html", "/static", "//"):
        assert ask(board, "GET", path, Authorization=f"Bearer {board.storage.key}")[0] == 404, path
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(board, method, "/api/results", batch(result()))[0] in (401, 404, 405)
    assert ask(board, "OPTIONS", "/")[0] == 405


def test_the_page_needs_its_key_and_the_join_code_is_not_enough(board):
    for word in ("", board.storage.code, board.storage.key[:-1], board.storage.key.lower()):
        assert ask(board, "GET", "/api/state", Authorization=f"Bearer {word}")[0] == 401
    version = board.storage.version
    right = f"Bearer {board.storage.key}"
    assert ask(board, "GET", f"/api/state?since={version}", Authorization=right)[0] == 204
    board.storage.join(ME, "Ann")
    assert ask(board, "GET", f"/api/state?since={version}", Authorization=right)[0] == 200


def test_the_page_is_one_file_that_runs_nothing_but_itself(board):
    status, headers, page = ask(board, "GET", "/", Authorization=None)
    policy = headers["Content-Security-Policy"]
    assert status == 200 and "default-src 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] is None
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page)
    assert not re.search(r"<[^>]* (on[a-z]+|style)=", page)
    assert board.storage.code not in page and board.storage.key not in page


def test_how_to_join_is_for_the_page_and_the_join_page_holds_no_secret(board):
    right = f"Bearer {board.storage.key}"
    for word in ("", board.storage.code, board.storage.key.lower()):
        assert ask(board, "GET", "/api/room", Authorization=f"Bearer {word}")[0] == 401
    shown_there = json.loads(ask(board, "GET", "/api/room", Authorization=right)[2])
    assert shown_there["commands"] == [f"labs board join {board.url} {board.storage.code}"]
    assert shown_there["code"] == board.storage.code and shown_there["only_here"] is True
    assert shown_there["link"] == f"{board.url}/join#{board.storage.code}"
    status, headers, page = ask(board, "GET", "/join", Authorization=None)
    assert status == 200 and board.storage.code not in page and board.storage.key not in page
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page)
    assert not re.search(r"<[^>]* (on[a-z]+|style)=", page)


def test_a_camera_reads_the_link_from_the_qr_code(board):
    """The picture is drawn from its own path, as a browser draws it, and read by OpenCV."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    svg = unquote(board.joining.picture.partition(",")[2])
    (size,), (drawn,) = re.findall(r"width='(\d+)'", svg), re.findall(r" d='([^']*h1m[^']*)'", svg)
    dots = numpy.full((int(size) // 8, int(size) // 8), 255, numpy.uint8)
    x = y = 0.0
    for step, values in re.findall(r"([Mmh])([-\d. ]+)", drawn):
        numbers = [float(value) for value in values.split()]
        if step == "h":
            dots[int(y), int(x) : int(x + numbers[0])] = 0
            x += numbers[0]
        else:
            x, y = (numbers[0], numbers[1]) if step == "M" else (x + numbers[0], y + numbers[1])
    picture = numpy.kron(dots, numpy.ones((8, 8), numpy.uint8))
    assert cv2.QRCodeDetector().detectAndDecode(picture)[0] == board.joining.link


def test_only_the_page_removes_a_learner_and_an_alias_is_no_pattern(board):
    board.storage.join(ME, "Ann")
    board.storage.join("e" * 32, "Ann B")
    for word in ("", board.storage.code, board.storage.key[:-1]):
        said = ask(board, "POST", "/api/remove", {"alias": "Ann"}, Authorization=f"Bearer {word}")
        assert said[0] == 401, word
    right = f"Bearer {board.storage.key}"
    for wrong in ({"alias": ""}, {"alias": 1}, {}, {"alias": "Ann", "more": 1}):
        assert ask(board, "POST", "/api/remove", wrong, Authorization=right)[0] == 422
    assert json.loads(ask(board, "POST", "/api/remove", {"alias": "*"}, Authorization=right)[2]) == {"removed": []}
    assert list(shown(board)) == ["Ann", "Ann B"]
    assert json.loads(ask(board, "POST", "/api/remove", {"alias": "Ann"}, Authorization=right)[2]) == {
        "removed": ["Ann"]
    }
    assert list(shown(board)) == ["Ann B"]
    # The key removes; it does not join.
    assert ask(board, "POST", "/api/join", {"alias": "Eve"}, Authorization=right)[0] == 401


def test_guessing_the_key_by_removing_is_slowed_down(tmp_path):
    with Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=Limits(address=(5, 0.01))) as board:
        said = [ask(board, "POST", "/api/remove", {"alias": "A"}, Authorization=f"Bearer {n}")[0] for n in range(8)]
        assert said == [401] * 5 + [429] * 3


def test_wrong_codes_are_slowed_down_and_the_right_one_is_not(tmp_path):
    limits = Limits(wrong=(5, 0.01))
    with Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=limits) as board:
        stranger = {"X_Learner": "c" * 32}
        said = [
            ask(board, "POST", "/api/join", {"alias": "X"}, Authorization=f"Bearer {n}", **stranger)[0]
            for n in range(8)
        ]
        assert said == [401] * 5 + [429] * 3
        # Everybody at this address who has the code goes on, new or not.
        assert ask(board, "POST", "/api/join", {"alias": "Ann"}, **stranger)[0] == 200
        assert ask(board, "POST", "/api/results", batch(result()))[0] == 200
        assert list(shown(board)) == ["Ann", "Calm Otter"]


def test_learners_addresses_and_newcomers_are_limited(tmp_path):
    limits = Limits(learner=(3, 0.01), newcomers=(2, 0.01), address=(30, 0.01))
    with Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=limits) as board:
        some = [result(id=f"{n:032x}") for n in range(3)]
        assert ask(board, "POST", "/api/results", batch(*some))[0] == 200
        status, headers, _ = ask(board, "POST", "/api/results", batch(result()))
        assert status == 429 and int(headers["Retry-After"]) > 0 and len(kept(board)) == 3
        assert ask(board, "POST", "/api/results", batch(result()), X_Learner="c" * 32)[0] == 200
        assert ask(board, "POST", "/api/results", batch(result()), X_Learner="d" * 32)[0] == 429
        said = [ask(board, "GET", "/elsewhere")[0] for _ in range(33)]
        assert said == [404] * 30 + [429] * 3


def test_a_flood_slows_down_nobody_else_at_its_address(tmp_path):
    """E5: a hub, or a router, has one address for all learners."""
    limits = Limits(address=(5, 0.01), requests=(5, 0.01), wrong=(5, 0.01))
    with Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=limits) as board:
        flood = [ask(board, "POST", "/api/results", batch(result()))[0] for _ in range(9)]  # one who has joined
        assert flood[0] == 200 and set(flood[6:]) == {429}
        strangers = [ask(board, "GET", "/x", Authorization=None)[0] for _ in range(9)]
        assert set(strangers[5:]) == {429}
        assert {ask(board, "POST", "/api/join", {"alias": "X"}, Authorization="Bearer A")[0] for _ in range(9)} == {429}
        assert ask(board, "POST", "/api/join", {"alias": "Bea"}, X_Learner="b" * 32)[0] == 200  # a newcomer
        other = batch(result(id="cd" * 16), alias="Bea")
        assert ask(board, "POST", "/api/results", other, X_Learner="b" * 32)[0] == 200
        assert ask(board, "GET", "/")[0] == 200 and set(shown(board)) == {"Bea", "Calm Otter"}


def test_a_limiter_forgets_old_keys_and_takes_more_later():
    limiter = Limiter(2, 20, keys=10)
    assert [limiter.take("a") == 0 for _ in range(3)] == [True, True, False]
    assert 0 < limiter.wait("a") <= 0.05
    time.sleep(0.06)
    assert limiter.take("a") == 0
    for n in range(100):
        limiter.take(str(n))
    assert len(limiter._left) == 10  # private: that its memory stays small can be seen nowhere else


def test_a_room_has_an_end(board, monkeypatch):
    monkeypatch.setattr("labs_helper.board.storage.LEARNERS", 1)
    monkeypatch.setattr("labs_helper.board.storage.RESULTS", 2)
    assert ask(board, "POST", "/api/join", {"alias": "Ann"})[0] == 200
    assert ask(board, "POST", "/api/join", {"alias": "Bob"}, X_Learner="c" * 32)[0] == 403
    assert ask(board, "POST", "/api/results", batch(*[result(id=f"{n:032x}") for n in range(3)]))[0] == 403
    assert kept(board) == [] and list(shown(board)) == ["Ann"]


# --- Commands ------------------------------------------------------------------------------------------------------


def test_the_commands(board, capsys, learner):
    assert cli.main(["board"]) == 0
    assert "nothing is sent" in capsys.readouterr().out
    assert cli.main(["board", "join", board.url, "WRONG"]) == 1
    assert "join code is wrong" in capsys.readouterr().err and membership.current() is None
    assert cli.main(["board", "join", board.url, board.storage.code, "--alias", SCRIPT]) == 1
    assert "alias" in capsys.readouterr().err.lower()
    assert cli.main(["board", "join", board.url, board.storage.code, "--alias", "Ann"]) == 0
    assert "as Ann" in capsys.readouterr().out
    assert cli.main(["board"]) == 0
    assert "Everything is sent" in capsys.readouterr().out
    assert cli.main(["board", "leave"]) == 0
    assert "nothing more is sent" in capsys.readouterr().out
    assert cli.main(["board", "join", f"http://127.0.0.1:{free_port()}", "ABCD"]) == 1
    assert "Nothing answers" in capsys.readouterr().err and membership.current() is None


NO_ADDRESSES = [
    "",
    "ftp://host",
    "http://",
    "http://host:99999",
    "http://h/x",
    "file:///etc/passwd",
    "http://[::1",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_addresses_that_are_none(address):
    with pytest.raises(BadRequest, match="not an address"):
        client.join(address, "ABCD")


@pytest.mark.parametrize("address", ["http://a:secret@c", "http://h?key=secret", "h#secret"])
def test_an_address_that_may_hold_a_secret_is_not_repeated(address):
    with pytest.raises(BadRequest, match="more than an address") as caught:
        client.join(address, "ABCD")
    assert "secret" not in str(caught.value)


def test_the_instructors_command_says_how_to_join_and_stops(monkeypatch, capsys, learner):
    def interrupt(running, minutes):
        client.join(running.url, running.storage.code, "Ann")
        raise KeyboardInterrupt

    monkeypatch.setattr(Board, "wait", interrupt)
    assert cli.main(["workshop", "board", "--port", "0"]) == 130
    out = capsys.readouterr().out
    (code,) = re.findall(r"Join code: (\S+)", out)
    assert re.search(rf"labs board join http://127\.0\.0\.1:\d+ {code}\n", out) and "/join#" not in out
    assert -1 < out.index("Only this computer can join") < out.index("labs board join")  # said first
    (file,) = learner.glob("class-board-*.sqlite")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cli.main(["workshop", "board", "--port", "0", "--host", "0.0.0.0"]) == 130
    out = capsys.readouterr().out
    assert f" {code}\n" in out and "Only this computer" not in out  # the same day, the same code
    assert f"/join#{code}\n" in out


def test_it_stops_by_itself_and_refuses_what_makes_no_sense(board, capsys, tmp_path):
    started = time.monotonic()
    assert cli.main(["workshop", "board", "--port", "0", "--minutes", "0.01", "--data", str(tmp_path / "d" / "b")]) == 0
    assert time.monotonic() - started < 20 and "has stopped" in capsys.readouterr().out
    for wrong in (
        ["--minutes", "0"],
        ["--minutes", "nan"],
        ["--port", "70000"],
        ["--port", str(board.port)],
        ["--host", "no.such.host.invalid"],
        ["--data", str(tmp_path)],
    ):
        assert cli.main(["workshop", "board", *wrong]) == 1, wrong
        assert "What to do" in capsys.readouterr().err
    (tmp_path / "text").write_text("not a database" * 100)
    with pytest.raises(LabError, match="--data"):
        Board(tmp_path / "text", EXERCISES, port=0)


def test_without_the_packages_it_says_what_to_install_and_learners_need_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "labs_helper.board.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(LabError, match=r"\[board\]"):
        workshop.class_board(port=0)
    code = (
        "import sys; from labs_helper.exercises import check; check('1.7', 1)\n"
        "print([name for name in ('fastapi', 'uvicorn', 'starlette', 'pydantic') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_board_of_the_course_knows_every_exercise(tmp_path):
    with workshop.class_board(tmp_path / "b.sqlite", port=0) as board:
        every = [result(id=f"{place:032x}", exercise=number) for place, number in enumerate(all_exercises())]
        for start in range(0, len(every), 10):  # some at a time, as a learner's kernel sends what has waited
            client.post(
                Membership(board.url, board.storage.code, ME, "Ann"), "/api/results", batch(*every[start : start + 10])
            )
        assert set(shown(board)["Calm Otter"]) == set(all_exercises())
