"""Lab 08: drawn pictures in which it is known where each thing is."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.pictures import drawing

if TYPE_CHECKING:
    from PIL import Image

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
RADIUS = 32  # of a drawn shape, in pixels


@dataclass(frozen=True)
class Shapes:
    """A drawn picture of six shapes, and a question for a colour.

    Attributes:
        picture: 336 x 336 pixels.
        question: names a shape.
        colour: the right answer; empty for a shape that is not there.
        cells: the (row, column) cells of that shape.
        colours: the cells of the thing with each colour.
    """

    picture: Image.Image
    question: str
    colour: str
    cells: tuple[tuple[int, int], ...]
    colours: dict[str, tuple[tuple[int, int], ...]]


def shape_pictures(count: int, seed: int = 8, *, absent: bool = False) -> list[Shapes]:
    """Pictures with shapes in different colours and places, drawn at random.

    Args:
        count: how many.
        seed: of the draws.
        absent: leave the shape out that the question names; five are there then.

    Example:
        shape_pictures(1)[0].question      # 'What colour is the circle?'
    """
    chance, made = random.Random(seed), []
    for _picture in range(count):
        kinds = chance.sample(SHAPES, len(SHAPES))
        colours, places = chance.sample(list(drawing.COLOURS), len(kinds)), chance.sample(drawing.PLACES, len(kinds))
        things = list(zip(colours, kinds, places, strict=True))
        asked = things[0]
        if absent:
            things = things[1:]
        by_colour = {colour: cells_around(place) for colour, _kind, place in things}
        made.append(
            Shapes(
                drawing.draw_shapes(things, radius=RADIUS),
                f"What colour is the {asked[1]}?",
                "" if absent else asked[0],
                by_colour.get(asked[0], ()),
                by_colour,
            )
        )
    return made


def cells_around(place: str) -> tuple[tuple[int, int], ...]:
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
