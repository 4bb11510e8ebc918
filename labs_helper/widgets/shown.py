"""The pictures in the list of `look`: where they come from, and how each one is shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper.common.markup import escape
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadImage
from labs_helper.pictures.clips import holds_frames
from labs_helper.pictures.gallery import Picture, course_pictures, folder, is_clip
from labs_helper.pictures.images import open_image
from labs_helper.pictures.keyframes import keyframes
from labs_helper.pictures.thumbnails import data_address

if TYPE_CHECKING:
    from PIL import Image

    from labs_helper.pictures.images import PictureSource

# The notebook server refuses messages above 10 MB, and an upload is one message.
MOST_UPLOAD = 7_000_000  # bytes of one upload
CLIP_FRAMES = 4  # a clip becomes this many pictures


@dataclass(frozen=True)
class Shown:
    """A picture in the list: what it is called, itself, what it shows in words, and a question to ask about it."""

    name: str
    image: Image.Image = field(repr=False)
    alt: str
    question: str = ""

    @cached_property
    def small(self) -> str:
        """A small copy as a data address: made once, shown in several places."""
        return data_address(self.image, 200, 200)

    @property
    def size(self) -> str:
        """Width and height in words."""
        return _("{width} x {height} pixels").format(width=self.image.width, height=self.image.height)

    def html(self, side: int, before: str = "", after: str = "") -> str:
        """A small picture with its name and description, in sight and for screen readers.

        Args:
            side: the most pixels on each side.
            before: words before the name.
            after: words after it.
        """
        return (
            f'<figure style="display:inline-block;margin:4px 12px 4px 0;vertical-align:top;'
            f'max-width:{max(side, 300)}px"><img src="{self.small}" alt="{escape(self.alt)}" '
            f'style="max-width:{side}px;max-height:{side}px;border:1px solid #888">'
            f'<figcaption style="line-height:1.3"><strong>{escape(before + self.name)}</strong>{escape(after)}<br>'
            f"<small>{escape(self.alt)}</small></figcaption></figure>"
        )


def course_choices() -> dict[str, list[Picture]]:
    """The pictures of the course as they can be chosen: the name of a picture or set -> its pictures."""
    choices: dict[str, list[Picture]] = {}
    for picture in course_pictures():
        choices.setdefault(picture.set or picture.name, []).append(picture)
    return choices


def about_choice(pictures: Sequence[Picture]) -> str:
    """What a choice of the course shows, and how many pictures it has."""
    words = "{alt}"
    if len(pictures) > 1:
        words = _("{pictures}: {alt}")
    elif pictures[0].is_clip:
        words = _("A clip: {alt}")
    return words.format(pictures=counted_pictures(len(pictures)), alt=pictures[0].alt)


def from_course(pictures: Sequence[Picture]) -> list[Shown]:
    """The pictures of one choice, opened.

    Raises:
        BadImage: a file is missing, damaged or a link to somewhere else.
    """
    shown: list[Shown] = []
    for picture in pictures:
        if picture.is_clip:
            frames = _frames(picture.path, picture.name, picture.alt, inside=folder())
            shown += [replace(frame, question=picture.question) for frame in frames]
        else:
            shown.append(Shown(picture.name, picture.image, picture.alt, picture.question))
    return shown


def from_upload(name: str, data: bytes) -> list[Shown]:
    """A picture, or the keyframes of a clip, that came through the browser.

    Raises:
        BadImage: it is too large or cannot be read.
    """
    if len(data) > MOST_UPLOAD:
        raise BadImage(
            _("{name} has {size:.1f} MB.").format(name=name, size=len(data) / 1e6),
            _("Type its path instead, or make it smaller."),
        )
    try:
        if holds_frames(data):
            return _frames(data, name, not_described())
        return [Shown(name, open_image(data), not_described())]
    except BadImage as error:  # bytes have no name
        raise BadImage(_("{name}: {reason}").format(name=name, reason=error.what), error.do) from error


def opened(source: PictureSource, number: int) -> list[Shown]:
    """A picture that the learner named, or the keyframes of a clip.

    Args:
        source: anything `open_image` takes, or the path of a clip.
        number: its place in the list, for pictures without a name.

    Raises:
        BadImage: it cannot be read.
    """
    if not isinstance(source, (str, os.PathLike)):
        name = _("picture {number}").format(number=number)
        return [Shown(name, open_image(source), not_described())]
    path = Path(source).expanduser()
    known = next((picture for picture in course_pictures() if path.name == picture.name), None)
    own = known is not None and path.resolve() == known.path.resolve()
    alt, question = (known.alt, known.question) if known is not None and own else (not_described(), "")
    if is_clip(path) or holds_frames(path):
        return [replace(frame, question=question) for frame in _frames(path, path.name, alt)]
    return [Shown(path.name, open_image(source), alt, question)]


def not_described() -> str:
    """What stands for the description of a picture that has none."""
    return _("no description")


def counted_pictures(count: int) -> str:
    """A number of pictures in words.

    Example:
        >>> counted_pictures(2)
        '2 pictures'
    """
    return _n("{count} picture", "{count} pictures", count).format(count=count)


def _frames(source: Path | bytes, name: str, alt: str, inside: Path | None = None) -> list[Shown]:
    """The keyframes of a clip. The first one carries the description of the whole."""
    shown = []
    for number, frame in enumerate(keyframes(source, CLIP_FRAMES, inside=inside)):
        words = _("Frame {index} of the same clip.") if number else _("Frame {index}. {alt}")
        title = _("{name}, frame {index}").format(name=name, index=frame.index)
        shown.append(Shown(title, frame.image, words.format(index=frame.index, alt=alt)))
    return shown
