"""The pictures of the course: what each one shows, a question about it, and the true answer.

They are in images/vision, listed in pictures.csv there. Nothing is opened before it is looked at.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper import catalog
from labs_helper.common.markup import escape
from labs_helper.common.translate import _, of_table
from labs_helper.errors import BadImage
from labs_helper.pictures.images import open_image
from labs_helper.pictures.keyframes import keyframes
from labs_helper.pictures.thumbnails import data_address

if TYPE_CHECKING:
    from PIL import Image

CLIPS = {".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"}
_SIDE = 300  # pixels at which a picture is shown in a notebook


@dataclass(frozen=True)
class Picture:
    """A picture or clip of the course. It may be given wherever a path may, for example `ask(images=...)`.

    Attributes:
        name: of its file.
        set: which pictures belong together; "" if it belongs to none.
        scenario: the use of the model that it is for.
        models: "both", or "real" if only the real model can read it.
        alt: what it shows, in the reader's language.
        question: something to ask about it.
        answer: what is true.

    Example:
        >>> picture("sign.png").answer
        'It says ZEBRA.'
    """

    name: str
    set: str
    scenario: str
    models: str
    alt: str
    question: str
    answer: str

    @property
    def path(self) -> Path:
        """Where its file is."""
        return folder() / self.name

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def is_clip(self) -> bool:
        """Whether it has several frames."""
        return is_clip(self.name)

    @cached_property
    def image(self) -> Image.Image:
        """The picture, or the first frame of a clip.

        Raises:
            BadImage: its file is missing, damaged or a link to somewhere else.
        """
        inside = folder()
        return keyframes(self.path, 1, inside=inside)[0].image if self.is_clip else open_image(self.path, inside=inside)

    def _repr_html_(self) -> str:
        return (
            f'<figure style="margin:0"><img src="{data_address(self.image, _SIDE, _SIDE)}" alt="{escape(self.alt)}" '
            f'style="max-width:{_SIDE}px;max-height:{_SIDE}px;border:1px solid #888"><figcaption><strong>'
            f"{escape(self.name)}</strong><br><small>{escape(self.alt)}</small></figcaption></figure>"
        )

    def __repr__(self) -> str:
        return f"{self.name}: {self.alt}"


def is_clip(name: str | Path) -> bool:
    """Whether a file of this name is a clip.

    Example:
        >>> is_clip("traffic.gif")
        True
    """
    return Path(name).suffix.lower() in CLIPS


def folder() -> Path:
    """Where the pictures of the vision lab are.

    Example:
        folder() / "sign.png"
    """
    return catalog.course_folder() / "images" / "vision"


def course_pictures() -> list[Picture]:
    """All pictures of the course, in the order of the list; none where the repository is not there.

    Example:
        >>> [entry.name for entry in course_pictures() if entry.scenario == "clip" and not entry.set]
        ['crossing.mp4', 'traffic.gif', 'slides.mp4']
    """
    path = folder() / "pictures.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = []
    for row in rows:
        name, shown = row.pop("file"), row.pop("alt")
        pictures.append(Picture(name=name, alt=of_table(shown), **row))
    return pictures


def picture(name: str) -> Picture:
    """A picture of the course by its name.

    Raises:
        BadImage: there is none of that name; the message names the nearest ones.

    Example:
        >>> picture("sign.png").scenario
        'ocr'
    """
    known = {entry.name: entry for entry in course_pictures()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, 3, 0.4) or list(known)[:3]
    raise BadImage(
        _("The course has no picture {name}.").format(name=repr(str(name))),
        _("Did you mean {names}?").format(names=_(" or ").join(near))
        if near
        else _("Get the whole repository: images/vision is not there."),
    )
