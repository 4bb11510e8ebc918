"""Simple pictures with known content, for experiments: a word, a bar chart, shapes. Every picture is one tile.

`training/` draws the pictures that vision-tiny learned from; this is other code, and the pictures are plainer. Letters
are set as there, one to a column of cells, because a word that leaves the columns is an experiment of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Place: TypeAlias = str | tuple[float, float]

SIDE, CELL = 336, 28  # pixels of a picture, and of one merged cell of the tower's view
COLOURS = {
    "red": (214, 40, 40),
    "orange": (243, 130, 30),
    "yellow": (248, 210, 40),
    "green": (44, 150, 70),
    "blue": (36, 92, 205),
    "purple": (130, 62, 172),
    "pink": (240, 132, 182),
    "brown": (125, 78, 42),
    "gray": (132, 132, 132),
    "black": (22, 22, 22),
}
PLACES = (
    *("top left", "top", "top right"),
    *("left", "middle", "right"),
    *("bottom left", "bottom", "bottom right"),
)


def in_words(name: str) -> str:
    """A colour, a shape or a place in the reader's language. What a model is asked, and what it says, stays English.

    Example:
        >>> in_words("top left")
        'top left'
    """
    words = {
        "red": _("red"),
        "orange": _("orange"),
        "yellow": _("yellow"),
        "green": _("green"),
        "blue": _("blue"),
        "purple": _("purple"),
        "pink": _("pink"),
        "brown": _("brown"),
        "gray": _("gray"),
        "black": _("black"),
        "circle": _("circle"),
        "square": _("square"),
        "triangle": _("triangle"),
        "star": _("star"),
        "diamond": _("diamond"),
        "cross": _("cross"),
        "top left": _("top left"),
        "top": _("top"),
        "top right": _("top right"),
        "left": _("left"),
        "middle": _("middle"),
        "right": _("right"),
        "bottom left": _("bottom left"),
        "bottom": _("bottom"),
        "bottom right": _("bottom right"),
    }
    return words[name]


_BARS = ("blue", "orange", "green", "red", "purple", "brown")
_TIMES = 2  # drawn at twice the size and reduced, so that edges are soft


def _around(points: int, radius: float, inner: float) -> list[tuple[float, float]]:
    """The corners of a figure around (0, 0), every second one at `inner`, the first at the top."""
    turns = [2 * math.pi * i / points - math.pi / 2 for i in range(points)]
    radii = [inner if i % 2 else radius for i in range(points)]
    return [(r * math.cos(turn), r * math.sin(turn)) for r, turn in zip(radii, turns)]


_ARM = ((-0.3, -0.9), (0.3, -0.9), (0.3, -0.3), (0.9, -0.3), (0.9, 0.3), (0.3, 0.3))
OUTLINES: dict[str, list[tuple[float, float]]] = {  # in a square from -1 to 1
    "circle": _around(64, 0.92, 0.92),
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -0.9), (0.95, 0.8), (-0.95, 0.8)],
    "star": _around(10, 1, 0.42),
    "diamond": [(0, -1), (0.75, 0), (0, 1), (-0.75, 0)],
    "cross": [*_ARM, *((-x, -y) for x, y in _ARM)],
}


def draw_word(
    word: str, *, right: float = 0, down: float = 0, size: int = 32, pitch: float = CELL, colour: str = "black"
) -> Image.Image:
    """Draw a word on white. As it is, the centre of each letter is the centre of one cell.

    Args:
        word: at most eleven characters fit at the usual pitch.
        right: moves the word, in pixels.
        down: moves the word, in pixels.
        size: of the letters, in pixels; capitals are 0.73 of it high.
        pitch: pixels from the centre of a letter to the next.
        colour: one of COLOURS.

    Raises:
        BadRequest: an unknown colour, or a size that is not positive.

    Example:
        >>> draw_word("ZEBRA", down=7).size
        (336, 336)
    """
    if size <= 0:
        raise BadRequest(_("The size is {size}.").format(size=size), _("Give letters a size of at least 1 pixel."))
    picture, pen = _blank()
    _letters(pen, word, CELL * 1.5 + right, CELL * 5.5 + down, size, pitch, _colour(colour))
    return _done(picture, _("The word {word} in {colour}.").format(word=word, colour=in_words(colour)))


def draw_bars(values: Mapping[str, float], *, printed: bool = True, size: int = 26) -> Image.Image:
    """Draw a bar chart on white, from 0 to 100, its labels below.

    Args:
        values: label -> value from 0 to 100, for two to six bars.
        printed: write each value above its bar.
        size: of the letters, in pixels.

    Raises:
        BadRequest: too few or too many bars, or a value outside 0 to 100.

    Example:
        >>> draw_bars({"MON": 12, "TUE": 30}).size
        (336, 336)
    """
    if not 2 <= len(values) <= len(_BARS):
        raise BadRequest(
            _("Bars in this chart: {count}.").format(count=len(values)),
            _("Give 2 to {most} labels with their values.").format(most=len(_BARS)),
        )
    wrong = [value for value in values.values() if not 0 <= value <= 100]
    if wrong:
        raise BadRequest(_("A bar has the value {value}.").format(value=wrong[0]), _("Use values from 0 to 100."))
    picture, pen = _blank()
    base, ceiling, step = SIDE - 34, 66, SIDE / len(values)
    for i, (label, value) in enumerate(values.items()):
        middle, top = step * (i + 0.5), base - (base - ceiling) * value / 100
        pen.rectangle(_scaled([(middle - 0.32 * step, top), (middle + 0.32 * step, base)]), COLOURS[_BARS[i]])
        _centred(pen, label, middle, SIDE - 14, size)
        if printed:
            # Clear of the bar's edge and of the borders between cells.
            line = _inside(top - 14, 8)
            _centred(pen, f"{value:g}", middle, line if line <= top - 14 else _inside(top - 30, 8), size)
    pen.line(_scaled([(4, base), (SIDE - 4, base)]), COLOURS["gray"], 2 * _TIMES)
    told = ", ".join(f"{label} {value:g}" for label, value in values.items())
    alt = (
        _("A bar chart with its values printed: {values}.")
        if printed
        else _("A bar chart without printed values: {values}.")
    )
    return _done(picture, alt.format(values=told))


def draw_shapes(things: Iterable[tuple[str, str, Place]], *, radius: float = 32) -> Image.Image:
    """Draw shapes on white.

    Args:
        things: colour, shape and place of each, in the order in which they are painted. A place is one of PLACES, or
            (x, y) in pixels.
        radius: of each shape, in pixels.

    Raises:
        BadRequest: an unknown colour, shape or place.

    Example:
        >>> draw_shapes([("red", "circle", "top left"), ("blue", "star", (200, 168))]).size
        (336, 336)
    """
    picture, pen = _blank()
    told = []
    for colour, shape, place in things:
        if shape not in OUTLINES:
            raise _unknown(_("shape"), shape, OUTLINES)
        x, y = _spot(place)
        pen.polygon(_scaled([(x + radius * a, y + radius * b) for a, b in OUTLINES[shape]]), _colour(colour))
        named = {"colour": in_words(colour), "shape": in_words(shape), "place": in_words(place_of(place))}
        told.append(_("{colour} {shape} at the {place}").format(**named))
    return _done(picture, _("Shapes: {things}.").format(things=", ".join(told) or _("none")))


def place_of(place: Place) -> str:
    """The name of the ninth of the picture that holds a point; names stay as they are.

    Example:
        >>> place_of((30, 300)), place_of("top")
        ('bottom left', 'top')
    """
    if isinstance(place, str):
        return place
    across, down = (min(2, max(0, int(value * 3 // SIDE))) for value in place)
    return PLACES[3 * down + across]


def _spot(place: Place) -> tuple[float, float]:
    if not isinstance(place, str):
        return place
    if place not in PLACES:
        raise _unknown(_("place"), place, PLACES)
    down, across = divmod(PLACES.index(place), 3)
    return (across + 0.5) * SIDE / 3, (down + 0.5) * SIDE / 3


def _colour(name: str) -> tuple[int, int, int]:
    if name not in COLOURS:
        raise _unknown(_("colour"), name, COLOURS)
    return COLOURS[name]


def _unknown(what: str, name: object, known: Iterable[str]) -> BadRequest:
    return BadRequest(
        _("There is no {what} {name}.").format(what=what, name=repr(name)),
        _("Use one of: {names}.").format(names=", ".join(known)),
    )


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (SIDE * _TIMES, SIDE * _TIMES), "white")
    return picture, ImageDraw.Draw(picture)


def _done(picture: Image.Image, alt: str) -> Image.Image:
    """The picture at its size. Its description travels in `info`, where `side_by_side` finds it."""
    reduced = picture.reduce(_TIMES)
    reduced.info["alt"] = alt
    return reduced


def _scaled(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * _TIMES, y * _TIMES) for x, y in points]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _inside(centre: float, margin: int = 6) -> float:
    """The nearest centre at least `margin` pixels away from every border between cells."""
    return centre // CELL * CELL + min(max(centre % CELL, margin), CELL - margin)


def _letters(
    pen: ImageDraw.ImageDraw, text: str, x: float, y: float, size: int, pitch: float, colour: tuple[int, int, int]
) -> None:
    """Letters at an even pitch; (x, y) is the centre of the first."""
    for i, letter in enumerate(text):
        pen.text(((x + pitch * i) * _TIMES, y * _TIMES), letter, colour, _font(size * _TIMES), anchor="mm")


def _centred(pen: ImageDraw.ImageDraw, text: str, x: float, y: float, size: int) -> None:
    """A short word around (x, y), its letters clear of the borders between cells."""
    _letters(pen, text, _inside(x - CELL * (len(text) - 1) / 2), _inside(y, 8), size, CELL, COLOURS["black"])
