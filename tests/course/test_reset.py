"""`labs reset`: the lab as handed out comes back, and nothing that a learner wrote is ever lost."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from datetime import datetime

import pytest
from test_authoring import SOURCE

from labs_helper import cli
from labs_helper.catalog.labs import COPIES
from labs_helper.common import files
from labs_helper.course import authoring, reset
from labs_helper.errors import BadRequest, LabError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A course with one lab whose learner edition is there."""
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    (tmp_path / "notebooks" / "src" / "01-sample.py").write_text(SOURCE, "utf-8")
    authoring.build(execute=False, folder=tmp_path / "notebooks")
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    return tmp_path


def notebook(home):
    return home / "notebooks" / "01-sample.ipynb"


def copies(home):
    return sorted((home / "notebooks").glob(COPIES))


def test_my_version_is_kept_and_the_lab_comes_back(home, capsys):
    handed_out = notebook(home).read_bytes()
    mine = handed_out.replace(b"6 * 7", b"6 * 7  # my thoughts: \xe4\xbd\xa0")
    notebook(home).write_bytes(mine)
    assert cli.main(["reset", "01"]) == 0
    assert notebook(home).read_bytes() == handed_out
    (copy,) = copies(home)
    assert copy.read_bytes() == mine
    assert re.fullmatch(r"01-sample\.copy-\d{4}-\d\d-\d\d-\d{6}\.ipynb", copy.name)
    shown = capsys.readouterr().out
    assert copy.name in shown and "Reload Notebook from Disk" in shown and "choose Revert" in shown
    assert cli.main(["reset", "01"]) == 0
    assert "nothing to do" in capsys.readouterr().out and copies(home) == [copy]


def test_an_earlier_copy_is_never_overwritten(home, monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 3, 1, 14, 15, 0)

    monkeypatch.setattr(files, "datetime", Frozen)
    for text in ("one", "two", "three"):
        notebook(home).write_text(text)
        reset.restore(1)
    assert [copy.name for copy in copies(home)] == [
        "01-sample.copy-2026-03-01-141500-2.ipynb",
        "01-sample.copy-2026-03-01-141500-3.ipynb",
        "01-sample.copy-2026-03-01-141500.ipynb",
    ]
    assert {copy.read_text() for copy in copies(home)} == {"one", "two", "three"}


def test_two_resets_at_once_lose_nothing(home):
    handed_out = notebook(home).read_bytes()
    notebook(home).write_bytes(b"mine")
    threads = [threading.Thread(target=reset.restore, args=("01",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notebook(home).read_bytes() == handed_out
    assert b"mine" in {copy.read_bytes() for copy in copies(home)}
    assert not list((home / "notebooks").glob(".*"))


def test_a_notebook_that_is_gone_or_broken_comes_back(home):
    handed_out = notebook(home).read_bytes()
    notebook(home).unlink()
    restored = reset.restore("01-sample")
    assert restored.copy is None and restored.changed and notebook(home).read_bytes() == handed_out
    notebook(home).write_bytes(b"\xff\x00 not JSON")
    assert reset.restore("01-sample.ipynb").copy.read_bytes() == b"\xff\x00 not JSON"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_everything_as_it_was(home, monkeypatch, step):
    notebook(home).write_bytes(b"mine")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(LabError, match="No space left"):
        reset.restore("01")
    monkeypatch.undo()
    assert notebook(home).read_bytes() == b"mine"
    assert not list((home / "notebooks").glob(".*"))
    assert [copy.read_bytes() for copy in copies(home)] == ([] if step == "fsync" else [b"mine"])


def test_unknown_labs_are_named(home, capsys):
    for name in ("07", "nonsense", "../../etc/passwd", ""):
        with pytest.raises(BadRequest, match="01-sample"):
            reset.restore(name)
    assert cli.main(["reset", "07"]) == 1
    assert copies(home) == []


def test_without_sources_the_stored_edition_is_taken(home):
    stored = home / "data" / "notebooks" / "01-sample.ipynb"
    stored.parent.mkdir(parents=True)
    shutil.copy(notebook(home), stored)
    shutil.rmtree(home / "notebooks" / "src")
    notebook(home).write_bytes(b"mine")
    reset.restore("1")
    assert json.loads(notebook(home).read_text())["cells"]


def test_copies_are_not_notebooks_of_the_course(home):
    notebook(home).write_bytes(b"mine")
    reset.restore("01")
    assert not any("copy" in problem for problem in authoring.check(folder=home / "notebooks"))


def test_other_line_ends_are_no_change(home):
    """`core.autocrlf` of git on Windows: an untouched lab needs no copy, and differs from nothing."""
    handed_out = notebook(home).read_bytes()
    for file in [*(home / "notebooks").rglob("*.py"), *(home / "notebooks").rglob("*.ipynb")]:
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    restored = reset.restore("01")
    assert not restored.changed and restored.copy is None and copies(home) == []
    assert not any("differs" in problem for problem in authoring.check(folder=home / "notebooks"))
    mine = notebook(home).read_bytes().replace(b"6 * 7", b"6 * 8")
    notebook(home).write_bytes(mine)
    assert reset.restore("01").copy.read_bytes() == mine and notebook(home).read_bytes() == handed_out


def test_what_a_killed_reset_left_is_swept(home):
    """An old half-written file goes with the next reset; one of this minute may belong to a reset that runs."""
    handed_out = notebook(home).read_bytes()
    old, young, other = (
        home / "notebooks" / f".{name}"
        for name in ("01-sample.ipynb.0123abcd.new", "01-sample.ipynb.4567cdef.new", "02-other.ipynb.0123abcd.new")
    )
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    notebook(home).write_bytes(b"mine")
    reset.restore("01")
    assert notebook(home).read_bytes() == handed_out
    assert sorted((home / "notebooks").glob(".*.new")) == [young, other]
