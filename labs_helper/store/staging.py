"""A model comes into the models folder in one step, or not at all.

Files are collected in `.NAME.part` beside the final folder. When all are there and checked, one rename gives the
folder its name: on one file system that is atomic, so whatever kills the process, a folder with the model's name is
whole. A lock that ends with its process keeps two commands from working on the same model.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from labs_helper.catalog import ModelCard
from labs_helper.errors import BadRequest, DownloadFailed, NotEnoughDisk
from labs_helper.store import checkpoint, manifest
from labs_helper.store.places import models_folders

SPARE = 500_000_000  # bytes of disk that stay free: notebooks and the system need some


def final_place(name: str) -> Path:
    """Where a model that comes in now will be.

    Example:
        final_place("phi-3.5-mini-instruct-4bit")
    """
    return models_folders()[0] / name


def part_place(name: str) -> Path:
    """Where the files of a model are collected until it is whole.

    Example:
        part_place("phi-3.5-mini-instruct-4bit")
    """
    return models_folders()[0] / f".{name}.part"


@contextlib.contextmanager
def staging(name: str) -> Iterator[Path]:
    """The folder in which the files of a model are collected, for this process alone.

    It stays after an error, so that a download can go on where it stopped.
    Raises BadRequest if another process works on the same model.

    Example:
        with staging("phi-3.5-mini-instruct-4bit") as folder: ...
    """
    folder = part_place(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadRequest(
                f"Another program is fetching, importing or removing {name} right now.", "Wait until it is done."
            ) from None
        folder.mkdir(exist_ok=True)
        yield folder


def need_disk(folder: Path, count: int, what: str) -> None:
    """Raise NotEnoughDisk if `count` bytes do not fit into the file system of a folder.

    Example:
        need_disk(Path("models"), 2_150_000_000, "phi-3.5-mini-instruct-4bit")
    """
    free = shutil.disk_usage(folder).free
    if count + SPARE > free:
        raise NotEnoughDisk(
            f"{what} needs {count / 1e9:.2f} GB of disk, and {max(0, free - SPARE) / 1e9:.2f} GB can be used in "
            f"{folder} ({SPARE / 1e9:.1f} GB stay free).",
            "Free some space (`labs models remove NAME` gives a model's back), or name a folder on another disk "
            "in LABS_MODELS_DIR.",
        )


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what a disk or stick can do in the middle of the work into a LabError.

    Example:
        with disk_errors("phi-3.5-mini-instruct-4bit"): ...
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotEnoughDisk(f"The disk became full while {what} was written.", "Free some space.") from error
        raise DownloadFailed(
            f"{what} could not be read or written: {error.strerror or error} ({error.filename or 'a file'}).",
            "Check that the disk is still there and that you may write to it; LABS_MODELS_DIR names another folder.",
        ) from error


def install(folder: Path, card: ModelCard, made: manifest.Manifest) -> Path:
    """Give a collected model its name. Returns its folder.

    folder: from `staging`, with all files, their sums checked.
    Raises CheckpointRefused if the checkpoint cannot be used; then nothing changes.

    Example:
        install(folder, card, Manifest.of(folder, card.name))
    """
    for path in folder.iterdir():
        if path.name not in {file.name for file in made.files}:
            path.unlink()  # what is left of an older revision
    checkpoint.verify(folder, ships_code=card.ships_code)
    (folder / manifest.NAME).write_text(made.text(), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        sync(path)
    place = final_place(card.name)
    os.rename(folder, place)
    sync(place.parent)
    return place


def sync(path: Path) -> None:
    """Wait until the disk has it: after a power cut a renamed folder with empty files would look whole.

    Example:
        sync(Path("models/my-model/config.json"))
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
