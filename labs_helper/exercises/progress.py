"""Which checks passed, in one small SQLite file of this person on this machine.

Only the number of an exercise, how often it was tried and when it passed is kept: no answers, no names. Nothing leaves
the machine unless the learner has joined a class board (`labs_helper/board`). The file outlives kernels, and several
notebooks may write at once: each write is one short transaction, without WAL, which does not work on the network
folders that hubs keep homes on.
"""

from __future__ import annotations

import atexit
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labs_helper.common import personal, settings
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest, LabError
from labs_helper.exercises.base import PASSED, TRY_AGAIN

WAIT = 1.0  # seconds that a check waits for its entry at most
_PATIENCE = 10.0  # seconds that a write waits for other notebooks
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
insert into result values (:exercise, 1, :status, :now, :passed)
on conflict (exercise) do update set
    tries = tries + 1, last = :status, last_at = :now, passed_at = coalesce(passed_at, :passed)
"""
_NO_TABLE = "no such table"  # how SQLite says so; it has no code of its own for this
# Writes that still wait. More than this means that the file cannot be written, and a kernel should not collect threads.
_waiting = threading.BoundedSemaphore(8)
_writers: set[threading.Thread] = set()


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


def record(exercise: str, status: str) -> None:
    """Note a result. Never raises and never waits longer than a second: a check matters more than its entry.

    Args:
        exercise: a number such as "1.3".
        status: "passed" or "try again"; others are not noted.

    Example:
        record("1.3", "passed")
    """
    if status not in (PASSED, TRY_AGAIN):
        return
    try:
        if not is_on() or not _waiting.acquire(blocking=False):
            return
        # In a thread: on a network folder that hangs, even opening a file can take for ever.
        writer = threading.Thread(target=_write, args=(exercise, status), daemon=True, name="labs-progress")
        try:
            writer.start()
        except BaseException:
            _waiting.release()
            raise
        _writers.add(writer)
        writer.join(WAIT)
        _writers.difference_update([thread for thread in _writers if not thread.is_alive()])
    except Exception:  # no more threads, say. `labs progress` tells what is wrong with the file; a check does not.
        return


@atexit.register
def _last_chance() -> None:
    """A kernel that ends gives writes that still wait for other notebooks three seconds more."""
    end = time.monotonic() + 3
    for writer in list(_writers):
        writer.join(max(0.0, end - time.monotonic()))


def _write(exercise: str, status: str) -> None:
    """In the writer's thread: note the result here, and for the class board if one was joined."""
    try:
        for keep in (_note, _note_for_board):
            try:
                keep(exercise, status)
            except Exception:  # no folder, no space, not a database: see `record`
                continue
    finally:
        _waiting.release()


def _note(exercise: str, status: str) -> None:
    now = datetime.now().isoformat(timespec="seconds")
    file = progress_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)) as connection:
        # Immediate: two notebooks that both read first and write then would refuse each other without waiting.
        connection.execute("begin immediate")
        entry = {"exercise": exercise, "status": status, "now": now, "passed": now if status == PASSED else None}
        try:
            connection.execute(_ADD, entry)
        except sqlite3.OperationalError as error:
            if _NO_TABLE not in str(error):
                raise
            connection.execute(_TABLE)
            connection.execute(_ADD, entry)
        connection.execute("commit")


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
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_PATIENCE, uri=True)) as connection:
            rows = connection.execute("select exercise, tries, last, last_at, passed_at from result").fetchall()
    except (sqlite3.Error, OSError) as error:
        if _NO_TABLE in str(error):  # the very first write was cut off
            return {}
        raise LabError(
            _("The progress file {file} cannot be read ({error}).").format(file=file, error=error),
            _("Nothing else depends on it. Move it away, and the next check starts a new one."),
        ) from error
    return {row[0]: Entry(*row) for row in rows}


def report(lab: str | None = None) -> str:
    """Every exercise and how far this person is, as lines of text.

    Args:
        lab: the number of a lab, "1" or "01"; None takes all.

    Raises:
        BadRequest: the lab has no exercises.
        LabError: the file cannot be read.

    Example:
        print(report("01"))
    """
    from labs_helper.exercises import all_exercises, labs_with_exercises

    known = all_exercises(lab)
    if not known:
        raise BadRequest(
            _("Lab {lab!r} has no exercises.").format(lab=lab),
            _("Labs with exercises: {labs}.").format(labs=", ".join(labs_with_exercises())),
        )
    noted = entries()
    width = max(len(exercise.title) for exercise in known.values())
    passed = sum(entry.passed_at is not None for number, entry in noted.items() if number in known)
    kept = _("Kept in {file}") if is_on() else _("Kept in {file} (LABS_PROGRESS is off: nothing new is kept)")
    return "\n".join(
        [
            _n("{passed} of {count} exercise passed.", "{passed} of {count} exercises passed.", len(known)).format(
                passed=passed, count=len(known)
            ),
            *(
                f"  {number:<4}  {exercise.title:<{width}}  {_state(noted.get(number))}"
                for number, exercise in known.items()
            ),
            kept.format(file=progress_file()),
        ]
    )


def _state(entry: Entry | None) -> str:
    if entry is None:
        return _("not tried")
    tries = _n("{count} try", "{count} tries", entry.tries).format(count=entry.tries)
    if entry.passed_at is None:
        return _("not yet, {tries}").format(tries=tries)
    return _("passed {moment}, {tries}").format(moment=entry.passed_at[:16].replace("T", " "), tries=tries)
