"""Files and folders that are there whole or not at all, and that no second program changes at the same time."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: after a crash or a power cut it holds the old content or the new one.

    Raises:
        OSError: the file cannot be written; the old content is still there.

    Example:
        write_whole(Path("notebooks/01-instruct.ipynb"), text.encode())
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            _write_through(file, content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
                _write_through(file, content)
        except FileExistsError:
            number += 1
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        else:
            return copy


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk.

    Without it a renamed folder could hold empty files after a power cut, and look whole.

    Example:
        flush(Path("models/my-model/config.json"))
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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

    part, lock = part_folder(folder), folder.parent / f".{folder.name}.lock"
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            if not resume:
                shutil.rmtree(part, ignore_errors=True)
            part.mkdir(exist_ok=True)
            try:
                yield part
            finally:
                if not resume:
                    shutil.rmtree(part, ignore_errors=True)
                    lock.unlink(missing_ok=True)  # the folder is the caller's own: leave nothing in it
    except Timeout:
        raise InUse(str(folder)) from None


def finish(part: Path, folder: Path) -> None:
    """Give a collected folder its name, in one step, after everything in it is on the disk.

    Raises:
        OSError: a folder of that name is there already.

    Example:
        finish(part, Path("models/mini"))
    """
    for path in (*part.iterdir(), part):
        flush(path)
    os.rename(part, folder)
    flush(folder.parent)


def _write_through(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
