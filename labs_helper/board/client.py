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
import os
import random
import secrets
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from labs_helper.board import rules
from labs_helper.common import personal
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


@dataclass(frozen=True)
class Settings:
    """The board that this person has joined. `learner`: a random number, a new one for each joining."""

    address: str
    code: str
    learner: str
    alias: str


@dataclass(frozen=True)
class Round:
    """How one attempt to send went.

    `trouble` is a sentence, or empty. `wait`: seconds that the board asks for. `refused`: the code is not right now.
    """

    sent: int
    waiting: int
    trouble: str = ""
    wait: float = 0.0
    refused: bool = False


# -- joining and leaving ----------------------------------------------------------------------------------


def place() -> Path:
    """The settings file. Example: `place()` is ~/.local/share/phi35-labs/board.json on Linux."""
    return personal.board_file()


def settings() -> Settings | None:
    """The board that results go to, or None.

    LABS_BOARD="http://192.168.1.20:8765 CODE" joins as well, with a random alias; LABS_BOARD=off sends nothing.
    Whoever has left stays away until the next `labs board join`, whatever LABS_BOARD says.

    Example:
        settings() is None      # on a new machine
    """
    named = os.environ.get("LABS_BOARD", "").strip()
    kept = _read()
    if named.lower() in ("off", "0", "no") or kept == {"left": True}:
        return None
    try:
        found = Settings(**kept)
    except TypeError:  # nothing there, or not ours
        found = None
    if not named:
        return found
    address, code = _where(*(named.split() + ["", ""])[:2])
    if found is None or (found.address, found.code) != (address, code):
        found = Settings(address, code, secrets.token_hex(16), rules.random_alias())
        _keep(asdict(found))
    return found


def join(address: str, code: str, alias: str | None = None) -> str:
    """Join a board, and give the alias as it shows it. From now on results of `check` go there.

    address: such as "http://192.168.1.20:8765". code: the join code. alias: None takes a random one.
    Raises BadRequest for something that is no address, no alias or not the code; EndpointFailed if nobody answers.

    Example:
        join("http://192.168.1.20:8765", "K7MQ-3XHD")      # "Calm Otter"
    """
    address, code = _where(address, code)
    try:
        wanted = rules.clean_alias(alias) if alias is not None else None
    except ValueError as error:
        raise BadRequest(str(error), "Choose another one, or leave --alias out for a random one.") from error
    before = settings()
    same = before is not None and (before.address, before.code) == (address, code)
    learner = before.learner if same else secrets.token_hex(16)
    new = Settings(address, code, learner, wanted or (before.alias if same else rules.random_alias()))
    status, answer, _ = _post(new, "/api/join", {"alias": new.alias})
    if status == 401:
        raise BadRequest("The join code is wrong.", "Compare it with the instructor's. Small letters are fine.")
    shown = answer.get("alias")
    if status != 200 or not isinstance(shown, str):
        raise EndpointFailed(f"{address} answers {status}, not as a class board.", "Check the address; try again.")
    _keep(asdict(new))
    return shown[: rules.ALIAS + 8]


def leave() -> int:
    """Leave the board: nothing more is sent, and what still waited is forgotten. Returns how many results that were.

    Example:
        leave()      # 0
    """
    _keep({"left": True})
    file = _outbox()
    if not file.exists():
        return 0
    try:
        with closing(_open(file)) as connection:
            waiting = connection.execute("select count(*) from outbox where state = 'waiting'").fetchone()[0]
    except sqlite3.Error:
        waiting = 0
    file.unlink(missing_ok=True)
    return waiting


def report() -> str:
    """Where results go and what still waits, after one attempt to send it. Example: `print(report())`."""
    chosen = settings()
    if chosen is None:
        return "Not on a class board: nothing is sent. To join: labs board join ADDRESS CODE"
    lines = [f"On the class board {chosen.address} as {chosen.alias}. To leave: labs board leave"]
    done = send()
    lines.append(f"{done.waiting} results wait to be sent." if done.waiting else "Everything is sent.")
    if done.trouble:
        lines.append(f"{done.trouble} Nothing is lost: they are sent later.")
    return "\n".join(lines)


# -- sending ----------------------------------------------------------------------------------------------


def note(exercise: str, status: str) -> None:
    """Keep a result for the board that was joined, and send it in the background. Does nothing where none was joined.

    Raises what the file raises: `progress.record` calls this in a thread that swallows it.

    Example:
        note("1.3", "passed")
    """
    chosen = settings()
    if chosen is None or status not in rules.STATUSES:
        return
    with closing(_open(_outbox())) as connection:
        connection.execute("begin immediate")
        connection.execute("delete from outbox where learner != ?", (chosen.learner,))
        connection.execute(
            "insert into outbox select ?1, ?2, ?3, ?4, count(*) + 1, ?5, 'waiting' from outbox where exercise = ?3",
            (secrets.token_hex(16), chosen.learner, exercise, status, time.time()),
        )
        connection.execute("commit")
    _sender.start()


def send() -> Round:
    """Send what waits, in as many messages as it needs, until there is trouble. Raises nothing that the network does.

    Example:
        send().waiting
    """
    chosen, file, sent = settings(), _outbox(), 0
    if chosen is None or not file.exists():
        return Round(0, 0)
    with closing(_open(file)) as connection:
        size = rules.BATCH
        while True:
            rows = connection.execute(
                "select id, exercise, status, tries, at from outbox where state = 'waiting' and learner = ?"
                " order by at limit ?",
                (chosen.learner, size),
            ).fetchall()
            if not rows:
                return Round(sent, 0)
            now = time.time()
            results = [
                {
                    "id": id,
                    "exercise": exercise,
                    "status": kind,
                    "tries": min(tries, rules.TRIES),
                    "age": min(max(0.0, now - at), rules.AGE),
                }
                for id, exercise, kind, tries, at in rows
            ]
            status, state, trouble, wait = 0, "sent", "", 0.0
            try:
                status, _, wait = _post(chosen, "/api/results", {"alias": chosen.alias, "results": results})
                if status == 422 and len(rows) > 1:  # one of them is bad, and must not hold up the others
                    size = 1
                    continue
                if status == 422:
                    state = "refused"
                elif status != 200:
                    trouble = {401: "The board has another join code now.", 429: "The board is busy."}.get(
                        status, f"The board answers {status}."
                    )
            except LabError as error:
                trouble = error.what
            if trouble:
                (waiting,) = connection.execute("select count(*) from outbox where state = 'waiting'").fetchone()
                return Round(sent, waiting, trouble, wait, status == 401)
            connection.executemany("update outbox set state = ? where id = ?", [(state, row[0]) for row in rows])
            sent += len(rows)


class _Sender:
    """At most one thread that sends, alive only while something waits."""

    def __init__(self):
        self._lock, self._again, self._ending = threading.Lock(), False, threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Send what waits now; returns at once."""
        with self._lock:
            self._again = True
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, daemon=True, name="labs-board-sender")
                try:
                    self._thread.start()
                except BaseException:
                    self._thread = None
                    raise

    def end(self, seconds: float) -> None:
        """Give a message that is on its way so many seconds more, and wait for no other."""
        self._ending.set()
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        pause = PAUSES[0]
        while True:
            self._again = False
            try:
                done = send()
            except Exception as error:  # the file is locked, or gone: it may be back later
                done = Round(0, 1, str(error))
            with self._lock:
                # With a code that is wrong nothing changes by itself: once more with the next check, not before.
                over = not done.waiting or done.refused
                if self._ending.is_set() or (over and not self._again):
                    self._thread = None
                    return
            if done.trouble:
                pause = PAUSES[0] if done.sent else pause
                # Spread out: a board that comes back is not asked by the whole room in the same second.
                self._ending.wait(max(min(done.wait, 60.0), pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, PAUSES[1])


_sender = _Sender()


@atexit.register
def _last_chance() -> None:
    """A kernel that ends lets a message that is on its way arrive. Others wait in the file for the next check."""
    _sender.end(2)


# -- the parts below --------------------------------------------------------------------------------------


def _where(address: str, code: str) -> tuple[str, str]:
    """The address without anything that is not needed, and the code in its normal form. Raises BadRequest."""
    try:
        parts = urlsplit(address.strip() if "://" in address else f"http://{address.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    extra = host and (parts.username or parts.password or parts.query or parts.path.strip("/") or parts.fragment)
    if not host or extra or parts.scheme not in ("http", "https") or not host.isprintable() or " " in host:
        raise BadRequest(f"{address!r} is not an address.", f"Use one such as http://192.168.1.20:{rules.PORT}.")
    if not rules.plain_code(code):
        raise BadRequest("The join code is missing.", "Write it behind the address: labs board join ADDRESS CODE.")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}", rules.plain_code(code)


def _post(chosen: Settings, path: str, content: dict) -> tuple[int, dict, float]:
    """Status, answer, and the seconds to wait that it asks for. Raises EndpointFailed if nobody answers."""
    import http.client

    parts = urlsplit(chosen.address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {
        "Authorization": f"Bearer {chosen.code}",
        "X-Learner": chosen.learner,
        "Content-Type": "application/json",
        "Connection": "close",
    }
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    try:
        connection.request("POST", path, json.dumps(content).encode(), headers)
        response = connection.getresponse()
        text = response.read(65_536)
        wait = response.headers.get("Retry-After", "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EndpointFailed(
            f"Nothing answers at {chosen.address} ({type(error).__name__}).",
            "Check the address, that `labs workshop board` is running there with --host 0.0.0.0, and that both "
            "computers are in the same network. Guest networks often keep computers apart.",
        ) from error
    finally:
        connection.close()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = {}
    seconds = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0.0
    # Something else than a board may answer 200: a router, a login page. Then nothing counts as sent.
    if response.status == 200 and not (isinstance(answer, dict) and ("new" in answer or "alias" in answer)):
        raise EndpointFailed(f"{chosen.address} is not a class board.", "Check the address.")
    return response.status, answer if isinstance(answer, dict) else {}, seconds


def _read() -> dict:
    try:
        with place().open(encoding="utf-8") as file:
            kept = json.loads(file.read(10_000))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(content: dict) -> None:
    file = place()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            json.dump(content, out)
        os.replace(temporary, file)
    except OSError as error:
        what = f"{file} cannot be written ({error.strerror})."
        raise LabError(what, "LABS_DATA_DIR names another folder.") from error


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
