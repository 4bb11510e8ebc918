"""Which checks passed and what was guessed, in one small SQLite file of this person on this machine.

Of an exercise its number is kept, how often it was tried and when it passed: no answers, no names. A guess is kept as
it was made. Guesses never leave the machine; results do if the learner has joined a class board
(`labs_helper/board`). The file outlives kernels, and several notebooks may write at once: each write is one short
transaction, without WAL, which does not work on the network folders that hubs keep homes on.
"""

from __future__ import annotations

import atexit
import errno
import os
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from labs_helper.catalog.labs import normal
from labs_helper.common import personal, settings
from labs_helper.common.translate import _
from labs_helper.errors import LabError
from labs_helper.exercises import tally
from labs_helper.exercises.looks import PASSED, TRY_AGAIN

WAIT = 1.0  # seconds that a check waits for its entry at most
_PATIENCE = 0.5  # seconds that a write waits for other notebooks before it says so and begins again
_READING = 10.0  # seconds that a reader waits for them
_MOST_WAITING = 1000  # results; one that waits costs a check a second, so that no class gets there
_TABLE = """
create table if not exists result (
    exercise text primary key,
    tries integer not null,    -- answers that were looked at, right or wrong; empty stubs do not count
    last text not null,        -- "passed" or "try again"
    last_at text not null,     -- local time, ISO 8601
    passed_at text             -- of the first right answer; stays when a later answer is wrong
)
"""
_ADD = """
insert into result (exercise, tries, last, last_at, passed_at) values (:exercise, 1, :status, :now, :passed)
on conflict (exercise) do update set
    tries = tries + 1, last = :status, last_at = :now, passed_at = coalesce(passed_at, :passed)
"""
_GUESSES = """
create table if not exists guess (
    place text primary key,    -- such as "1.4a"
    guess text not null,       -- as JSON
    guessed_at text not null   -- local time, ISO 8601
)
"""
_GUESS = """
insert into guess (place, guess, guessed_at) values (:place, :guess, :now)
on conflict (place) do update set guess = :guess, guessed_at = :now
"""
_NO_TABLE = "no such table"  # how SQLite says so; it has no code of its own for this


@dataclass(frozen=True)
class Entry:
    """What the file knows about one exercise. Times are local, ISO 8601; passed_at is None until it passed."""

    exercise: str
    tries: int
    last: str
    last_at: str
    passed_at: str | None


def progress_file() -> Path:
    """The file, in the personal folder. It may not exist yet.

    Example:
        progress_file()      # ~/.local/share/phi35-labs/progress.sqlite on Linux
    """
    return personal.folder() / "progress.sqlite"


def is_on() -> bool:
    """Whether results are noted, and sent to a board that was joined: LABS_PROGRESS=off switches both off.

    Raises:
        BadRequest: LABS_PROGRESS holds something that means nothing.

    Example:
        is_on()      # True on a new machine
    """
    return settings.PROGRESS.get()


class _Entry:
    """An entry on its way to the file, and what became of it.

    Attributes:
        steps: what is to be done for it, in order.
        problems: for each step why it failed; empty if it did not.
    """

    def __init__(self, *steps: Callable[[], None]):
        self.steps = steps
        self.problems = [""] * len(steps)
        self.done = threading.Event()


class _Writer:
    """One thread that writes entries one after the other. An entry that the file does not take yet is kept here.

    In a thread: on a network folder that hangs, even opening a file can take for ever.
    """

    def __init__(self) -> None:
        self._entries: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._last: _Entry | None = None
        self.obstacle = ""  # what the writer waits for, as the end of a sentence

    def add(self, entry: _Entry) -> None:
        """Take an entry. Raises RuntimeError where no thread can start, and queue.Full where too many wait."""
        if self._entries.qsize() >= _MOST_WAITING:
            raise queue.Full
        self._start()
        self._last = entry
        self._entries.put(entry)

    def wait(self, seconds: float) -> None:
        """Wait until everything is written, no longer than this."""
        if self._last is not None and self._thread is not None and self._thread.is_alive():
            self._last.done.wait(seconds)

    def _start(self) -> None:
        # Not alive in a child of fork either: it has the entries that waited, and no thread.
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, daemon=True, name="labs-progress")
                self._thread.start()

    def _work(self) -> None:
        while True:
            entry = self._entries.get()
            for number, step in enumerate(entry.steps):
                entry.problems[number] = self._insist(step)
            entry.done.set()

    def _insist(self, step: Callable[[], None]) -> str:
        """Do a step, however long another program holds the file. Returns why it failed, or nothing."""
        while True:
            try:
                step()
            except Exception as error:  # no folder, no space, not a database: `record` hands it on
                if not _is_busy(error):
                    self.obstacle = ""
                    return explain(error)
                self.obstacle = explain(error)
                time.sleep(0.1)
            else:
                self.obstacle = ""
                return ""


_writer = _Writer()


def record(exercise: str, status: str) -> str:
    """Note a result. Never raises and never waits longer than a second: a check matters more than its entry.

    Args:
        exercise: a number such as "1.3".
        status: "passed" or "try again"; others are not noted.

    Returns:
        Why the result is not noted, or not yet, in a sentence; empty if it is, or if it need not be.

    Example:
        record("1.3", "passed")
    """
    if status not in (PASSED, TRY_AGAIN):
        return ""
    tally.add(exercise, passed=status == PASSED)
    try:
        if not is_on():
            return ""
        entry = _Entry(
            partial(_note, progress_file(), exercise, status, _now()), partial(_note_for_board, exercise, status)
        )
        _writer.add(entry)
        if not entry.done.wait(WAIT):
            return _not_yet()
        problem, board = entry.problems
        if problem:
            return _not_noted(problem)
        return _("Not kept for the class board: {reason}.").format(reason=board) if board else ""
    except Exception as error:  # no more threads, say
        return _not_noted(explain(error))


def _not_yet() -> str:
    reason = _writer.obstacle or _("{folder} does not answer yet").format(folder=progress_file().parent)
    return _("Not noted yet; it will be, if this notebook stays open: {reason}.").format(reason=reason)


def _not_noted(reason: str) -> str:
    return _("This result could not be noted: {reason}. `labs progress` says what to do.").format(reason=reason)


# Guesses that the file does not hold: progress is off, or the file cannot be written, or not yet. By place, as JSON.
_unwritten: dict[str, str] = {}


def note_guess(place: str, guess: str) -> str:
    """Keep a guess; a later one at the same place replaces it. Never raises and never waits longer than a second.

    Args:
        place: such as "1.4a".
        guess: as JSON.

    Returns:
        Why the guess is not in the file, or not yet, in a sentence; empty if it is, or if it need not be.

    Example:
        note_guess("1.4a", "3")
    """
    _unwritten[place] = guess
    try:
        if not is_on():
            return ""
        entry = _Entry(partial(_write_guess, progress_file(), place, guess, _now()))
        _writer.add(entry)
        if not entry.done.wait(WAIT):
            return _not_yet()
        return _guess_not_noted(entry.problems[0]) if entry.problems[0] else ""
    except Exception as error:  # no more threads, say
        return _guess_not_noted(explain(error))


def _guess_not_noted(reason: str) -> str:
    return _("Your guess is kept only while this notebook is open: {reason}.").format(reason=reason)


def _write_guess(file: Path, place: str, guess: str, now: str) -> None:
    entry: dict[str, str | None] = {"place": place, "guess": guess, "now": now}
    file.parent.mkdir(parents=True, exist_ok=True)
    with _connected(file, _PATIENCE) as connection:
        _add(connection, entry, _GUESS, _GUESSES)
        connection.execute("commit")
    if _unwritten.get(place) == guess:
        del _unwritten[place]


def guesses() -> dict[str, str]:
    """What was guessed, as JSON by place. A file that cannot be read holds none.

    Example:
        guesses().get("1.4a")      # '3'
    """
    written: dict[str, str] = {}
    with suppress(LabError, OSError, sqlite3.Error):
        file = progress_file()
        if is_on() and file.exists():
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_READING, uri=True)) as connection:
                written = dict(connection.execute("select place, guess from guess").fetchall())
    return {**written, **_unwritten}


def forget_guesses(lab: str) -> int:
    """Remove the guesses of a lab, for `labs reset`. With LABS_PROGRESS=off the file stays as it is.

    Args:
        lab: the number of the lab, two digits.

    Returns:
        How many there were.

    Raises:
        LabError: the file cannot be changed now.

    Example:
        forget_guesses("01")
    """
    places = [place for place in guesses() if normal(place.partition(".")[0]) == lab]
    for place in places:
        _unwritten.pop(place, None)
    file = progress_file()
    if places and is_on() and file.exists():
        try:
            with _connected(file, _READING) as connection:
                connection.executemany("delete from guess where place = ?", [(place,) for place in places])
                connection.execute("commit")
        except (sqlite3.Error, OSError) as error:
            raise LabError(
                _("Your guesses in {file} could not be removed: {reason}.").format(file=file, reason=explain(error)),
                _("Close other notebooks and programs that use it, and try again."),
            ) from error
    return len(places)


@atexit.register
def _last_chance() -> None:
    """A kernel that ends gives entries that still wait for other notebooks three seconds more."""
    _writer.wait(3)


def explain(error: BaseException) -> str:
    """Why a file of a person cannot be written, as the end of a sentence.

    Example:
        explain(OSError(errno.ENOSPC, "No space left on device"))      # 'the disk is full'
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the extended code holds the plain one
    number = error.errno if isinstance(error, OSError) else None
    if _is_busy(error):
        return _("another program holds the file")
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return _("the disk is full")
    if code == sqlite3.SQLITE_READONLY or number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return _("the folder or the file is read-only")
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return _("a file is where the folder should be")
    if code == sqlite3.SQLITE_NOTADB:
        return _("the file is not a database")
    if isinstance(error, sqlite3.IntegrityError) or "column" in str(error):
        return _("the file comes from another version of the course")
    if isinstance(error, queue.Full):
        return _("too many results wait already")
    return str(error) or type(error).__name__


def _is_busy(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def trouble() -> tuple[str, str]:
    """What keeps results from being noted now, and what to do: two sentences, both empty if nothing does.

    It tries: a file of its own in the folder, and an entry in the file that is taken back. Nothing of it stays.

    Example:
        trouble()      # ('', '')
    """
    try:
        file = progress_file()
        folder = next(path for path in (file.parent, *file.parent.parents) if os.path.lexists(path))
        if not folder.is_dir():
            raise NotADirectoryError(str(folder))
        with tempfile.TemporaryFile(dir=folder) as tried:
            tried.write(bytes(2**16))
            tried.flush()
        if os.path.lexists(file):
            with _connected(file, WAIT) as connection:
                _add(connection, {"exercise": "0.0", "status": PASSED, "now": "", "passed": None})
                connection.execute("rollback")
    except (LabError, OSError, sqlite3.Error, RuntimeError) as error:
        what = _("Results of check are not noted in {folder}: {reason}.").format(
            folder=personal.folder(), reason=explain(error)
        )
        if _is_busy(error):
            return what, _("Close other notebooks and programs that use it; results that wait are noted then.")
        return what, _("Mend that, or name another folder in {variable}.").format(variable=settings.DATA_DIR.name)
    return "", ""


@contextmanager
def _connected(file: Path, patience: float) -> Iterator[sqlite3.Connection]:
    """The file, open for a change that others wait for."""
    with closing(sqlite3.connect(file, timeout=patience, isolation_level=None)) as connection:
        # Immediate: two notebooks that both read first and write then would refuse each other without waiting.
        connection.execute("begin immediate")
        yield connection


def _add(
    connection: sqlite3.Connection, entry: dict[str, str | None], statement: str = _ADD, table: str = _TABLE
) -> None:
    """Put an entry into its table, which is made where it is missing."""
    try:
        connection.execute(statement, entry)
    except sqlite3.OperationalError as error:
        if _NO_TABLE not in str(error):
            raise
        connection.execute(table)
        connection.execute(statement, entry)


def _now() -> str:
    return datetime.now().isoformat(timespec="seconds")


def _note(file: Path, exercise: str, status: str, now: str) -> None:
    entry: dict[str, str | None] = {"exercise": exercise, "status": status, "now": now}
    entry["passed"] = now if status == PASSED else None
    file.parent.mkdir(parents=True, exist_ok=True)
    with _connected(file, _PATIENCE) as connection:
        _add(connection, entry)
        rows = connection.execute("select exercise, tries, passed_at is not null from result").fetchall()
        connection.execute("commit")
    tally.replace({number: tally.Count(tries, bool(passed)) for number, tries, passed in rows})


def _note_for_board(exercise: str, status: str) -> None:
    """Keep the result for the class board. People who have joined none never load its client."""
    named = settings.BOARD.text
    if settings.is_off(named) or not (named or personal.board_file().exists()):
        return
    from labs_helper.board import client

    client.note(exercise, status)


def entries() -> dict[str, Entry]:
    """What is noted, by exercise; empty if nothing is.

    Raises:
        LabError: the file is there and cannot be read.

    Example:
        [number for number, entry in entries().items() if entry.passed_at]
    """
    file = progress_file()
    try:
        if not file.exists():
            return {}
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_READING, uri=True)) as connection:
            rows = connection.execute("select exercise, tries, last, last_at, passed_at from result").fetchall()
    except (sqlite3.Error, OSError) as error:
        if _NO_TABLE in str(error):  # the very first write was cut off
            return {}
        if _is_busy(error):
            raise LabError(
                _("The progress file {file} cannot be read now: another program holds it.").format(file=file),
                _("Close other notebooks and programs that use it, and try again."),
            ) from error
        raise LabError(
            _("The progress file {file} cannot be read ({error}).").format(file=file, error=error),
            _("Nothing else depends on it. Move it away, and the next check starts a new one."),
        ) from error
    return {row[0]: Entry(*row) for row in rows}
