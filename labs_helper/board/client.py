"""A learner's side of the class board: off until somebody joins, and it never holds up a check.

A result goes into a small SQLite file first and from there to the instructor's machine, in a thread of its own, as
often as it takes. The board may be away for an hour: nothing is lost, and no check waits for it. What is sent: number
of the exercise, status, tries, how long ago, the alias, and random numbers that tell learners and results apart. No
answers.

Standard library only, and no proxies and no redirects: a result goes to the address that was joined, or nowhere.
"""

from __future__ import annotations

import atexit
import json
import random
import re
import secrets
import socket
import sqlite3
import threading
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from labs_helper.board import membership, outbox, rules
from labs_helper.board.membership import Membership
from labs_helper.common import personal
from labs_helper.common.markup import printable
from labs_helper.common.numbers import whole
from labs_helper.common.timeouts import cut_after
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest, EndpointFailed, LabError

TIMEOUT = 5.0  # seconds that a piece of an answer may take
OVERALL = 15.0  # seconds that a message and its answer may take together
PAUSES = (1.0, 15.0)  # seconds between two attempts: the first, the longest
_WRONG = (401, 409)  # another join code, another board: nothing that gets right by itself


@dataclass(frozen=True)
class Round:
    """How one attempt to send went.

    Attributes:
        sent: results that arrived.
        waiting: results that did not.
        trouble: a sentence, or empty.
        wait: seconds that the board asks for.
        refused: the board has another join code now, or there is another board at its address.
    """

    sent: int
    waiting: int
    trouble: str = ""
    wait: float = 0.0
    refused: bool = False


# -- joining and leaving ----------------------------------------------------------------------------------


def join(address: str, code: str, alias: str | None = None) -> str:
    """Join a board. From now on results of `check` go there.

    Args:
        address: such as "http://192.168.1.20:8765".
        code: the join code.
        alias: None takes a random one.

    Returns:
        The alias as the board shows it.

    Raises:
        BadRequest: the address, the alias or the code is wrong.
        EndpointFailed: no board answers.

    Example:
        join("http://192.168.1.20:8765", "K7MQ-3XHD")      # 'Calm Otter'
    """
    address, code = membership.parse(address, code)
    try:
        wanted = rules.clean_alias(alias) if alias is not None else None
    except ValueError as error:
        raise BadRequest(str(error), _("Choose another one, or leave --alias out for a random one.")) from error
    try:
        new = _recognised(address, code, wanted)
        status, answer, wait = post(new, "/api/join", {"alias": new.alias})
        shown = answer.get("alias")
        if status != 200 or not isinstance(shown, str):
            raise _not_joined(address, status, wait)
        new = replace(new, board=_board_of(answer))
        membership.keep(new)
        outbox.remember(new)
    except (sqlite3.Error, OSError) as error:
        raise _unusable(error) from error
    sender.start()
    return " ".join(printable(shown).split())[: rules.ALIAS + 8]


def _recognised(address: str, code: str, alias: str | None) -> Membership:
    """Who to join as: on a board that was joined before, at whatever address, the same learner."""
    new = Membership(address, code, secrets.token_hex(16), alias or rules.random_alias())
    status, answer, wait = post(new, "/api/board", {})
    if status not in (200, 404):  # 404: a board of an older version
        raise _not_joined(address, status, wait)
    board, before = _board_of(answer), membership.current()
    if before is not None and (
        (board and board == before.board)
        or ((before.address, before.code) == (address, code) and not (board and before.board))
    ):
        return replace(before, address=address, code=code, alias=alias or before.alias)
    known = outbox.known(board)
    if known:
        return replace(new, learner=known[0], alias=alias or known[1])
    if board:
        # Before it is sent: if the answer is lost on its way, the next attempt is the same learner.
        outbox.remember(replace(new, board=board))
    return new


def _board_of(answer: dict[str, Any]) -> str:
    board = answer.get("board")
    return board if isinstance(board, str) and re.fullmatch("[0-9a-f]{32}", board) else ""


def _not_joined(address: str, status: int, wait: float) -> LabError:
    if status == 401:
        return BadRequest(_("The join code is wrong."), _("Compare it with the instructor's. Small letters are fine."))
    if status == 403:
        return EndpointFailed(_("The board is full."), _("Tell the instructor, who can remove learners from it."))
    if status in (429, 503):
        again = _("Try again in {seconds:.0f} seconds.").format(seconds=max(wait, 5.0))
        return EndpointFailed(_("The board is busy."), again)
    return EndpointFailed(
        _("{address} answers {status}; it is not a class board.").format(address=address, status=status),
        _("Check the address; try again."),
    )


def _unusable(error: Exception) -> LabError:
    return LabError(
        _("The file {file}, where results wait to be sent, cannot be used ({error}).").format(
            file=outbox.path(), error=error
        ),
        _("Move or repair it, then run `labs board` again. Checks work without it."),
    )


def leave() -> int:
    """Leave the board: nothing more is sent, and waiting results are forgotten.

    Returns:
        How many results were waiting.

    Example:
        leave()      # 0
    """
    membership.keep(None)
    return outbox.forget()


def report() -> str:
    """Where results go and how many wait, after one attempt to send them.

    Example:
        print(report())
    """
    if membership.is_damaged():
        raise LabError(
            _("{file} is damaged: nothing is sent.").format(file=personal.board_file()),
            _("Join again: labs board join ADDRESS CODE. To stop taking part: labs board leave."),
        )
    joined = membership.current()
    if joined is None:
        return _("Not on a class board: nothing is sent. To join: labs board join ADDRESS CODE")
    lines = [
        _("On the class board {address} as {alias}. To leave: labs board leave").format(
            address=joined.address, alias=joined.alias
        )
    ]
    try:
        done, elsewhere = send(), outbox.waiting_elsewhere(joined.learner)
    except (sqlite3.Error, OSError) as error:
        raise _unusable(error) from error
    if done.waiting:
        waiting = _n("{count} result waits to be sent.", "{count} results wait to be sent.", done.waiting)
        lines.append(waiting.format(count=done.waiting))
    elif elsewhere:
        lines.append(_("Nothing is waiting for this board."))
    else:
        lines.append(_("Everything is sent."))
    for address, count in elsewhere:
        waiting = _n(
            "{count} result waits for another board ({address}): join it again to send it.",
            "{count} results wait for another board ({address}): join it again to send them.",
            count,
        )
        lines.append(waiting.format(count=count, address=address or "?"))
    if done.trouble:
        lines.append(_("{trouble} Nothing is lost: they are sent later.").format(trouble=done.trouble))
    lines += [
        _("A damaged file was set aside, and the results in it will not reach the board: {file}").format(file=file)
        for file in outbox.damaged()
    ]
    return "\n".join(lines)


# -- sending ----------------------------------------------------------------------------------------------


def note(exercise: str, status: str) -> None:
    """Keep a result for the board that was joined, and send it in the background. Does nothing if none was joined.

    Errors of the file go to the caller: `progress.record` calls this in a thread and hands on why.

    Args:
        exercise: its number.
        status: of the check; the board takes "passed" and "try again".

    Example:
        note("1.3", "passed")
    """
    joined = membership.current()
    if joined is None or status not in rules.STATUSES:
        return
    outbox.add(joined, exercise, status)
    sender.start()


def send() -> Round:
    """Send waiting results, in as many messages as they need, until there is trouble.

    Trouble with the network is in the answer, not an exception.

    Example:
        send().waiting
    """
    joined, sent = membership.current(), 0
    if joined is None or not outbox.path().exists():
        return Round(0, 0)
    with outbox.opened() as connection:
        joined = replace(joined, board=joined.board or outbox.board_of(connection, joined.learner))
        size = rules.BATCH
        while True:
            rows = outbox.waiting(connection, joined.learner, size)
            if not rows:
                return Round(sent, 0)
            try:
                status, answer, wait = post(joined, "/api/results", _message(joined, rows))
            except LabError as error:
                return Round(sent, outbox.count_waiting(connection, joined.learner), error.what)
            if status == 422 and len(rows) > 1:  # one of them is bad, and must not hold up the others
                size = 1
                continue
            if status not in (200, 422):
                left = outbox.count_waiting(connection, joined.learner)
                return Round(sent, left, _trouble(status), wait, status in _WRONG)
            outbox.mark(connection, rows, "sent" if status == 200 else "refused")
            sent += len(rows)
            if not joined.board and _board_of(answer):  # joined by LABS_BOARD, or an older version of ours
                # Not in the settings file: the person may be leaving at this moment, and leaving wins.
                joined = replace(joined, board=_board_of(answer))
                outbox.remember_in(connection, joined)


def _message(joined: Membership, rows: list[outbox.Row]) -> dict[str, Any]:
    now = time.time()
    results = [
        {
            "id": number,
            "exercise": exercise,
            "status": status,
            "tries": min(tries, rules.TRIES),
            "age": min(max(0.0, now - at), rules.AGE),
        }
        for number, exercise, status, tries, at in rows
    ]
    return {"alias": joined.alias, "results": results}


def _trouble(status: int) -> str:
    if status == 401:
        return _("The board has another join code now.")
    if status == 409:
        return _("There is another board at this address now.")
    if status in (429, 503):
        return _("The board is busy.")
    return _("The board answers {status}.").format(status=status)


class Sender:
    """At most one thread that sends, alive only while results wait.

    Example:
        Sender().start()
    """

    def __init__(self) -> None:
        self._lock, self._again, self._ending = threading.Lock(), False, threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether its thread is alive."""
        return self._thread is not None

    def start(self) -> None:
        """Send waiting results now; returns at once."""
        with self._lock:
            self._again = True
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self.run, daemon=True, name="labs-board-sender")
                try:
                    self._thread.start()
                except BaseException:
                    self._thread = None
                    raise

    def end(self, seconds: float) -> None:
        """Start no other message, and wait this long for one that is on its way."""
        self._ending.set()
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def run(self) -> None:
        """The work of its thread: send until nothing waits."""
        pause = PAUSES[0]
        while True:
            self._again = False
            try:
                done = send()
            except Exception as error:  # the file is locked, or gone: it may be back later
                done = Round(0, 1, str(error))
            with self._lock:
                # A wrong code does not become right by itself: once more with the next check, not before.
                over = not done.waiting or done.refused
                if self._ending.is_set() or (over and not self._again):
                    self._thread = None
                    return
            if done.trouble:
                pause = PAUSES[0] if done.sent else pause
                # Spread out: a board that comes back is not asked by the whole room in the same second.
                self._ending.wait(max(min(done.wait, 60.0), pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, PAUSES[1])


sender = Sender()


@atexit.register
def _last_chance() -> None:
    """A kernel that ends lets a message that is on its way arrive. Others wait in the file for the next check."""
    sender.end(2)


def post(joined: Membership, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any], float]:
    """Send one message to a board.

    Args:
        joined: the board, and who sends.
        path: "/api/board", "/api/join" or "/api/results".
        content: the message.

    Returns:
        Status, answer, and the seconds to wait that the board asks for.

    Raises:
        EndpointFailed: nothing answers, or something that is not a class board.

    Example:
        post(joined, "/api/join", {"alias": "Calm Otter"})
    """
    import http.client

    parts = urlsplit(joined.address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {joined.code}",
        "X-Learner": joined.learner,
        "Content-Type": "application/json",
        "Connection": "close",
    }
    if joined.board and path != "/api/board":
        headers["X-Board"] = joined.board
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.connect()
        sock: socket.socket = connection.sock  # here, as the connection forgets it before its answer is read
        with cut_after(OVERALL, lambda: sock.shutdown(socket.SHUT_RDWR)):
            connection.request("POST", path, json.dumps(content).encode(), headers)
            response = connection.getresponse()
            text = response.read(65_536)
        wait = whole(response.headers.get("Retry-After", ""))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EndpointFailed(
            _("Nothing answers at {address} ({kind}).").format(address=joined.address, kind=type(error).__name__),
            _(
                "Check the address, that `labs workshop board` is running there with --host 0.0.0.0, and that "
                "both computers are in the same network. Guest networks often keep computers apart."
            ),
        ) from error
    finally:
        connection.close()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = {}
    # Something other than a board may answer 200: a router, a login page. Then nothing counts as sent.
    if response.status == 200 and not (isinstance(answer, dict) and {"new", "alias", "board"} & answer.keys()):
        raise EndpointFailed(
            _("{address} is not a class board.").format(address=joined.address), _("Check the address.")
        )
    seconds = float(wait) if wait is not None and wait < 100_000 else 0.0
    return response.status, answer if isinstance(answer, dict) else {}, seconds
