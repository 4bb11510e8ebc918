"""What a drawn picture is, as data: the scene, its marks, and the names of all that can stand in it.

A model's view of a picture is 336x336 pixels, 24x24 patches of 14, merged two by two to 12x12 cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from labs_helper.pictures import drawing

SIZE, PATCH, CELL = drawing.SIDE, 14, drawing.CELL
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SHAPES = tuple(drawing.OUTLINES)
ICONS = ("house", "tree", "sun", "car", "cloud", "boat", "flower", "fish", "cup", "moon")
PARTS = ("bar", "point", "slice")
KINDS = ("none", *GLYPHS, *SHAPES, *ICONS, *PARTS)
COLOURS = {**drawing.COLOURS, "white": (252, 252, 252)}
COLOUR_NAMES = tuple(COLOURS)
KIND_INDEX, COLOUR_INDEX = ({name: i for i, name in enumerate(names)} for names in (KINDS, COLOUR_NAMES))
SHAPE_COLOURS = tuple(drawing.COLOURS)
DARK_INKS = ("black", "red", "green", "blue", "purple", "brown")
LIGHT_INKS = ("white", "yellow", "orange", "pink")
NIGHT = ((20, 24, 44), (34, 34, 38), (16, 52, 44), (60, 24, 40))
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold")
PLACES = tuple(drawing.PLACES[row : row + 3] for row in (0, 3, 6))

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
QUARTERS = ["Q1", "Q2", "Q3", "Q4"]
DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
GOODS = [
    "TEA",
    "MILK",
    "RICE",
    "CORN",
    "SALT",
    "FISH",
    "MEAT",
    "BEAN",
    "NUTS",
    "OIL",
    "WINE",
    "SOUP",
    "CAKE",
    "PEAR",
    "PLUM",
    "FIG",
    "LIME",
    "KIWI",
    "HAM",
    "JAM",
    "EGG",
    "PEA",
    "BUN",
]
NAMES = ["ANA", "BEN", "EVA", "IDA", "JOE", "KIM", "LEO", "MAX", "MIA", "NOA", "PIA", "RAY", "SAM", "TOM", "UMA", "ZOE"]
COLUMNS = [
    "AGE",
    "SUM",
    "TAX",
    "PTS",
    "QTY",
    "WIN",
    "BUY",
    "TOP",
    "COST",
    "SIZE",
    "YEAR",
    "DAYS",
    "HOME",
    "SOLD",
    "LEFT",
    "RANK",
]
SIGNS = [
    "OPEN",
    "EXIT",
    "STOP",
    "TAXI",
    "BANK",
    "SHOP",
    "CAFE",
    "HOTEL",
    "PARK",
    "BUS",
    "ZOO",
    "MENU",
    "SALE",
    "PUSH",
    "PULL",
    "NORTH",
    "SOUTH",
    "EAST",
    "WEST",
    "BEACH",
    "MUSIC",
    "BOOKS",
    "BREAD",
    "PIZZA",
    "WATER",
    "LEMON",
    "APPLE",
    "GRAPE",
    "HORSE",
    "TIGER",
    "ZEBRA",
    "MOUSE",
    "SNAKE",
    "EAGLE",
    "WHALE",
    "TRAIN",
    "PLANE",
    "TRUCK",
    "RIVER",
    "OCEAN",
    "CLOUD",
    "STORM",
    "LIGHT",
    "NIGHT",
    "GREEN",
    "BLACK",
    "WHITE",
    "DREAM",
    "HAPPY",
    "QUICK",
    "JUMP",
    "WALK",
    "FROG",
    "DUCK",
    "WOLF",
    "BEAR",
    "LION",
    "GOAT",
    "CRAB",
]


class Mark(NamedTuple):
    """Something with a centre: a glyph, shape, icon or part of a chart."""

    x: float
    y: float
    kind: str
    colour: str


@dataclass
class Scene:
    """One picture as data: what it shows (`facts`), how to paint it (`steps`) and where things are (`marks`).

    area: the picture proper inside the 336x336 frame; what is outside is the white padding of a picture that is not
    square. smooth: painted at double size and reduced, so that edges are soft.
    """

    kind: str
    ground: tuple[int, int, int]
    area: tuple[int, int, int, int] = (0, 0, SIZE, SIZE)
    smooth: bool = False
    facts: dict = field(default_factory=dict)
    steps: list[tuple] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    words: list[list[Mark]] = field(default_factory=list)  # the marks of each printed word's letters


def place(x: float, y: float) -> str:
    """The name of a ninth of the picture.

    >>> place(30, 30), place(168, 300)
    ('top left', 'bottom')
    """
    return PLACES[min(2, int(y * 3 // SIZE))][min(2, int(x * 3 // SIZE))]
