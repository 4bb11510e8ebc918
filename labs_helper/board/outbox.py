"""Results that wait to be sent, and the boards that were joined, in one small SQLite file of this person.

Results for another board than the present one stay: they are sent when that board is joined again.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from labs_helper.board import rules
from labs_helper.board.membership import Membership
from labs_helper.common import personal, platforms

_PATIENCE = 10.0  # seconds that a write waits for other notebooks
_TABLES = """
create table if not exists outbox (
    id text primary key,
    learner text not null,     -- of one board: results for another one stay away from this one
    exercise text not null,
    status text not null,
    tries integer not null,
    at real not null,
    state text not null        -- "waiting", "sent" or "refused"
);
create table if not exists joined (
    learner text primary key,
    board text not null,       -- what the board calls itself; empty for boards that do not say it
    address text not null,     -- where it was last
    code text not null,
    alias text not null
);
"""
_ADD = (
    "insert into outbox (id, learner, exercise, status, tries, at, state)"
    " select :id, :learner, :exercise, :status, count(*) + 1, :at, 'waiting' from outbox"
    " where exercise = :exercise and learner = :learner"
)
_REMEMBER = (
    "insert into joined (learner, board, address, code, alias) values (?, ?, ?, ?, ?)"
    " on conflict (learner) do update set board = coalesce(nullif(excluded.board, ''), board),"
    " address = excluded.address, code = excluded.code, alias = excluded.alias"
)
Row = tuple[str, str, str, int, float]  # id, exercise, status, tries, at


def path() -> Path:
    """The file; there only for people who have joined a board.

    Example:
        path().exists()
    """
    return personal.folder() / "board.sqlite"


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """The file, made if it is not there. A damaged one is set aside first, under a dated name.

    Raises:
        sqlite3.Error: it cannot be used.

    Example:
        with opened() as connection: ...
    """
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = _connect(file)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        platforms.rename(file, _damaged_name(file))
        connection = _connect(file)
    with closing(connection):
        yield connection


def damaged() -> list[Path]:
    """Files that were set aside because they were damaged. What waited in them is lost to the board.

    Example:
        damaged()      # [] on nearly every machine
    """
    return sorted(path().parent.glob(f"{path().name}.damaged-*"))


def remember(joined: Membership) -> None:
    """Note a board that was joined, or where one that was joined before is now.

    Raises:
        sqlite3.Error: the file cannot be used.
    """
    with opened() as connection:
        remember_in(connection, joined)


def remember_in(connection: sqlite3.Connection, joined: Membership) -> None:
    """The same, in a file that is open. A name that the board once said stays."""
    connection.execute(_REMEMBER, (joined.learner, joined.board, joined.address, joined.code, joined.alias))


def board_of(connection: sqlite3.Connection, learner: str) -> str:
    """What the board of this learner calls itself; empty if it has not said it."""
    found = connection.execute("select board from joined where learner = ?", (learner,)).fetchone()
    return str(found[0]) if found else ""


def known(board: str) -> tuple[str, str] | None:
    """The learner's number and alias on a board that was joined before.

    Raises:
        sqlite3.Error: the file cannot be used.
    """
    if not board or not path().exists():
        return None
    with opened() as connection:
        found = connection.execute("select learner, alias from joined where board = ?", (board,)).fetchone()
    return (str(found[0]), str(found[1])) if found else None


def add(joined: Membership, exercise: str, status: str) -> None:
    """Keep a result until it is sent.

    Raises:
        sqlite3.Error: the file cannot be used.
    """
    with opened() as connection:
        connection.execute("begin immediate")
        # What other boards have, or would not take any more.
        connection.execute(
            "delete from outbox where learner != ? and (state != 'waiting' or at < ?)",
            (joined.learner, time.time() - rules.AGE),
        )
        remember_in(connection, joined)
        row = {"id": secrets.token_hex(16), "learner": joined.learner, "exercise": exercise}
        connection.execute(_ADD, row | {"status": status, "at": time.time()})
        connection.execute("commit")


def waiting(connection: sqlite3.Connection, learner: str, most: int) -> list[Row]:
    """The oldest results that wait for a board."""
    return connection.execute(
        "select id, exercise, status, tries, at from outbox where state = 'waiting' and learner = ?"
        " order by at limit ?",
        (learner, most),
    ).fetchall()


def mark(connection: sqlite3.Connection, rows: Sequence[Row], state: str) -> None:
    """Note what has become of results: "sent" or "refused"."""
    connection.executemany("update outbox set state = ? where id = ?", [(state, row[0]) for row in rows])


def count_waiting(connection: sqlite3.Connection, learner: str) -> int:
    """How many results wait for a board."""
    question = "select count(*) from outbox where state = 'waiting' and learner = ?"
    return int(connection.execute(question, (learner,)).fetchone()[0])


def waiting_elsewhere(learner: str) -> list[tuple[str, int]]:
    """Addresses of other boards that results wait for, and how many.

    Raises:
        sqlite3.Error: the file cannot be used.
    """
    if not path().exists():
        return []
    with opened() as connection:
        return connection.execute(
            "select coalesce(address, ''), count(*) from outbox left join joined using (learner)"
            " where state = 'waiting' and learner != ? group by learner order by 1",
            (learner,),
        ).fetchall()


def forget() -> int:
    """Delete the file. Returns how many results waited in it."""
    file = path()
    count = 0
    if file.exists():
        try:
            with opened() as connection:
                count = int(connection.execute("select count(*) from outbox where state = 'waiting'").fetchone()[0])
        except sqlite3.Error:
            count = 0
    for old in (file, *damaged()):
        old.unlink(missing_ok=True)
    return count


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.executescript(_TABLES)
        state = str(connection.execute("pragma quick_check(1)").fetchone()[0])
        if state != "ok":
            error = sqlite3.DatabaseError(state)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    except BaseException:
        connection.close()
        raise
    return connection


def _damaged_name(file: Path) -> Path:
    return file.with_name(f"{file.name}.damaged-{time.strftime('%Y-%m-%d-%H%M%S')}")
