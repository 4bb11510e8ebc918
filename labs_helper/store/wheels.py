"""A wheelhouse: the packages of the course as files, for computers without a network, with the list of their sums.

`labs workshop wheelhouse` (course/wheelhouse.py) fills one, and start.py installs from it. start.py imports nothing of
this package, because it runs before anything is installed; it has its own reader of the list.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from labs_helper.common.translate import _
from labs_helper.errors import CheckpointRefused, ModelNotHere
from labs_helper.store import manifest

FOLDER = "wheelhouse"  # its name beside the course, on a stick, and in the address of a server
FORMAT = "phi35-labs-wheelhouse-1"
SIZE_LIMIT = 4_000_000  # bytes of its list
WHEEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,180}\.whl")
SET = re.compile(r"(linux|macos|windows)-(x86_64|arm64)/3\.\d{1,2}")


@dataclass(frozen=True)
class Wheelhouse:
    """What a wheelhouse holds.

    Attributes:
        files: every wheel with its size and sum.
        sets: the names of the wheels for each system and Python, by keys such as "windows-x86_64/3.12".

    Example:
        Wheelhouse.read(Path("wheelhouse")).check(Path("wheelhouse"))
    """

    files: tuple[manifest.File, ...]
    sets: dict[str, tuple[str, ...]]

    @property
    def size(self) -> int:
        """The size of all wheels together, in bytes."""
        return sum(file.size for file in self.files)

    def text(self) -> str:
        """The list as JSON, as it is in the folder."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Wheelhouse:
        """The list in a folder, every field checked.

        Raises:
            ModelNotHere: the folder has no list.
            CheckpointRefused: the list is anything but one of a wheelhouse.
        """
        file = folder / manifest.NAME
        if not file.is_file():
            raise ModelNotHere(
                _("There is no wheelhouse in {folder}.").format(folder=folder),
                _("Name a folder that `labs workshop wheelhouse` wrote: it holds {file}.").format(file=manifest.NAME),
            )
        try:
            if file.stat().st_size > SIZE_LIMIT:
                raise ValueError
            values = json.loads(file.read_bytes())
            if values["format"] != FORMAT:
                raise ValueError
            files = tuple(manifest.File(**entry) for entry in values["files"])
            sets = {key: tuple(names) for key, names in values["sets"].items()}
            names = {wheel.name for wheel in files}
            if not all(_is_right(wheel) for wheel in files) or not all(
                SET.fullmatch(key) and set(wanted) <= names for key, wanted in sets.items()
            ):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointRefused(_("{file} is not the list of a wheelhouse.").format(file=file), _again()) from error
        return cls(files, sets)

    def check(self, folder: Path, on_bytes: manifest.OnBytes = lambda _count: None) -> None:
        """Compare every wheel with the list.

        Raises:
            CheckpointRefused: a wheel is missing, damaged or changed; the message names the first one.
        """
        for file in self.files:
            path = folder / file.name
            if not path.is_file():
                raise CheckpointRefused(
                    _("{file} is missing in {folder}.").format(file=file.name, folder=folder), _again()
                )
            if path.stat().st_size != file.size or manifest.sha256(path, on_bytes) != file.sha256:
                raise CheckpointRefused(
                    _("{path} is damaged or was changed: its SHA-256 sum is not the one in the list.").format(
                        path=path
                    ),
                    _again(),
                )


def _is_right(file: manifest.File) -> bool:
    return (
        WHEEL.fullmatch(file.name) is not None
        and type(file.size) is int
        and 0 <= file.size < 2**40
        and re.fullmatch(r"[0-9a-f]{64}", file.sha256) is not None
    )


def _again() -> str:
    return _("Copy the wheelhouse again, or make it again with `labs workshop wheelhouse`.")
