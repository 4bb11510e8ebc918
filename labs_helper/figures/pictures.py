"""Pictures beside each other: the frames of a clip, or the pictures of one question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures import svg
from labs_helper.figures.base import Figure, Row
from labs_helper.figures.text import joined, text_table
from labs_helper.figures.tiles import size_of
from labs_helper.pictures.images import check_distinct, open_image
from labs_helper.pictures.keyframes import Keyframe

if TYPE_CHECKING:
    from PIL import Image

    from labs_helper.pictures.images import PictureSource
    from labs_helper.pictures.keyframes import Keyframes

_GAP = 8


class _Frame(NamedTuple):
    """One frame as it is drawn; what is not known of it is None."""

    image: Image.Image
    number: int
    seconds: float | None
    change: float | None

    @property
    def words(self) -> str:
        if self.seconds is None:
            return _("frame {number}").format(number=self.number)
        return _("frame {number}, {seconds:.2f} s").format(number=self.number, seconds=self.seconds)


def frames_view(frames: Keyframes | Iterable[Keyframe | PictureSource]) -> Figure:
    """Draw the chosen frames of a clip in order of time, with their times.

    Args:
        frames: what `keyframes` gives, or a list of pictures.

    Raises:
        BadRequest: there are no frames.

    Example:
        >>> from PIL import Image
        >>> frames_view([Image.new("RGB", (80, 60))] * 2).rows[1]["frame"]
        1
    """
    if isinstance(frames, (list, tuple)):  # an iterator is read frame by frame
        check_distinct(frames)
    shown = [_frame(item, place) for place, item in enumerate(frames)]
    if not shown:
        raise BadRequest(_("There is nothing to draw: no frames."), _("Choose at least one with keyframes."))
    total: int = getattr(frames, "total", max(frame.number for frame in shown) + 1)
    takeaway = _("{count} of {total} frames stand for the clip: {frames}.").format(
        count=len(shown), total=total, frames=", ".join(str(frame.number) for frame in shown)
    )
    if note := getattr(frames, "note", ""):
        takeaway += f" {note}"
    table = text_table(
        ["#", _("frame"), _("seconds"), _("change")],
        [
            # A change of 0 is no measurement: the frame was taken for its position, as the first one is.
            [
                i,
                frame.number,
                *("–" if value is None else f"{value:.3f}" for value in (frame.seconds, frame.change or None)),
            ]
            for i, frame in enumerate(shown, 1)
        ],
        right=range(4),
    )
    alt = _("{count} frames of a clip in order of time, and a line that shows when each one occurs. {takeaway}").format(
        count=len(shown), takeaway=takeaway
    )
    rows: list[Row] = [{"frame": frame.number, "seconds": frame.seconds, "change": frame.change} for frame in shown]
    return Figure.from_svg(
        _draw_frames(shown, total),
        alt=alt,
        takeaway=takeaway,
        text=joined(table, takeaway),
        rows=rows,
        width=svg.WIDTH,
    )


def _frame(item: Keyframe | PictureSource, place: int) -> _Frame:
    if isinstance(item, Keyframe):
        return _Frame(item.image, item.index, item.seconds, item.score)
    return _Frame(open_image(item), place, None, None)


def _draw_frames(frames: Sequence[_Frame], total: int) -> str:
    across = min(4, len(frames))
    wide = min(240, (svg.WIDTH - 16) // across - _GAP)
    high = max(round(wide * frame.image.height / frame.image.width) for frame in frames)
    parts = []
    for i, frame in enumerate(frames):
        x, y = 8 + i % across * (wide + _GAP), 8 + i // across * (high + 34)
        parts.append(_fitted(frame.image, x, y, wide, high))
        parts.append(svg.words(x, y + high + 18, f"{i + 1}: {frame.words}"))
    y = 26 + -(-len(frames) // across) * (high + 34)
    length = min(svg.WIDTH - 32, across * (wide + _GAP))
    parts.append(f'<path d="M16,{y} H{16 + length}" stroke="#333" stroke-width="2"/>')
    for i, frame in enumerate(frames):
        at = 16 + length * frame.number / max(1, total - 1)
        parts.append(f'<path d="M{at:.1f},{y - 8} V{y + 8}" stroke="#333" stroke-width="3"/>')
        parts.append(svg.words(at, y + 24, str(i + 1), "middle"))
    return svg.svg(parts, y + 34)


def side_by_side(images: Iterable[PictureSource], *, takeaway: str = "") -> Figure:
    """Draw pictures beside each other, numbered in the order in which a model gets them.

    Args:
        images: anything `open_image` takes. Pictures of the course and drawn ones bring their words along.
        takeaway: the sentence below.

    Raises:
        BadRequest: there are no pictures.
        BadImage: one cannot be read.

    Example:
        >>> from PIL import Image
        >>> side_by_side([Image.new("RGB", (80, 60))] * 2).rows[1]
        {'picture': 2, 'name': '', 'width': 80, 'height': 60}
    """
    items = list(images)
    check_distinct(items)
    if not items:
        raise BadRequest(_("There is nothing to draw: no pictures."), _("Give at least one."))
    pictures = [open_image(item) for item in items]
    names = [str(getattr(item, "name", "")) for item in items]
    lines = []
    for i, (item, picture) in enumerate(zip(items, pictures), 1):
        # A picture of the course has an attribute, one of `labs_helper.pictures.drawing` an entry.
        known = getattr(item, "alt", "") or getattr(item, "info", {}).get("alt", "")
        words = known or _("a picture of {size} pixels").format(size=size_of(picture))
        lines.append(f"{i}: {words}")
    alt = _("{count} pictures in order. {list} {takeaway}")
    return Figure.from_svg(
        _draw_pictures(pictures, names),
        alt=alt.format(count=len(items), list=" ".join(lines), takeaway=takeaway).strip(),
        takeaway=takeaway,
        text=joined(*lines, takeaway),
        rows=[
            {"picture": i, "name": name, "width": picture.width, "height": picture.height}
            for i, (name, picture) in enumerate(zip(names, pictures), 1)
        ],
        width=svg.WIDTH,
    )


def _draw_pictures(pictures: Sequence[Image.Image], names: Sequence[str]) -> str:
    across = min(3, len(pictures))
    wide = min(300, (svg.WIDTH - 16) // across - _GAP)
    high = min(300, max(round(wide * picture.height / picture.width) for picture in pictures))
    parts = []
    for i, (picture, name) in enumerate(zip(pictures, names)):
        x, y = 8 + i % across * (wide + _GAP), 24 + i // across * (high + 30)
        parts.append(svg.words(x, y - 8, f"{i + 1}: {name}" if name else str(i + 1)))
        parts.append(_fitted(picture, x, y, wide, high))
    return svg.svg(parts, 24 + -(-len(pictures) // across) * (high + 30))


def _fitted(picture: Image.Image, x: float, y: float, wide: int, high: int) -> str:
    """A picture as large as fits into wide x high."""
    scale = min(wide / picture.width, high / picture.height)
    return svg.embedded(picture, x, y, round(picture.width * scale), round(picture.height * scale))
