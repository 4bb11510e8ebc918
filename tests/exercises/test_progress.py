"""The progress file: what it keeps, who may write at once, and that no trouble with it reaches a check."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
import time

import pytest

from labs_helper import cli, doctor
from labs_helper.errors import BadRequest, LabError
from labs_helper.exercises import check, progress, report

RIGHT, WRONG = (1, 40, 20, "no better than guessing"), (1, 40, 20, "better than guessing")  # of exercise 1.7


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_check_notes_what_passed_and_keeps_it(capsys):
    assert progress.entries() == {}
    check("1.7", ...)
    assert progress.entries() == {}  # an empty stub is not a try
    check("1.7", WRONG)
    entry = progress.entries()["1.7"]
    assert (entry.tries, entry.last, entry.passed_at) == (1, "try again", None)
    check("1.7", RIGHT)
    passed = progress.entries()["1.7"].passed_at
    check("1.7", WRONG)
    entry = progress.entries()["1.7"]
    assert passed and (entry.tries, entry.last, entry.passed_at) == (3, "try again", passed)
    check("no such exercise", RIGHT)
    assert list(progress.entries()) == ["1.7"]


def test_nothing_but_numbers_times_and_results_is_kept(data):
    check("0.1", "China, and my secret name")
    assert b"secret" not in (data / "progress.sqlite").read_bytes()


def test_labs_progress(capsys, data):
    check("1.7", RIGHT)
    check("1.2", [1])
    assert cli.main(["progress", "01"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1 of 9 exercises passed.")
    assert "not yet, 1 try\n" in shown and "not tried" in shown and "0.1" not in shown
    assert str(data) in shown
    assert cli.main(["progress"]) == 0
    assert "0.1" in capsys.readouterr().out
    assert cli.main(["progress", "77"]) == 1
    assert "BadRequest" in capsys.readouterr().err
    with pytest.raises(BadRequest):
        report.report("x")


def test_it_survives_restarts_and_parallel_notebooks(data):
    """Four processes at once, twenty results each: what two kernels of one learner do, and more."""
    code = f"from labs_helper.exercises import check\nfor i in range(20): check('1.7', {WRONG} if i < 19 else {RIGHT})"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    entry = progress.entries()["1.7"]
    assert entry.tries == 80 and entry.passed_at


def no_folder(data):
    data.write_text("a file where the folder should be")


def not_a_database(data):
    data.mkdir()
    (data / "progress.sqlite").write_bytes(b"this is not a database" * 100)


def another_table(data):
    data.mkdir()
    with sqlite3.connect(data / "progress.sqlite") as connection:
        connection.execute("create table result (other text)")


def a_folder(data):
    (data / "progress.sqlite").mkdir(parents=True)


@pytest.mark.parametrize("trouble", [no_folder, not_a_database, another_table, a_folder])
def test_trouble_with_the_file_never_reaches_a_check(data, trouble, capsys):
    trouble(data)
    result = check("1.7", RIGHT)
    assert result.passed and "could not be noted" in result.unnoted
    assert result.unnoted in str(result) and "could not be noted" in result._repr_html_()
    assert capsys.readouterr() == ("", "")
    if trouble is no_folder:
        assert progress.entries() == {}
    else:
        with pytest.raises(LabError, match="Move it away"):
            progress.entries()
        assert cli.main(["progress"]) == 1


def test_a_first_write_that_was_cut_off_is_no_trouble(data):
    data.mkdir()
    (data / "progress.sqlite").touch()
    assert progress.entries() == {}
    check("1.7", RIGHT)
    assert progress.entries()["1.7"].passed_at


def test_a_locked_file_costs_a_second_and_loses_nothing(data, monkeypatch):
    check("1.7", WRONG)
    other = sqlite3.connect(data / "progress.sqlite")
    other.execute("begin exclusive")
    started = time.monotonic()
    assert check("1.7", RIGHT).passed
    assert time.monotonic() - started < 3
    other.rollback()
    other.close()
    until = time.monotonic() + 10
    while not (entry := progress.entries()["1.7"]).passed_at and time.monotonic() < until:
        time.sleep(0.1)
    assert entry.tries == 2 and entry.passed_at


def test_the_table_is_made_once(monkeypatch):
    statements, connect = [], sqlite3.connect

    def traced(*args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    for _check in range(3):
        assert check("1.7", RIGHT).passed
    assert progress.entries()["1.7"].tries == 3
    assert sum("create table" in statement for statement in statements) == 1


def test_an_error_inside_is_swallowed(monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("can't start new thread")

    # Private: the writer of this process has started its thread long ago.
    monkeypatch.setattr(progress, "_writer", progress._Writer())
    with monkeypatch.context() as patch:
        patch.setattr(progress.threading.Thread, "start", broken)
        for _check in range(20):
            result = check("1.7", RIGHT)
            assert result.passed and "can't start new thread" in result.unnoted
    assert check("1.7", RIGHT).unnoted == "" and progress.entries()["1.7"].tries == 1


def test_it_can_be_switched_off_and_says_so(data, monkeypatch):
    monkeypatch.setenv("LABS_PROGRESS", "off")
    check("1.7", RIGHT)
    assert not data.exists()
    assert "LABS_PROGRESS is off" in report.report()


def test_without_a_setting_it_is_in_the_folder_of_a_persons_data(monkeypatch, tmp_path):
    monkeypatch.delenv("LABS_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert progress.progress_file().name == "progress.sqlite"
    assert progress.progress_file().parent.name == "phi35-labs"


# --- What is not noted is said ------------------------------------------------------------------------------------


def statement_first(statement):
    """A connection of SQLite that begins with a statement: so a full disk and a read-only file are SQLite's own."""

    class Connection(sqlite3.Connection):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.execute(statement)

    connect = sqlite3.connect
    return lambda *args, **options: connect(*args, factory=Connection, **options)


def no_folder_made(_data, patch):
    def refused(*_args, **_options):
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(progress.Path, "mkdir", refused)
    patch.setattr(progress.tempfile, "TemporaryFile", refused)


def full(data, patch):
    check("1.7", WRONG)
    patch.setattr(progress.sqlite3, "connect", statement_first("pragma max_page_count = 1"))
    with sqlite3.connect(data / "progress.sqlite") as connection:
        connection.execute("drop table result")
        connection.execute("vacuum")
    connection.close()


def read_only(_data, patch):
    check("1.7", WRONG)
    patch.setattr(progress.sqlite3, "connect", statement_first("pragma query_only = 1"))


def newer(data, _patch):
    data.mkdir()
    with sqlite3.connect(data / "progress.sqlite") as connection:
        columns = "exercise text primary key, tries integer, last text, last_at text, passed_at text"
        connection.execute(f"create table result ({columns}, school text not null)")
    connection.close()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (no_folder_made, "read-only"),
        (full, "the disk is full"),
        (read_only, "read-only"),
        (newer, "another version of the course"),
        (lambda data, _patch: no_folder(data), "a file is where the folder should be"),
        (lambda data, _patch: not_a_database(data), "not a database"),
    ],
    ids=["read-only folder", "full", "read-only file", "newer", "file for folder", "no database"],
)
def test_a_result_that_is_not_noted_is_told_everywhere(data, monkeypatch, capsys, trouble, words):
    with monkeypatch.context() as patch:
        trouble(data, patch)
        result = check("1.7", RIGHT)
        assert result.passed and words in result.unnoted
        row = doctor.progress_row()
        assert row.status == "NOTE" and words in row.detail and "LABS_DATA_DIR" in row.advice
        shown = (cli.main(["progress"]), capsys.readouterr())
        if words != "not a database":  # which cannot even be read
            assert words in shown[1].out and "Kept in" not in shown[1].out


def test_a_table_with_a_column_more_still_takes_results(data):
    check("1.7", WRONG)
    with sqlite3.connect(data / "progress.sqlite") as connection:
        connection.execute("alter table result add column school text")
    connection.close()
    assert check("1.7", RIGHT).unnoted == ""
    assert progress.entries()["1.7"].tries == 2


def test_results_wait_for_a_locked_file_and_say_so(data, monkeypatch):
    """As many as there are: before, eight waited and the others were lost."""
    monkeypatch.setattr(progress, "WAIT", 0.05)
    monkeypatch.setattr(progress, "_PATIENCE", 0.2)
    check("1.7", WRONG)
    other = sqlite3.connect(data / "progress.sqlite")
    other.execute("begin exclusive")
    told = [check("1.7", RIGHT).unnoted for _check in range(13)]
    time.sleep(0.5)
    assert all("Not noted yet" in sentence for sentence in told)
    assert "another program holds the file" in check("1.7", RIGHT).unnoted
    row = doctor.progress_row()
    assert row.status == "NOTE" and "another program holds the file" in row.detail
    other.rollback()
    other.close()
    until = time.monotonic() + 10
    while progress.entries()["1.7"].tries < 15 and time.monotonic() < until:
        time.sleep(0.05)
    assert progress.entries()["1.7"].tries == 15 and progress.entries()["1.7"].passed_at


def test_the_doctor_says_where_results_go(data, monkeypatch):
    row = doctor.progress_row()
    assert row.status == "OK" and str(data) in row.detail and not data.exists()
    monkeypatch.setenv("LABS_PROGRESS", "off")
    assert "LABS_PROGRESS is off" in doctor.progress_row().detail
    monkeypatch.setenv("LABS_PROGRESS", "perhaps")
    assert doctor.progress_row().status == "FIX"


def test_a_result_that_the_board_will_not_get_is_told(data, monkeypatch):
    def full_disk(_exercise, _status):
        raise OSError(errno.ENOSPC, "No space left on device")

    data.mkdir()
    (data / "board.json").write_text("{}")
    monkeypatch.delenv("LABS_BOARD", raising=False)
    monkeypatch.setattr("labs_helper.board.client.note", full_disk)
    assert check("1.7", RIGHT).unnoted == "Not kept for the class board: the disk is full."
    assert progress.entries()["1.7"].passed_at
