"""A model comes into the models folder in one step, or not at all (see `labs_helper.common.files`)."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from labs_helper.catalog import ModelCard
from labs_helper.common import files
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, DownloadFailed, NotEnoughDisk
from labs_helper.store import checkpoint, manifest
from labs_helper.store.places import destination

SPARE = 500_000_000  # bytes of disk that stay free: notebooks and the system need some


@contextlib.contextmanager
def staging(card: ModelCard, *, resume: bool = True) -> Iterator[Path]:
    """The folder in which the files of a model are collected, for this process alone.

    Args:
        card: the model.
        resume: keep the files after an error, and find them the next time, so that a download can go on.

    Raises:
        BadRequest: another process works on the same model.

    Example:
        with staging(real_card("instruct")) as part: ...
    """
    try:
        with files.collecting(destination(card), resume=resume) as part:
            yield part
    except files.InUse:
        raise BadRequest(
            _("Another program is fetching, importing or removing {name} right now.").format(name=card.name),
            _("Wait until it is done."),
        ) from None


@contextlib.contextmanager
def making(folder: Path, advice: str) -> Iterator[Path]:
    """An empty folder beside one that a learner named, for this process alone. It is gone afterwards, unless finished.

    Args:
        folder: what is made; `files.finish` gives it its name.
        advice: what to do where it cannot be made.

    Raises:
        BadRequest: another program makes the same folder, or the disk does not take it.

    Example:
        with making(Path("models/my-phi-4bit"), _("Name a folder where you can write.")) as part: ...
    """
    try:
        with files.collecting(folder, resume=False) as part:
            yield part
    except files.InUse:
        raise BadRequest(
            _("Another program is making {folder} right now.").format(folder=folder), _("Wait until it is done.")
        ) from None
    except OSError as error:
        raise BadRequest(
            _("{folder} cannot be made ({reason}).").format(folder=folder, reason=error.strerror or error), advice
        ) from error


def need_disk(folder: Path, count: int, what: str) -> None:
    """Check that the file system of a folder takes this many bytes.

    Args:
        folder: a folder on that file system.
        count: bytes to write.
        what: what they are, for the message.

    Raises:
        NotEnoughDisk: they do not fit.

    Example:
        need_disk(Path("models"), 2_150_000_000, "phi-3.5-mini-instruct-4bit")
    """
    free = shutil.disk_usage(folder).free
    if count + SPARE > free:
        raise NotEnoughDisk(
            _(
                "{what} needs {needed:.2f} GB of disk, and {usable:.2f} GB can be used in {folder} "
                "({spare:.1f} GB stay free)."
            ).format(
                what=what, needed=count / 1e9, usable=max(0, free - SPARE) / 1e9, folder=folder, spare=SPARE / 1e9
            ),
            _(
                "Free some space (`labs models remove NAME` gives a model's back), or name a folder on "
                "another disk in LABS_MODELS_DIR."
            ),
        )


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an error of a disk or stick during the work into a LabError.

    Args:
        what: what is read or written, for the message.

    Raises:
        NotEnoughDisk: the disk became full.
        DownloadFailed: any other OSError.

    Example:
        with disk_errors("phi-3.5-mini-instruct-4bit"): ...
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotEnoughDisk(
                _("The disk became full while {what} was written.").format(what=what), _("Free some space.")
            ) from error
        raise DownloadFailed(
            _("{what} could not be read or written: {reason} ({file}).").format(
                what=what, reason=error.strerror or error, file=error.filename or _("a file")
            ),
            _("Check that the disk is still there and that you can write to it; LABS_MODELS_DIR names another folder."),
        ) from error


def install(part: Path, card: ModelCard, listing: manifest.Manifest) -> Path:
    """Give a collected model its name. Returns its folder.

    Args:
        part: the folder from `staging`, with all files, their sums checked.
        card: the model.
        listing: its manifest.

    Raises:
        CheckpointRefused: the checkpoint cannot be used; then nothing changes.

    Example:
        install(part, card, Manifest.of(part, card.name))
    """
    listed = {file.name for file in listing.files}
    for path in part.iterdir():
        if path.name not in listed:
            path.unlink()  # a file of an older revision
    checkpoint.verify(part, ships_code=card.ships_code)
    (part / manifest.NAME).write_text(listing.text(), encoding="utf-8")
    folder = destination(card)
    files.finish(part, folder)
    return folder
