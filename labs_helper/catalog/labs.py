"""The registry of the labs (labs.toml), and how a lab is named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labs_helper.catalog.folder import course_folder
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

NOTEBOOKS = "[0-9][0-9]-*.ipynb"
SOURCES = "[0-9][0-9]-*.py"
COPIES = "*.copy-*.ipynb"  # a learner's own versions, kept by `labs reset`


@dataclass(frozen=True)
class Lab:
    """One lab of the course.

    Attributes:
        number: two digits.
        slug: the rest of its file names.
        roles: the models that it needs.
        minutes: working time, exercises included.
        core: working time without what the lab calls optional; 0 where nothing is.
        exercises: whether `labs_helper.exercises` checks answers of this lab.
        tokens: of its longest request to a real model, prompt and answer together.
        views: of 336 x 336 pixels in a request, at most.
        after: numbers of earlier labs that help; each lab needs 00.
        experts: whether it asks which experts were chosen, so that its real model has to run in MLX.
        bundled: whether its cells ask the bundled models, also where the real ones are here.
    """

    number: str
    slug: str
    title: str
    roles: tuple[str, ...]
    minutes: int
    exercises: bool
    core: int = 0
    tokens: int = 4096
    views: int = 0
    after: tuple[str, ...] = ()
    experts: bool = False
    bundled: bool = False

    @property
    def stem(self) -> str:
        """The name of its notebook without the ending."""
        return f"{self.number}-{self.slug}"


@cache
def labs() -> tuple[Lab, ...]:
    """All labs, in the order in which they are taken.

    Example:
        [lab.number for lab in labs()]      # ['00', '01', '02', '03', '05', '06', '07', '08']
    """
    text = (Path(__file__).parent / "labs.toml").read_text(encoding="utf-8")
    return tuple(
        Lab(**{**entry, "roles": tuple(entry["roles"]), "after": tuple(entry.get("after", ()))})
        for entry in tomllib.loads(text)["lab"]
    )


def find_lab(name: str | int) -> Lab:
    """A lab by its number or its full name: 1, "1", "01", "01-instruct".

    Raises:
        BadRequest: there is no such lab; the message lists the labs.

    Example:
        find_lab("1").title      # 'Instruct'
    """
    wanted = normal(name)
    for lab in labs():
        if wanted in (lab.number, lab.stem):
            return lab
    raise unknown(name, (lab.number for lab in labs()))


def normal(name: str | int) -> str:
    """The name of a lab as the files spell it: two digits, no file ending.

    Example:
        normal(1), normal("01-instruct.ipynb")      # ('01', '01-instruct')
    """
    text = str(name).strip()
    return text.zfill(2) if text.isdigit() else text.removesuffix(".ipynb").removesuffix(".py")


def pick(files: Sequence[Path], name: str | int) -> list[Path]:
    """The files among `files` that belong to a lab, by number or by full name.

    Raises:
        BadRequest: none does; the message lists the labs that are there.

    Example:
        pick(notebooks(), "01")
    """
    wanted = normal(name)
    picked = [file for file in files if wanted in (file.stem, file.stem[:2])]
    if not picked:
        raise unknown(name, (file.stem for file in files))
    return picked


def notebooks(folder: Path | None = None) -> list[Path]:
    """The learner notebooks in a folder, the course's by default, without a learner's own copies.

    Example:
        [path.name for path in notebooks()]
    """
    folder = course_folder() / "notebooks" if folder is None else folder
    return [path for path in sorted(folder.glob(NOTEBOOKS)) if not path.match(COPIES)]


def unknown(name: str | int, known: Iterable[str]) -> BadRequest:
    """The error for a lab that does not exist.

    Args:
        name: what was asked for.
        known: the labs that exist.
    """
    return BadRequest(
        _("There is no lab {name!r}.").format(name=str(name)[:40]),
        _("The labs are: {labs}.").format(labs=", ".join(dict.fromkeys(known)) or _("none here")),
    )
