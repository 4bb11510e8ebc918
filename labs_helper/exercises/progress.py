"""Which checks passed, in one small SQLite file of this person on this machine.

Only the number of an exercise, how often it was tried and when it passed is kept: no answers, no names. Nothing leaves
the machine unless the learner has joined a class board (`labs_helper/board`). The file outlives kernels, and several
notebooks may write at once: each write is one short transaction, without WAL, which does not work on the network
folders that hubs keep homes on.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labs_helper.board import client as board
from labs_helper.common import personal
from labs_helper.errors import BadRequest, LabError

WAIT = 1.0  # seconds that a check waits for its entry at most
_PATIENCE = 10.0  # seconds that a write waits for other notebooks
_OFF = ("0", "off", "no")
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


def place() -> Path:
    """The file, in the folder of `personal`.

    Example:
        place()      # ~/.local/share/phi35-labs/progress.sqlite on Linux
    """
    return personal.folder() / "progress.sqlite"


def is_on() -> bool:
    """Whether results are noted, and sent to a board that was joined: LABS_PROGRESS=off switches both off.

    Example:
        is_on()      # True on a new machine
    """
    return os.environ.get("LABS_PROGRESS", "").strip().lower() not in _OFF


def record(exercise: str, status: str) -> None:
    """Note a result. Never raises and never waits longer than a second: a check matters more than its entry.

    exercise: a number such as "1.3". status: "passed" or "try again"; others are not noted.

    Example:
        record("1.3", "passed")
    """
    if status not in ("passed", "try again"):
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
        _writers.difference_update([each for each in _writers if not each.is_alive()])
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
        for keep in (_note, board.note):
            try:
                keep(exercise, status)
            except Exception:  # no folder, no space, not a database: see `record`
                continue
    finally:
        _waiting.release()


def _note(exercise: str, status: str) -> None:
    now = datetime.now().isoformat(timespec="seconds")
    file = place()
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)) as connection:
        # Immediate: two notebooks that both read first and write then would refuse each other without waiting.
        connection.execute("begin immediate")
        connection.execute(_TABLE)
        passed = now if status == "passed" else None
        connection.execute(_ADD, {"exercise": exercise, "status": status, "now": now, "passed": passed})
        connection.execute("commit")


def entries() -> dict[str, Entry]:
    """What is noted, by exercise; empty if nothing is.

    Raises LabError if the file is there and cannot be read.

    Example:
        [number for number, entry in entries().items() if entry.passed_at]
    """
    file = place()
    try:
        if not file.exists():
            return {}
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_PATIENCE, uri=True)) as connection:
            rows = connection.execute("select exercise, tries, last, last_at, passed_at from result").fetchall()
    except (sqlite3.Error, OSError) as error:
        if "no such table" in str(error):  # the very first write was cut off
            return {}
        raise LabError(
            f"The progress file {file} cannot be read ({error}).",
            "Nothing else depends on it. Move it away, and the next check starts a new one.",
        ) from error
    return {row[0]: Entry(*row) for row in rows}


def report(lab: str | None = None) -> str:
    """Every exercise and how far this person is, as lines of text.

    lab: the number of a lab, "1" or "01"; None takes all.
    Raises BadRequest for a lab without exercises, LabError if the file cannot be read.

    Example:
        print(report("01"))
    """
    from labs_helper.exercises import LABS, all_exercises

    known = all_exercises(lab)
    if not known:
        raise BadRequest(f"Lab {lab!r} has no exercises.", f"Labs with exercises: {', '.join(LABS)}.")
    noted = entries()
    lines, passed = [], 0
    width = max(len(exercise.title) for exercise in known.values())
    for number, exercise in known.items():
        entry = noted.get(number)
        if entry is None:
            state = "not tried"
        else:
            tries = f"{entry.tries} {'try' if entry.tries == 1 else 'tries'}"
            passed += entry.passed_at is not None
            state = f"passed {_day(entry.passed_at)}, {tries}" if entry.passed_at else f"not yet, {tries}"
        lines.append(f"  {number:<4}  {exercise.title:<{width}}  {state}")
    lines.insert(0, f"{passed} of {len(known)} exercises passed.")
    lines.append(f"Kept in {place()}" + ("" if is_on() else " (LABS_PROGRESS is off: nothing new is kept)"))
    return "\n".join(lines)


def _day(moment: str) -> str:
    return moment[:16].replace("T", " ")
