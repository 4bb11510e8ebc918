"""Files and folders that are there whole or not at all, and that no second program changes at the same time."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from labs_helper.common import platforms

_LEFT_BEHIND = 3600  # seconds after which nobody is still writing a file


def write_whole(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file in one step: after a crash or a power cut it holds the old content or the new one.

    Args:
        path: the file; its folder must exist.
        content: all of it.
        private: nobody but its owner may read or write the file.

    Raises:
        OSError: the file cannot be written; the old content is still there.

    Example:
        write_whole(Path("notebooks/01-instruct.ipynb"), text.encode())
    """
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            if private:
                temporary.chmod(0o600)
            file.write(content)
            sync(file)
        platforms.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Delete what a killed program left beside a file that it was writing."""
    start, end = f".{path.name}.", ".new"
    with contextlib.suppress(OSError):
        for entry in path.parent.iterdir():
            written = entry.name.startswith(start) and entry.name.endswith(end)
            # Not what another program writes just now.
            if written and time.time() - entry.lstat().st_mtime > _LEFT_BEHIND:
                entry.unlink()


def dated_copy(path: Path, content: bytes) -> Path:
    """Write a copy beside a file, under a name with the time that no file has yet. Returns its path.

    Example:
        dated_copy(Path("01-instruct.ipynb"), content)      # 01-instruct.copy-2026-03-01-141500.ipynb
    """
    now, number = datetime.now().strftime("%Y-%m-%d-%H%M%S"), 1
    while True:
        more = "" if number == 1 else f"-{number}"
        copy = path.with_name(f"{path.stem}.copy-{now}{more}{path.suffix}")
        try:
            with copy.open("xb") as file:  # x: refuses a name that exists, also one made a moment ago
                file.write(content)
                sync(file)
        except FileExistsError:
            number += 1
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        else:
            return copy


def sync(file: IO[bytes]) -> None:
    """Wait until everything that was written to an open file is on the disk.

    Example:
        with path.open("wb") as file: sync(file)
    """
    file.flush()
    os.fsync(file.fileno())


class InUse(Exception):
    """Another program works in the folder."""


def part_folder(folder: Path) -> Path:
    """Where the files of a folder are collected until it is whole: `.NAME.part` beside it.

    Example:
        part_folder(Path("models/phi-3.5-mini-instruct-4bit"))
    """
    return folder.parent / f".{folder.name}.part"


@contextlib.contextmanager
def collecting(folder: Path, *, resume: bool) -> Iterator[Path]:
    """The part folder of `folder`, for this process alone; `finish` gives it its name.

    A lock that ends with its process keeps a second program out.

    Args:
        folder: the folder that is to be made.
        resume: keep what an earlier try has left, and what is there after an error, so that work can go on. Otherwise
            the part folder is empty at the start and gone at the end.

    Raises:
        InUse: another program works on the same folder.

    Example:
        with collecting(Path("models/mini"), resume=True) as part: ...
    """
    from filelock import FileLock, Timeout

    part = part_folder(folder)
    part.parent.mkdir(parents=True, exist_ok=True)
    lock_file = folder.parent / f".{folder.name}.lock"
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InUse(str(folder)) from None
    try:
        if not resume:
            shutil.rmtree(part, ignore_errors=True)
        part.mkdir(exist_ok=True)
        yield part
    finally:
        if not resume:
            shutil.rmtree(part, ignore_errors=True)
            # The folder around it is the user's own: nothing stays in it. FileLock notices a lock file that is gone.
            if not platforms.is_windows():  # which deletes no file that is open: there it goes below
                lock_file.unlink(missing_ok=True)
        lock.release()
        if not resume and platforms.is_windows():
            with contextlib.suppress(OSError):  # another program may have taken it in between
                lock_file.unlink(missing_ok=True)


def finish(part: Path, folder: Path) -> None:
    """Give a collected folder its name, in one step, after everything in it is on the disk.

    On one file system a rename is atomic: whatever ends the program, a folder with the final name is whole.

    Raises:
        OSError: a folder of that name is there already, and not empty.

    Example:
        finish(part, Path("models/mini"))
    """
    for path in (*part.iterdir(), part):
        platforms.flush(path)
    platforms.rename(part, folder)
    platforms.flush(folder.parent)
