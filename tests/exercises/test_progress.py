"""The progress file: what it keeps, who may write at once, and that no trouble with it reaches a check."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time

import pytest

from labs_helper import cli
from labs_helper.errors import BadRequest, LabError
from labs_helper.exercises import check, progress

RIGHT, WRONG = 393216, 384  # of exercise 1.7


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
    assert shown.startswith("1 of 8 exercises passed.")
    assert "not yet, 1 try\n" in shown and "not tried" in shown and "0.1" not in shown
    assert str(data) in shown
    assert cli.main(["progress"]) == 0
    assert "0.1" in capsys.readouterr().out
    assert cli.main(["progress", "77"]) == 1
    assert "BadRequest" in capsys.readouterr().err
    with pytest.raises(BadRequest):
        progress.report("x")


def test_it_survives_restarts_and_parallel_notebooks(data):
    """Four processes at once, twenty results each: what two kernels of one learner do, and more."""
    code = "from labs_helper.exercises import check\nfor i in range(20): check('1.7', 384 if i < 19 else 393216)"
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
    assert check("1.7", RIGHT).passed
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

    monkeypatch.setattr(progress.threading.Thread, "start", broken)
    for _check in range(20):  # more often than writers may wait: none was given up for good
        assert check("1.7", RIGHT).passed
    monkeypatch.undo()
    # Private: that a place for a writer is free again shows nowhere else before it is too late.
    assert progress._waiting.acquire(blocking=False)
    progress._waiting.release()


def test_it_can_be_switched_off_and_says_so(data, monkeypatch):
    monkeypatch.setenv("LABS_PROGRESS", "off")
    check("1.7", RIGHT)
    assert not data.exists()
    assert "LABS_PROGRESS is off" in progress.report()


def test_without_a_setting_it_is_in_the_folder_of_a_persons_data(monkeypatch, tmp_path):
    monkeypatch.delenv("LABS_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert progress.progress_file().name == "progress.sqlite"
    assert progress.progress_file().parent.name == "phi35-labs"
