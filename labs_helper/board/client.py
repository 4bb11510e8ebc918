"""A learner's side of the class board: off until somebody joins, and never in the way of a check.

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
import secrets
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labs_helper.board import membership, rules
from labs_helper.board.membership import Membership
from labs_helper.common import personal
from labs_helper.common.markup import printable
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest, EndpointFailed, LabError

TIMEOUT = 5.0  # seconds that a message may take
PAUSES = (1.0, 15.0)  # seconds between two attempts: the first, the longest
_PATIENCE = 10.0  # seconds that a write waits for other notebooks
_TABLE = """
create table if not exists outbox (
    id text primary key,
    learner text not null,     -- of one joining: results for another board stay away from this one
    exercise text not null,
    status text not null,
    tries integer not null,
    at real not null,
    state text not null        -- "waiting", "sent" or "refused"
)
"""
_Row = tuple[str, str, str, int, float]  # id, exercise, status, tries, at


@dataclass(frozen=True)
class Round:
    """How one attempt to send went.

    Attributes:
        sent: results that arrived.
        waiting: results that did not.
        trouble: a sentence, or empty.
        wait: seconds that the board asks for.
        refused: the board has another join code now.
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
    before = membership.current()
    if before is not None and (before.address, before.code) == (address, code):
        new = Membership(address, code, before.learner, wanted or before.alias)
    else:
        new = Membership(address, code, secrets.token_hex(16), wanted or rules.random_alias())
    status, answer, _wait = post(new, "/api/join", {"alias": new.alias})
    if status == 401:
        raise BadRequest(_("The join code is wrong."), _("Compare it with the instructor's. Small letters are fine."))
    shown = answer.get("alias")
    if status != 200 or not isinstance(shown, str):
        raise EndpointFailed(
            _("{address} answers {status}, not as a class board.").format(address=address, status=status),
            _("Check the address; try again."),
        )
    membership.keep(new)
    return " ".join(printable(shown).split())[: rules.ALIAS + 8]


def leave() -> int:
    """Leave the board: nothing more is sent, and waiting results are forgotten.

    Returns:
        How many results were waiting.

    Example:
        leave()      # 0
    """
    membership.keep(None)
    file = _outbox()
    if not file.exists():
        return 0
    try:
        with closing(_open(file)) as connection:
            waiting = _count_waiting(connection)
    except sqlite3.Error:
        waiting = 0
    file.unlink(missing_ok=True)
    return waiting


def report() -> str:
    """Where results go and how many wait, after one attempt to send them.

    Example:
        print(report())
    """
    joined = membership.current()
    if joined is None:
        return _("Not on a class board: nothing is sent. To join: labs board join ADDRESS CODE")
    lines = [
        _("On the class board {address} as {alias}. To leave: labs board leave").format(
            address=joined.address, alias=joined.alias
        )
    ]
    done = send()
    waiting = _n("{count} result waits to be sent.", "{count} results wait to be sent.", done.waiting)
    lines.append(waiting.format(count=done.waiting) if done.waiting else _("Everything is sent."))
    if done.trouble:
        lines.append(_("{trouble} Nothing is lost: they are sent later.").format(trouble=done.trouble))
    return "\n".join(lines)


# -- sending ----------------------------------------------------------------------------------------------


def note(exercise: str, status: str) -> None:
    """Keep a result for the board that was joined, and send it in the background. Does nothing if none was joined.

    Errors of the file go to the caller: `progress.record` calls this in a thread that ignores them.

    Args:
        exercise: its number.
        status: of the check; the board takes "passed" and "try again".

    Example:
        note("1.3", "passed")
    """
    joined = membership.current()
    if joined is None or status not in rules.STATUSES:
        return
    with closing(_open(_outbox())) as connection:
        connection.execute("begin immediate")
        connection.execute("delete from outbox where learner != ?", (joined.learner,))
        connection.execute(
            "insert into outbox select ?1, ?2, ?3, ?4, count(*) + 1, ?5, 'waiting' from outbox where exercise = ?3",
            (secrets.token_hex(16), joined.learner, exercise, status, time.time()),
        )
        connection.execute("commit")
    sender.start()


def send() -> Round:
    """Send waiting results, in as many messages as they need, until there is trouble.

    Trouble with the network is in the answer, not an exception.

    Example:
        send().waiting
    """
    joined, file, sent = membership.current(), _outbox(), 0
    if joined is None or not file.exists():
        return Round(0, 0)
    with closing(_open(file)) as connection:
        size = rules.BATCH
        while True:
            rows: list[_Row] = connection.execute(
                "select id, exercise, status, tries, at from outbox where state = 'waiting' and learner = ?"
                " order by at limit ?",
                (joined.learner, size),
            ).fetchall()
            if not rows:
                return Round(sent, 0)
            try:
                status, _answer, wait = post(joined, "/api/results", _message(joined, rows))
            except LabError as error:
                return Round(sent, _count_waiting(connection), error.what)
            if status == 422 and len(rows) > 1:  # one of them is bad, and must not hold up the others
                size = 1
                continue
            if status not in (200, 422):
                return Round(sent, _count_waiting(connection), _trouble(status), wait, status == 401)
            state = "sent" if status == 200 else "refused"
            connection.executemany("update outbox set state = ? where id = ?", [(state, row[0]) for row in rows])
            sent += len(rows)


def _message(joined: Membership, rows: list[_Row]) -> dict[str, Any]:
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
    if status == 429:
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
        path: "/api/join" or "/api/results".
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
        "Authorization": f"Bearer {joined.code}",
        "X-Learner": joined.learner,
        "Content-Type": "application/json",
        "Connection": "close",
    }
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("POST", path, json.dumps(content).encode(), headers)
        response = connection.getresponse()
        text = response.read(65_536)
        wait = response.headers.get("Retry-After", "")
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
    seconds = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0.0
    # Something other than a board may answer 200: a router, a login page. Then nothing counts as sent.
    if response.status == 200 and not (isinstance(answer, dict) and ("new" in answer or "alias" in answer)):
        raise EndpointFailed(
            _("{address} is not a class board.").format(address=joined.address), _("Check the address.")
        )
    return response.status, answer if isinstance(answer, dict) else {}, seconds


def _outbox() -> Path:
    return personal.folder() / "board.sqlite"


def _open(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def _count_waiting(connection: sqlite3.Connection) -> int:
    return int(connection.execute("select count(*) from outbox where state = 'waiting'").fetchone()[0])
