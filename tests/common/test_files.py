"""Files and folders that are whole or not there, also when the program is killed in the middle."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from labs_helper.common import files

# Put before the code of a child: every rename kills it, as a power cut would.
KILLED_AT_RENAME = """
import os, signal
from pathlib import Path
from labs_helper.common import files
def die(*arguments): os.kill(os.getpid(), signal.SIGKILL)
Path.rename = Path.replace = os.rename = os.replace = die
"""


def child(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], timeout=60).returncode


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_in_one_step(tmp_path):
    file = tmp_path / "notebook.ipynb"
    files.write_whole(file, b"old")
    files.write_whole(file, b"new")
    assert file.read_bytes() == b"new" and names(tmp_path) == {"notebook.ipynb"}


@pytest.mark.posix
def test_a_program_that_is_killed_between_writing_and_renaming_leaves_the_old_file(tmp_path):
    file = tmp_path / "notebook.ipynb"
    file.write_bytes(b"old")
    assert child(f"{KILLED_AT_RENAME}\nfiles.write_whole(Path({str(file)!r}), b'new')") == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    assert [path.read_bytes() for path in tmp_path.glob(".*.new")] == [b"new"], "it was killed after writing"
    files.write_whole(file, b"newer")
    assert file.read_bytes() == b"newer"


def test_a_write_that_fails_leaves_nothing(tmp_path):
    folder = tmp_path / "is a folder"
    (folder / "full").mkdir(parents=True)
    with pytest.raises(OSError):
        files.write_whole(folder, b"text")
    assert names(tmp_path) == {"is a folder"}


def test_a_private_file_is_never_readable_for_others(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(files, "sync", lambda file: seen.append(stat.S_IMODE(Path(file.name).stat().st_mode)))
    old = os.umask(0)
    try:
        files.write_whole(tmp_path / "board.json", b"code", private=True)
    finally:
        os.umask(old)
    assert seen == [0o600] and stat.S_IMODE((tmp_path / "board.json").stat().st_mode) == 0o600


def test_copies_of_one_second_have_different_names(tmp_path):
    copies = [files.dated_copy(tmp_path / "01-instruct.ipynb", str(n).encode()) for n in range(3)]
    assert len(set(copies)) == 3 and [copy.read_bytes() for copy in copies] == [b"0", b"1", b"2"]
    assert all(copy.match("01-instruct.copy-*.ipynb") for copy in copies)


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    folder = tmp_path / "models" / "mini"
    with files.collecting(folder, resume=True) as part:
        (part / "config.json").write_text("{}")
        assert not folder.exists() and part == files.part_folder(folder)
        files.finish(part, folder)
    assert names(folder) == {"config.json"} and not part.exists()


@pytest.mark.posix
@pytest.mark.parametrize("resume", [True, False])
def test_a_program_that_is_killed_before_the_name_is_given(tmp_path, resume):
    folder = tmp_path / "mini"
    code = f"""{KILLED_AT_RENAME}
with files.collecting(Path({str(folder)!r}), resume={resume}) as part:
    (part / "model.safetensors").write_text("weights")
    files.finish(part, Path({str(folder)!r}))
"""
    assert child(code) == -signal.SIGKILL
    assert not folder.exists() and names(files.part_folder(folder)) == {"model.safetensors"}
    with files.collecting(folder, resume=resume) as part:  # its lock ended with it
        assert names(part) == ({"model.safetensors"} if resume else set())


@pytest.mark.parametrize("resume", [True, False])
def test_what_stays_after_an_error(tmp_path, resume):
    folder = tmp_path / "mini"
    with pytest.raises(ZeroDivisionError), files.collecting(folder, resume=resume) as part:
        (part / "half").write_text("")
        _ = 1 / 0
    assert part.exists() == resume
    assert resume or names(tmp_path) == set(), "nothing, not even the lock's file"


@contextmanager
def another_program_collects(folder: Path):
    code = (
        "import sys, time; from pathlib import Path; from labs_helper.common import files\n"
        f"with files.collecting(Path({str(folder)!r}), resume=True) as part:\n"
        "    (part / 'theirs').write_text('x'); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("resume", [True, False])
def test_two_programs_never_collect_one_folder(tmp_path, resume):
    folder = tmp_path / "mini"
    with another_program_collects(folder) as process:
        with pytest.raises(files.InUse), files.collecting(folder, resume=resume):
            pytest.fail("two programs at once")
        assert names(files.part_folder(folder)) == {"theirs"}, "their files are untouched"
        with files.collecting(tmp_path / "another", resume=resume):
            pass  # another folder is free
        process.kill()
        process.wait(10)
    with files.collecting(folder, resume=resume) as part:
        assert names(part) == ({"theirs"} if resume else set())


def test_two_threads_of_one_program_neither(tmp_path):
    with (
        files.collecting(tmp_path / "mini", resume=True),
        pytest.raises(files.InUse),
        files.collecting(tmp_path / "mini", resume=True),
    ):
        pytest.fail("twice at once")


def test_a_folder_that_is_there_is_not_replaced(tmp_path):
    folder = tmp_path / "mini"
    folder.mkdir()
    (folder / "config.json").write_text("old")
    with files.collecting(folder, resume=False) as part:
        (part / "config.json").write_text("new")
        with pytest.raises(OSError):
            files.finish(part, folder)
    assert (folder / "config.json").read_text() == "old"
