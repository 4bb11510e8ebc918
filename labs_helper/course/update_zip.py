"""Take the files of a newer zip into a folder that came as a zip. `update` says what becomes of the learner's changes.

Each zip lists its files with their checksums (`release.HANDED_OUT`). So a file that was changed since is known, and a
zip that is damaged or is something else is refused before anything is written.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from labs_helper.common.files import dated_copy, write_whole
from labs_helper.common.translate import _
from labs_helper.course.release import HANDED_OUT, checksum
from labs_helper.course.update import Updated
from labs_helper.errors import BadRequest, LabError

_LARGEST = 2**30  # bytes of all files; the course has a tenth of that


def update(root: Path, source: Path) -> Updated:
    """Take over what is new in `source`.

    Interrupted, it can run again: what was written by then counts as new, and the list of files comes last.

    Args:
        root: the course's folder.
        source: a zip of `labs workshop zip`, or a folder with its content.

    Raises:
        BadRequest: it is no zip of the course, or it is damaged. Nothing is changed then.
        LabError: a file cannot be written.

    Example:
        update(Path("phi35-labs"), Path("phi35-labs-learner.zip"))
    """
    new = _folder(source) if source.is_dir() else _zip(source)
    old = _listed((root / HANDED_OUT).read_bytes()) if (root / HANDED_OUT).is_file() else {}
    changed, copies = [], []
    try:
        for name, content in new.items():
            path = root / name
            before = path.read_bytes() if path.is_file() else None
            if before == content or (before is not None and old.get(name) == checksum(content)):
                continue  # the second: the update brings nothing new, so what the learner made of it stays
            if before is not None and checksum(before) != old.get(name) and name != HANDED_OUT:
                copies.append(dated_copy(path, before))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
            changed.append(name)
        for name in old.keys() - new.keys():
            path = root / name
            if path.is_file() and checksum(path.read_bytes()) == old[name]:
                path.unlink()
                changed.append(name)
    except OSError as error:
        raise LabError(
            _("A file could not be written ({reason}).").format(reason=error),
            _("Check that the disk has space and that you can write in this folder, and run the command again."),
        ) from error
    return Updated(tuple(changed), tuple(copies))


def _listed(text: bytes) -> dict[str, str]:
    """The list of a zip: checksums by name. Empty if it cannot be read: then every file counts as changed."""
    try:
        listed = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in listed.items()} if isinstance(listed, dict) else {}


def _zip(source: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > _LARGEST:
                raise _no_course(source)
            # The files are in one folder, whatever it is called.
            return _whole(
                source, {entry.filename.partition("/")[2]: archive.read(entry) for entry in entries if entry.filename}
            )
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise BadRequest(
            _("{source} cannot be read as a zip ({reason}).").format(source=source, reason=error),
            _("Get it again, and compare its size with your instructor's. Nothing was changed."),
        ) from error


def _folder(source: Path) -> dict[str, bytes]:
    """The listed files of a folder, or of the one folder in it."""
    for folder in (source, *sorted(path for path in source.iterdir() if path.is_dir())):
        if (folder / HANDED_OUT).is_file():
            names = [HANDED_OUT, *_listed((folder / HANDED_OUT).read_bytes())]
            files = {
                name: (folder / name).read_bytes() for name in names if _is_inside(name) and (folder / name).is_file()
            }
            return _whole(source, files)
    raise _no_course(source)


def _whole(source: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that the list names, all of them as it says; the list itself comes last."""
    if HANDED_OUT not in files:
        raise _no_course(source)
    listed = _listed(files[HANDED_OUT])
    if not listed or not all(_is_inside(name) for name in listed):
        raise _no_course(source)
    wrong = [name for name, value in listed.items() if name not in files or checksum(files[name]) != value]
    if wrong:
        raise BadRequest(
            _("{source} is damaged or was changed: {name} is not as it was packed.").format(
                source=source, name=wrong[0]
            ),
            _("Get it again. Nothing was changed."),
        )
    return {**{name: files[name] for name in listed}, HANDED_OUT: files[HANDED_OUT]}


def _is_inside(name: str) -> bool:
    """Whether a name stays inside of the course's folder, on every system."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not set(name) & set("\\:\0")


def _no_course(source: Path) -> BadRequest:
    return BadRequest(
        _("{source} is no zip of this course that can be updated from.").format(source=source),
        _("Name the zip that `labs workshop zip` has written, or the folder that it was unpacked to."),
    )
