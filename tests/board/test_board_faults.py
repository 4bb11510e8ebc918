"""What goes wrong in a room: a board that moves, damaged files, invented learners, half-open connections, odd answers.

Everything on loopback. The large version, with 200 learners, is `python -m benchmarks.bench_room`.
"""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing

import pytest
from test_board import EXERCISES, ME, ask, batch, free_port, kept, result, shown, until

from labs_helper import cli
from labs_helper.board import client, membership, outbox, storage
from labs_helper.board.guard import Limits
from labs_helper.board.membership import Membership
from labs_helper.board.server import Board
from labs_helper.board.storage import Result, Storage
from labs_helper.common import personal
from labs_helper.errors import BadRequest, EndpointFailed, LabError


@pytest.fixture(autouse=True)
def learner(tmp_path, monkeypatch):
    """A machine of one learner, whose results are sent only when a test says so."""
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "learner"))
    monkeypatch.delenv("LABS_BOARD", raising=False)
    monkeypatch.setattr(client, "sender", type("Silent", (), {"start": lambda self: None})())
    return tmp_path / "learner"


@pytest.mark.parametrize("statement", [storage._ADD_LEARNER, storage._ADD_RESULT, outbox._ADD, outbox._REMEMBER])
def test_no_statement_numbers_its_values(statement):
    """Early versions of Python 3.12 (3.12.1, for one) take "?2" for a name and warn; warnings fail tests."""
    assert not re.search(r"\?\d", statement)


@pytest.fixture
def board(tmp_path):
    with Board(tmp_path / "board.sqlite", EXERCISES, port=0) as running:
        yield running


# --- E1: the board's address changes -------------------------------------------------------------------------------


def test_a_board_that_moved_is_recognised_and_nothing_that_waits_is_lost(tmp_path):
    file = tmp_path / "board.sqlite"
    with Board(file, EXERCISES, port=0) as board:
        code = board.storage.code
        client.join(board.url, code, "Ann")
        client.note("0.1", "passed")
        assert client.send() == client.Round(1, 0)
        before = membership.current()
    for _ in range(5):
        client.note("1.7", "try again")
    with Board(file, EXERCISES, port=free_port()) as board:
        assert board.url != before.address
        assert client.join(board.url, code) == "Ann"  # not "Ann 2"
        assert (membership.current().learner, membership.current().address) == (before.learner, board.url)
        assert client.send() == client.Round(5, 0)
        assert len(kept(board)) == 6 and list(shown(board)) == ["Ann"]
        assert client.report().endswith("Everything is sent.")


def test_a_setting_with_the_new_address_is_enough(tmp_path, monkeypatch):
    file = tmp_path / "board.sqlite"
    with Board(file, EXERCISES, port=0) as board:
        code = board.storage.code
        monkeypatch.setenv("LABS_BOARD", f"{board.url} {code}")
        client.note("1.7", "try again")
        assert client.send().sent == 1
        name = outbox.known(board.storage.board)
        assert name[0] == membership.current().learner
    client.note("1.7", "passed")
    with Board(file, EXERCISES, port=free_port()) as board:
        monkeypatch.setenv("LABS_BOARD", f"{board.url} {code}")
        assert client.send() == client.Round(1, 0)
        assert len(shown(board)) == 1 and outbox.known(board.storage.board) == name


def test_results_for_another_board_stay_and_nobody_says_that_everything_is_sent(board, tmp_path):
    with Board(tmp_path / "first.sqlite", EXERCISES, port=0) as first:
        client.join(first.url, first.storage.code, "Ann")
        mine, code = membership.current().learner, first.storage.code
    client.note("1.7", "passed")
    client.join(board.url, board.storage.code, "Bea")
    assert membership.current().learner != mine
    client.note("0.1", "passed")
    said = client.report()
    assert "1 result waits for another board" in said and "Everything is sent" not in said
    assert kept(board) == [("0.1", "passed", 1)]
    with Board(tmp_path / "first.sqlite", EXERCISES, port=0) as first:
        assert client.join(first.url, code) == "Ann" and membership.current().learner == mine
        assert client.send() == client.Round(1, 0) and kept(first) == [("1.7", "passed", 1)]
        assert client.report().endswith("Everything is sent.")


def test_another_board_at_the_address_takes_nothing(board):
    client.join(board.url, board.storage.code, "Ann")
    membership.keep(Membership(**{**vars(membership.current()), "board": "ab" * 16}))
    client.note("1.7", "passed")
    done = client.send()
    assert (done.waiting, done.refused) == (1, True) and "another board" in done.trouble and kept(board) == []


def test_a_join_whose_answer_is_lost_makes_no_second_learner(board, monkeypatch):
    post = client.post

    def lost(joined, path, content):
        answer = post(joined, path, content)
        if path == "/api/join":
            raise EndpointFailed("The answer is lost.")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(client, "post", lost)
        with pytest.raises(EndpointFailed):
            client.join(board.url, board.storage.code, "Ann")
    assert client.join(board.url, board.storage.code, "Ann") == "Ann" and list(shown(board)) == ["Ann"]


# --- E2: half-open connections, and readers that stall -------------------------------------------------------------


def opened(port, count, stack, text=b"POST /api/results HTTP/1.1\r\nHost: x\r\n"):
    """Connections that send the beginning of a request and then nothing."""
    some = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(count)]
    for each in some:
        try:
            each.sendall(text)
        except OSError:
            continue  # it was ended already
    return some


def test_half_open_connections_keep_nobody_out(tmp_path):
    limits = Limits(connections=40, seconds=5)
    with Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=limits) as board, ExitStack() as stack:
        opened(board.port, 120, stack)
        started = time.monotonic()
        assert ask(board, "POST", "/api/results", batch(result()))[0] == 200
        assert shown(board) == {"Calm Otter": {"1.7": ("passed", 1)}}
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost:",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost:",  # the second request of a connection
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3000,  # and whoever never reads the answers
    ],
    ids=["nothing", "half a request", "half a second request", "answers that nobody reads"],
)
def test_a_connection_that_does_nothing_ends(tmp_path, text):
    with (
        Board(tmp_path / "b.sqlite", EXERCISES, port=0, limits=Limits(seconds=0.5)) as board,
        socket.create_connection(("127.0.0.1", board.port), timeout=15) as raw,
    ):
        threading.Thread(target=send_all, args=(raw, text), daemon=True).start()
        # Private: nothing but the number of its connections shows that one has ended whose answers nobody reads.
        until(lambda: len(board._server._connections) == 1, 5)
        until(lambda: len(board._server._connections) == 0, 8)


def send_all(raw, text):
    try:
        raw.sendall(text)
    except OSError:
        return


# --- E6: invented learners -----------------------------------------------------------------------------------------


def test_invented_learners_are_removed_while_the_board_runs(board, capsys):
    client.join(board.url, board.storage.code, "Ann")
    for number in range(30):
        board.storage.join(f"{number:032x}", f"Guest {number}")
    board.storage.add(f"{1:032x}", "Guest 1", [Result("r" * 32, "1.7", "passed", 1, 0)])
    version = board.storage.version
    file = str(board.storage.file)
    assert cli.main(["workshop", "board", "--data", file, "--remove", "guest *"]) == 0
    assert "30 learners removed" in capsys.readouterr().out
    assert list(shown(board)) == ["Ann"] and board.storage.version != version and kept(board) == []
    assert not board.storage.knows(f"{1:032x}")
    assert cli.main(["workshop", "board", "--data", file, "--remove", "Nobody"]) == 1
    assert "no learner Nobody" in capsys.readouterr().err
    assert cli.main(["workshop", "board", "--data", file + "x", "--remove", "Ann"]) == 1
    assert "no class board" in capsys.readouterr().err


def test_a_full_board_says_so_and_has_room_again(board, monkeypatch):
    monkeypatch.setattr("labs_helper.board.storage.LEARNERS", 2)
    for number in range(2):
        board.storage.join(f"{number:032x}", f"Guest {number}")
    with pytest.raises(EndpointFailed, match="full"):
        client.join(board.url, board.storage.code, "Ann")
    with closing(Storage(board.storage.file)) as other:
        assert other.remove("*") == ["Guest 0", "Guest 1"]
    assert client.join(board.url, board.storage.code, "Ann") == "Ann"


UNSEEN = "\u034f\u115f\u1160\u17b4\u180b\u180f\u3164\ufe0f\uffa0\U000e0100"


@pytest.mark.parametrize("sign", UNSEEN, ids=[f"U+{ord(sign):04X}" for sign in UNSEEN])
def test_an_alias_that_nobody_sees_is_refused(board, sign):
    for alias in (sign, f"Ann{sign}", f"A{sign}nn"):
        assert ask(board, "POST", "/api/join", {"alias": alias})[0] == 422
        with pytest.raises(BadRequest):
            client.join(board.url, board.storage.code, alias)
    assert shown(board) == {}


# --- E7: two boards, and files of other versions -------------------------------------------------------------------


def test_of_two_boards_that_start_together_the_loser_says_so(tmp_path):
    command = [sys.executable, "-m", "labs_helper.cli", "workshop", "board", "--port", str(free_port())]
    files = [str(tmp_path / f"{number}.sqlite") for number in range(2)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([*command, "--minutes", "1", "--data", file], **pipes) for file in files]
    try:
        until(lambda: any(process.poll() is not None for process in both), 50)
        time.sleep(0.5)
        (loser,) = [process for process in both if process.poll() is not None]
        out, err = loser.communicate()
        assert loser.returncode == 1 and "Join code" not in out and "cannot be used" in err
    finally:
        for process in both:
            process.kill()
            process.communicate()


def test_two_servers_never_have_one_port(tmp_path):
    """Both could bind before either listened; then one of them served nobody."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        with Board(tmp_path / "b.sqlite", EXERCISES, port=first.getsockname()[1]) as board:
            with pytest.raises(OSError, match="in use"):
                first.listen()
            assert ask(board, "GET", "/")[0] == 200


def test_a_file_of_a_newer_version_is_refused_at_once_or_works(tmp_path):
    for name, change, good in (
        ("more", "alter table learner add column team text", True),
        ("default", "alter table result add column lab text not null default ''", True),
        (
            "needed",
            "drop table result; create table result (id text, learner, exercise, status, tries, at, x not null)",
            0,
        ),
        ("fewer", "alter table learner drop column asked", False),
    ):
        file = tmp_path / f"{name}.sqlite"
        Storage(file).close()
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(change)
        if good:
            with Board(file, EXERCISES, port=0) as board:
                assert ask(board, "POST", "/api/results", batch(result()))[0] == 200
                assert kept(board) == [("1.7", "passed", 1)]
        else:
            with pytest.raises(LabError, match="--data"):
                Board(file, EXERCISES, port=0)


def test_a_file_that_cannot_be_written_any_more_loses_nothing(board, monkeypatch):
    client.join(board.url, board.storage.code, "Ann")
    client.note("1.7", "passed")

    def full(*words):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(board.storage, "add", full)
        status, headers, _ = ask(board, "POST", "/api/results", batch(result()))
        assert status == 503 and headers["Retry-After"] == "5"
        assert client.send().waiting == 1
    assert client.send() == client.Round(1, 0)


# --- E8: a server that is slow, endless or odd ---------------------------------------------------------------------

SLOW = {
    "a byte a second": b"H",
    "endless continue": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_joining_has_a_time_limit(answering, monkeypatch, text):
    monkeypatch.setattr(client, "OVERALL", 1.0)
    started = time.monotonic()
    with pytest.raises(EndpointFailed, match="Nothing answers"):
        client.join(answering(text, again=text), "ABCD")
    assert time.monotonic() - started < 5


def test_an_answer_that_comes_drop_by_drop_has_a_time_limit(answering, monkeypatch):
    monkeypatch.setattr(client, "OVERALL", 1.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"
    address = answering(head, again=head)
    started = time.monotonic()
    with pytest.raises(EndpointFailed):
        client.join(address, "ABCD")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("wait", ["\u00b2", "-5", "1_0", "9" * 5000, "soon", "1e9"])
def test_an_odd_time_to_wait_is_no_trouble(answering, wait):
    text = f"HTTP/1.1 429 Busy\r\nRetry-After: {wait}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with pytest.raises(EndpointFailed, match="busy"):
        client.join(answering(text.encode("latin-1")), "ABCD")


def test_a_redirect_is_not_followed(board, answering):
    text = (
        f"HTTP/1.1 307 Elsewhere\r\nLocation: {board.url}/api/board\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    with pytest.raises(EndpointFailed, match="307"):
        client.join(answering(text.encode()), board.storage.code, "Ann")
    assert shown(board) == {}


@pytest.mark.parametrize("address", ["http://[bad", "http://[bad]", f"http://{'a' * 64}.example", "http://a..b"])
def test_addresses_that_no_look_up_takes(address):
    with pytest.raises(BadRequest, match="not an address"):
        client.join(address, "ABCD")


def test_what_a_hostile_board_calls_a_learner_steers_no_terminal(answering, capsys):
    content = json.dumps({"alias": "A\x1b[2Jnn\u202e\nB", "board": "ab" * 16}).encode()
    text = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(content), content)
    assert cli.main(["board", "join", answering(text), "ABCD"]) == 0
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\u202e") and "A\ufffd[2Jnn\ufffd B" in out


# --- E9: damaged files of the learner ------------------------------------------------------------------------------

KEPT = {"address": "http://127.0.0.1:1", "code": "ABCD", "learner": ME, "alias": "Ann"}


@pytest.mark.parametrize(
    "changes",
    [
        {"address": 5},
        {"address": "http://["},
        {"address": f"http://{'a' * 64}.x"},
        {"code": None},
        {"learner": "x\r\nHost: y"},
        {"learner": ["0f"]},
        {"alias": {"a": 1}},
        {"alias": "A\x1b[2J"},
        {"board": 7},
        {"more": "x"},
    ],
    ids=str,
)
def test_an_odd_settings_file_is_told_and_joining_mends_it(board, capsys, changes):
    personal.board_file().parent.mkdir(parents=True)
    personal.board_file().write_text(json.dumps({**KEPT, **changes}))
    assert cli.main(["board"]) == 1
    said = capsys.readouterr().err
    assert "board.json is damaged" in said and "Traceback" not in said and "\x1b" not in said
    client.note("1.7", "passed")  # nothing is raised
    assert cli.main(["board", "join", board.url, board.storage.code, "--alias", "Ann"]) == 0
    assert cli.main(["board"]) == 0 and "Everything is sent" in capsys.readouterr().out


def test_a_damaged_outbox_is_set_aside_and_results_go_on(board, capsys):
    client.join(board.url, board.storage.code, "Ann")
    client.note("1.7", "try again")
    for damage in (b"this is not a database" * 100, outbox.path().read_bytes()[:5000] + b"\xff" * 4000):
        outbox.path().write_bytes(damage)
        assert cli.main(["board"]) == 0
        assert "damaged" in capsys.readouterr().out
        client.note("0.1", "passed")
        assert client.send() == client.Round(1, 0)
    assert [row[:2] for row in kept(board)] == [("0.1", "passed")] * 2


def test_an_outbox_that_cannot_be_used_is_told(board, capsys):
    client.join(board.url, board.storage.code, "Ann")
    outbox.path().unlink()
    outbox.path().mkdir()
    assert cli.main(["board"]) == 1
    said = capsys.readouterr().err
    assert "cannot be used" in said and "What to do" in said and "Traceback" not in said


def test_an_outbox_of_another_version_works_or_is_told(board, capsys):
    client.join(board.url, board.storage.code, "Ann")
    with closing(sqlite3.connect(outbox.path())) as connection:
        connection.execute("alter table outbox add column lab text")
    client.note("1.7", "passed")
    assert client.send() == client.Round(1, 0)
    with closing(sqlite3.connect(outbox.path())) as connection:
        connection.execute("alter table outbox drop column tries")
    assert cli.main(["board"]) == 1
    assert "cannot be used" in capsys.readouterr().err
