"""What the class board knows, in one SQLite file on the instructor's machine.

A result is on the disk before its sender hears that it arrived: a server that is stopped in the middle loses nothing.
"""

from __future__ import annotations

import fnmatch
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from labs_helper.board import rules
from labs_helper.common.translate import _
from labs_helper.errors import LabError

T = TypeVar("T")

LEARNERS = 500  # more than any room has: beyond it somebody is playing with the board
RESULTS = 5000  # of one learner
_TABLES = """
create table if not exists setting (name text primary key, value text not null);
create table if not exists learner (
    learner text primary key,  -- a random number that the learner's machine made
    asked text not null,       -- the alias that was asked for
    alias text not null unique collate nocase,  -- as shown: the second "Calm Otter" is "Calm Otter 2"
    joined_at real not null
);
create table if not exists result (
    id text primary key,       -- made once by the sender: the same result sent twice is one result
    learner text not null references learner,
    exercise text not null,
    status text not null,
    tries integer not null,
    at real not null           -- this machine's clock, seconds since 1970
);
create index if not exists result_by_learner on result (learner, exercise, at);
"""


# Columns by name: a newer version may have more of them.
_ADD_LEARNER = (
    "insert into learner (learner, asked, alias, joined_at) values (?, ?, ?, ?)"
    " on conflict (learner) do update set asked = excluded.asked, alias = excluded.alias"
)
_ADD_RESULT = "insert or ignore into result (id, learner, exercise, status, tries, at) values (?, ?, ?, ?, ?, ?)"


_STATE = (
    "select learner, exercise, max(tries, count(*)), min(at), min(case when status = 'passed' then at end)"
    " from (select learner, exercise, status, at, max(tries) over (partition by learner, exercise) tries"
    " from result) group by learner, exercise"
)


@dataclass(frozen=True)
class Result:
    """One check of a learner.

    Attributes:
        id: a random number that the sender made.
        tries: how often this exercise was checked so far.
        age: seconds between the check and its sending, so that no two clocks need to agree.
    """

    id: str
    exercise: str
    status: str
    tries: int
    age: float


class BoardFull(Exception):
    """More learners, or more results of one, than a room can have."""


class Storage:
    """The board's file; made if it is not there. Safe to use from several threads.

    Args:
        file: its path.

    Attributes:
        code: what learners join with.
        key: what the page needs.
        board: a random number by which learners' machines know this board, at whatever address it is.

    Raises:
        LabError: the file cannot be used.

    Example:
        Storage(Path("board.sqlite")).code
    """

    def __init__(self, file: Path):
        self.file = file
        self._lock, self._reading = threading.Lock(), threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # The server answers from several threads; the lock lets one of them in at a time.
            self._connection = sqlite3.connect(file, timeout=10, isolation_level=None, check_same_thread=False)
            # One wait for the disk at each commit instead of three, and a page that reads waits for no commit.
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = full")
            self._connection.executescript(_TABLES)
            new = {"code": rules.new_code(), "key": secrets.token_urlsafe(24), "board": secrets.token_hex(16)}
            for name, value in new.items():
                self._connection.execute("insert or ignore into setting (name, value) values (?, ?)", (name, value))
            known = dict(self._connection.execute("select name, value from setting").fetchall())
            self._learners = self._read_learners(self._connection)
            self._try_to_write()
            file.chmod(0o600)
            self._reader = sqlite3.connect(file, timeout=10, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise LabError(
                _("The board's file {file} cannot be used ({error}).").format(file=file, error=error),
                _("Name another with --data."),
            ) from error
        self.code, self.key, self.board = known["code"], known["key"], known["board"]
        self._start, self._seen = secrets.token_hex(4), -1

    @property
    def version(self) -> str:
        """A text that changes whenever what `state` gives changes, and with every start."""
        with self._reading:
            return self._version()

    def knows(self, learner: str) -> bool:
        """Whether this learner has joined before."""
        return learner in self._learners

    def remove(self, alias: str) -> list[str]:
        """Remove learners and their results. A learner who sends another result is there again.

        Args:
            alias: as the page shows it; `*` stands for any characters, as in "Guest *".

        Returns:
            The aliases that were removed.

        Example:
            storage.remove("Guest *")      # ["Guest 1", "Guest 2"]
        """

        def work() -> list[str]:
            people = self._connection.execute("select learner, alias from learner order by alias").fetchall()
            gone = [person for person in people if fnmatch.fnmatchcase(person[1].casefold(), alias.casefold())]
            for table in ("result", "learner"):
                self._connection.executemany(f"delete from {table} where learner = ?", [(who,) for who, _alias in gone])
            return [shown for _who, shown in gone]

        return self._write(work)

    def join(self, learner: str, alias: str) -> str:
        """Note a learner.

        Returns:
            The alias as the board shows it.

        Raises:
            BoardFull: the board takes no more learners.

        Example:
            storage.join("0f" * 16, "Calm Otter")      # "Calm Otter", or "Calm Otter 2" if that one is taken
        """
        return self._write(lambda: self._join(learner, alias))

    def add(self, learner: str, alias: str, results: Iterable[Result]) -> int:
        """Keep results.

        Returns:
            How many of them are new.

        Raises:
            BoardFull: the board takes no more learners, or no more results of this one.
        """

        def work() -> int:
            self._join(learner, alias)
            before = self._one("select count(*) from result where learner = ?", learner)
            now = time.time()
            rows = [
                (result.id, learner, result.exercise, result.status, result.tries, now - result.age)
                for result in results
            ]
            self._connection.executemany(_ADD_RESULT, rows)
            after = self._one("select count(*) from result where learner = ?", learner)
            if after > RESULTS:
                raise BoardFull(_("This learner has more results than a class can have."))
            return after - before

        return self._write(work)

    def state(self) -> dict[str, Any]:
        """What the page shows: learners, longest stuck first, with the state of each exercise.

        "since" is when an exercise passed, or when its first wrong answer came. An exercise that passed once stays so.

        Example:
            storage.state()["learners"][0]["alias"]
        """
        with self._reading:
            self._reader.execute("begin")  # one moment for all that follows
            try:
                version = self._version()
                people = self._reader.execute("select learner, alias from learner").fetchall()
                rows = self._reader.execute(_STATE).fetchall()
            finally:
                self._reader.execute("rollback")
        cells: dict[str, dict[str, dict[str, Any]]] = {learner: {} for learner, _alias in people}
        for learner, exercise, tries, first, passed in rows:
            status = "try again" if passed is None else "passed"
            cells[learner][exercise] = {"status": status, "tries": tries, "since": first if passed is None else passed}

        def stuck(learner: str) -> float:
            return min(
                (cell["since"] for cell in cells[learner].values() if cell["status"] == "try again"),
                default=float("inf"),
            )

        people.sort(key=lambda person: (stuck(person[0]), person[1].casefold()))
        learners = [{"alias": alias, "cells": cells[learner]} for learner, alias in people]
        return {"version": version, "now": time.time(), "learners": learners}

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._reading:
            self._reader.close()
            self._connection.close()

    def _join(self, learner: str, alias: str) -> str:
        row = self._connection.execute("select asked, alias from learner where learner = ?", (learner,)).fetchone()
        if row and row[0] == alias:
            return str(row[1])
        if not row and self._one("select count(*) from learner") >= LEARNERS:
            raise BoardFull(_("The board is full."))
        taken = {
            name.casefold()
            for (name,) in self._connection.execute("select alias from learner where learner != ?", (learner,))
        }
        shown, number = alias, 1
        while shown.casefold() in taken:
            number += 1
            shown = f"{alias} {number}"
        self._connection.execute(_ADD_LEARNER, (learner, alias, shown, time.time()))
        return shown

    def _version(self) -> str:
        # SQLite's own count rises with every change that another connection has made: the writer's here, or that of
        # another program, such as `labs workshop board --remove`.
        seen = self._reader.execute("pragma data_version").fetchone()[0]
        if seen != self._seen:
            self._seen, self._learners = seen, self._read_learners(self._reader)
        return f"{self._start}-{seen}"

    @staticmethod
    def _read_learners(connection: sqlite3.Connection) -> set[str]:
        return {row[0] for row in connection.execute("select learner from learner")}

    def _try_to_write(self) -> None:
        """Find a file of another version, or one that nobody may write, before the first result comes."""
        self._connection.execute("begin immediate")
        try:
            trial = secrets.token_hex(16)
            self._connection.execute(_ADD_LEARNER, (trial, trial, trial, 0.0))
            self._connection.execute(_ADD_RESULT, (trial, trial, "0.1", "passed", 1, 0.0))
            if not self._one("select count(*) from result where learner = ?", trial):
                raise sqlite3.IntegrityError("it takes no results")  # what "or ignore" has hidden
        finally:
            self._connection.execute("rollback")

    def _one(self, question: str, *values: object) -> int:
        return int(self._connection.execute(question, values).fetchone()[0])

    def _write(self, work: Callable[[], T]) -> T:
        """Do something in one transaction, which is on the disk when this returns."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                result = work()
                self._connection.execute("commit")
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._learners = self._read_learners(self._connection)
            return result
