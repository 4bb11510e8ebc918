"""Lab 08: drawn pictures in which it is known where each thing is, and what a right answer says."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.pictures import drawing

if TYPE_CHECKING:
    from PIL import Image

Cells = tuple[tuple[int, int], ...]

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
DAYS = ("MON", "TUE", "WED", "THU", "FRI")
RADIUS = 32  # of a drawn shape, in pixels
BARS = 4  # in a chart


@dataclass(frozen=True)
class Shown:
    """A drawn picture, and a question about one thing in it.

    Attributes:
        picture: 336 x 336 pixels.
        question: names the thing.
        right: what a right answer says.
        cells: the (row, column) cells of the thing.
        others: what a wrong answer may say instead, with the cells of the thing that it belongs to.
    """

    picture: Image.Image
    question: str
    right: str
    cells: Cells
    others: dict[str, Cells]

    def said(self, text: str) -> str:
        """Which of its things an answer names; empty if none.

        Example:
            shape_pictures(1)[0].said("The square is orange.")      # 'orange'
        """
        # The longest one first: "top" is also in "top left".
        known = sorted((self.right, *self.others), key=len, reverse=True)
        return next((word for word in known if word in text), "")


def shape_pictures(count: int, seed: int = 8, *, ask: str = "colour") -> list[Shown]:
    """Pictures with six shapes in different colours and places, drawn at random.

    Args:
        count: how many.
        seed: of the draws.
        ask: for the "colour" or the "place" of a shape.

    Raises:
        BadRequest: `ask` is neither.

    Example:
        shape_pictures(1)[0].question      # 'What colour is the circle?'
    """
    if ask not in ("colour", "place"):
        raise BadRequest(_("There is no question for {what!r}.").format(what=ask), _('Use "colour" or "place".'))
    chance, made = random.Random(seed), []
    for _picture in range(count):
        kinds = chance.sample(SHAPES, len(SHAPES))
        colours, places = chance.sample(list(drawing.COLOURS), len(kinds)), chance.sample(drawing.PLACES, len(kinds))
        words = colours if ask == "colour" else places
        cells = {word: cells_around(place) for word, place in zip(words, places, strict=True)}
        right = words[0]
        made.append(
            Shown(
                drawing.draw_shapes(zip(colours, kinds, places, strict=True), radius=RADIUS),
                f"What colour is the {kinds[0]}?" if ask == "colour" else f"Where is the {kinds[0]}?",
                right,
                cells.pop(right),
                cells,
            )
        )
    return made


def chart_pictures(count: int, seed: int = 8) -> list[Shown]:
    """Bar charts with printed values, and a question for one of them.

    Example:
        chart_pictures(1)[0].question      # 'What is the value of TUE?'
    """
    chance, made = random.Random(seed), []
    for _picture in range(count):
        days, values = chance.sample(DAYS, BARS), chance.sample(range(10, 100), BARS)
        chart = dict(zip(days, values, strict=True))
        picture, bare = drawing.draw_bars(chart), drawing.draw_bars(chart, printed=False)
        # What the printed values add to the chart is where they are; each bar has a quarter of the width.
        ink = (np.asarray(picture) != np.asarray(bare)).any(axis=-1)
        wide = drawing.SIDE // BARS
        cells = {str(value): _cells_of(ink[:, n * wide : (n + 1) * wide], n * wide) for n, value in enumerate(values)}
        asked = chance.randrange(BARS)
        right = str(values[asked])
        made.append(Shown(picture, f"What is the value of {days[asked]}?", right, cells.pop(right), cells))
    return made


def cells_around(place: str) -> Cells:
    """The cells whose centre is within a drawn shape at one of `drawing.PLACES`.

    Example:
        cells_around("top left")      # ((1, 1), (1, 2), ...)
    """
    down, across = divmod(drawing.PLACES.index(place), 3)
    x, y = ((n + 0.5) * drawing.SIDE / 3 for n in (across, down))
    centres = [(n + 0.5) * drawing.CELL for n in range(drawing.SIDE // drawing.CELL)]
    return tuple(
        (row, column)
        for row, high in enumerate(centres)
        for column, wide in enumerate(centres)
        if abs(high - y) <= RADIUS and abs(wide - x) <= RADIUS
    )


def _cells_of(ink: np.ndarray[Any, Any], left: int) -> Cells:
    """The cells that hold any ink of a part of a picture which begins at the pixel column `left`."""
    rows, columns = np.nonzero(ink)
    pairs = zip(rows // drawing.CELL, (columns + left) // drawing.CELL, strict=True)
    return tuple(sorted({(int(row), int(column)) for row, column in pairs}))
