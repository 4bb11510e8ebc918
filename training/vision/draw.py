"""Pictures with known content: every scene is data first, pixels second.

    >>> scene = Artist(7).sign()
    >>> scene.facts["words"][0]["text"]          # what is in it
    >>> paint(scene)                             # a 336x336 picture
    >>> kinds, colours = dense(scene)            # what has its centre in each of the 24x24 patches

A model's view of a picture is 336x336 pixels, 24x24 patches of 14, merged two by two to 12x12 cells. Text is set so that
no two glyphs share a cell: the next one stands 28 pixels further, or 42 or 56 where letters are wide, evenly within a word, and so does the next line. A row of the decoder's
context then holds one glyph at most, and the order of the rows is the order of reading. Lines and letters also keep away from the
borders of cells (`settled`), where one pixel decides which cell a letter belongs to.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE, PATCH, CELL = 336, 14, 28
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
ICONS = ("house", "tree", "sun", "car", "cloud", "boat", "flower", "fish", "cup", "moon")
PARTS = ("bar", "point", "slice")
KINDS = ("none", *GLYPHS, *SHAPES, *ICONS, *PARTS)
COLOURS = {"red": (214, 40, 40), "orange": (243, 130, 30), "yellow": (248, 210, 40), "green": (44, 150, 70), "blue": (36, 92, 205),
           "purple": (130, 62, 172), "pink": (240, 132, 182), "brown": (125, 78, 42), "gray": (132, 132, 132), "black": (22, 22, 22),
           "white": (252, 252, 252)}
COLOUR_NAMES = tuple(COLOURS)
KIND_INDEX, COLOUR_INDEX = ({name: i for i, name in enumerate(names)} for names in (KINDS, COLOUR_NAMES))
SHAPE_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black")
DARK_INKS = ("black", "red", "green", "blue", "purple", "brown")
LIGHT_INKS = ("white", "yellow", "orange", "pink")
NIGHT = ((20, 24, 44), (34, 34, 38), (16, 52, 44), (60, 24, 40))
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold")
PLACES = (("top left", "top", "top right"), ("left", "middle", "right"), ("bottom left", "bottom", "bottom right"))
SMALL, LARGE = 26, 46                            # font sizes; DejaVu's capitals are 0.73 of it
ACROSS, DOWN = 6, 8                              # pixels from a letter's centre to the border of its cell, at least

MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
QUARTERS = "Q1 Q2 Q3 Q4".split()
DAYS = "MON TUE WED THU FRI SAT SUN".split()
GOODS = "TEA MILK RICE CORN SALT FISH MEAT BEAN NUTS OIL WINE SOUP CAKE PEAR PLUM FIG LIME KIWI HAM JAM EGG PEA BUN".split()
NAMES = "ANA BEN EVA IDA JOE KIM LEO MAX MIA NOA PIA RAY SAM TOM UMA ZOE".split()
COLUMNS = "AGE SUM TAX PTS QTY WIN BUY TOP COST SIZE YEAR DAYS HOME SOLD LEFT RANK".split()
SIGNS = ("OPEN EXIT STOP TAXI BANK SHOP CAFE HOTEL PARK BUS ZOO MENU SALE PUSH PULL NORTH SOUTH EAST WEST BEACH MUSIC BOOKS BREAD PIZZA "
         "WATER LEMON APPLE GRAPE HORSE TIGER ZEBRA MOUSE SNAKE EAGLE WHALE TRAIN PLANE TRUCK RIVER OCEAN CLOUD STORM LIGHT NIGHT GREEN "
         "BLACK WHITE DREAM HAPPY QUICK JUMP WALK FROG DUCK WOLF BEAR LION GOAT CRAB").split()


class Mark(NamedTuple):
    """Something with a centre: a glyph, shape, icon or part of a chart."""

    x: float
    y: float
    kind: str
    colour: str


@dataclass
class Scene:
    """One picture as data: what it shows (`facts`), how to paint it (`steps`) and where things are (`marks`).

    area: the picture proper inside the 336x336 frame; what is outside is the white padding of a picture that is not square.
    smooth: painted at double size and reduced, so that edges are soft.
    """

    kind: str
    ground: tuple[int, int, int]
    area: tuple[int, int, int, int] = (0, 0, SIZE, SIZE)
    smooth: bool = False
    facts: dict = field(default_factory=dict)
    steps: list[tuple] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    words: list[list[Mark]] = field(default_factory=list)          # the marks of each printed word's letters


# ---- type ---------------------------------------------------------------------------------------------------


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A DejaVu font from the folder that comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)


@cache
def glyph(character: str, name: str, size: int) -> tuple[Image.Image, int]:
    """A glyph's mask, cut to its ink, and its advance."""
    face = font(name, size)
    left, top, right, bottom = face.getbbox(character)
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), character, 255, font=face)
    return mask, round(face.getlength(character))


@cache
def pitch(word: str, name: str, size: int) -> int:
    """The distance between the centres of a word's letters, the same for all of them: whole cells or halves, as wide as the widest letter asks for.

    With other distances some letter would come to stand on a border of cells, or be moved away from it and leave uneven gaps.

    >>> pitch("LEMON", "DejaVuSans", 26), pitch("ZEBRA", "DejaVuSans-Bold", 46)
    (28, 42)
    """
    widest = max(glyph(c, name, size)[1] for c in word)
    return CELL if widest <= CELL + 4 else CELL * 3 // 2 if widest <= CELL * 3 // 2 + 4 else 2 * CELL


def text_width(text: str, name: str, size: int) -> int:
    """Width of a line of text: the pitch of each word for each of its letters, and the spaces."""
    return sum(pitch(word, name, size) * len(word) for word in text.split()) + text.count(" ") * (size // 2)


def first_centre(x: float, step: int) -> float:
    """The centre nearest to x for a word's first letter from which all letters, `step` apart, keep away from the borders of cells.

    >>> first_centre(29, 28), first_centre(40, 28), first_centre(40, 42), first_centre(57, 42)
    (34, 40, 35, 63)
    """
    return settled(x) if step % CELL == 0 else round((x - CELL / 4) / (CELL / 2)) * CELL // 2 + CELL // 4


def settled(centre: float, margin: int = ACROSS) -> float:
    """The nearest centre that is at least `margin` pixels away from every border of cells. What is a cell apart stays a cell apart.

    >>> settled(29), settled(40), settled(57)
    (34, 40, 62)
    """
    return centre // CELL * CELL + min(max(centre % CELL, margin), CELL - margin)


def cap_height(size: int) -> int:
    """Height of a capital letter."""
    return glyph("H", FONTS[0], size)[0].height


# ---- shapes and icons, in a square from -1 to 1 ---------------------------------------------------------------


def _star(points: int = 5, inner: float = 0.42) -> list[tuple[float, float]]:
    turns = [(math.pi * i / points - math.pi / 2, 1.0 if i % 2 == 0 else inner) for i in range(2 * points)]
    return [(r * math.cos(a), r * math.sin(a)) for a, r in turns]


OUTLINES = {
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -0.9), (0.95, 0.8), (-0.95, 0.8)],
    "star": _star(),
    "diamond": [(0, -1), (0.75, 0), (0, 1), (-0.75, 0)],
    "cross": [(-0.3, -0.9), (0.3, -0.9), (0.3, -0.3), (0.9, -0.3), (0.9, 0.3), (0.3, 0.3), (0.3, 0.9), (-0.3, 0.9), (-0.3, 0.3),
              (-0.9, 0.3), (-0.9, -0.3), (-0.3, -0.3)],
}
BROWN, GLASS, DARK = (110, 74, 44), (200, 228, 244), (40, 40, 44)
# Each icon: steps of (what, coordinates, fill), where fill None is the icon's own colour.
ICON_STEPS = {
    "house": [("polygon", [(-0.7, -0.05), (0.7, -0.05), (0.7, 0.9), (-0.7, 0.9)], (232, 214, 178)),
              ("polygon", [(-0.95, 0), (0, -0.9), (0.95, 0)], None),
              ("polygon", [(-0.18, 0.35), (0.18, 0.35), (0.18, 0.9), (-0.18, 0.9)], BROWN)],
    "tree": [("polygon", [(-0.14, 0.2), (0.14, 0.2), (0.14, 0.95), (-0.14, 0.95)], BROWN), ("ellipse", [(-0.7, -0.95), (0.7, 0.4)], None)],
    "sun": [("polygon", _star(10, 0.72), None), ("ellipse", [(-0.55, -0.55), (0.55, 0.55)], (255, 226, 110))],
    "car": [("polygon", [(-0.5, -0.1), (-0.3, -0.5), (0.35, -0.5), (0.6, -0.1)], GLASS),
            ("polygon", [(-0.95, -0.1), (0.95, -0.1), (0.95, 0.4), (-0.95, 0.4)], None),
            ("ellipse", [(-0.7, 0.2), (-0.26, 0.64)], DARK), ("ellipse", [(0.26, 0.2), (0.7, 0.64)], DARK)],
    "cloud": [("ellipse", [(-0.95, -0.2), (-0.1, 0.5)], None), ("ellipse", [(-0.5, -0.6), (0.4, 0.45)], None), ("ellipse", [(0, -0.3), (0.95, 0.5)], None)],
    "boat": [("polygon", [(0.05, -0.95), (0.05, 0.2), (0.75, 0.2)], (236, 236, 226)), ("polygon", [(-0.04, -0.95), (0.05, -0.95), (0.05, 0.3), (-0.04, 0.3)], BROWN),
             ("polygon", [(-0.9, 0.3), (0.9, 0.3), (0.55, 0.8), (-0.55, 0.8)], None)],
    "flower": [("polygon", [(-0.06, 0), (0.06, 0), (0.06, 0.95), (-0.06, 0.95)], (44, 130, 60)),
               *[("ellipse", [(0.42 * math.cos(a) - 0.3, -0.35 + 0.42 * math.sin(a) - 0.3), (0.42 * math.cos(a) + 0.3, -0.35 + 0.42 * math.sin(a) + 0.3)], None)
                 for a in (0.3, 1.56, 2.8, 4.07, 5.34)], ("ellipse", [(-0.22, -0.57), (0.22, -0.13)], (250, 220, 90))],
    "fish": [("polygon", [(0.4, 0), (0.95, -0.45), (0.95, 0.45)], None), ("ellipse", [(-0.95, -0.45), (0.6, 0.45)], None), ("ellipse", [(-0.7, -0.18), (-0.52, 0)], DARK)],
    "cup": [("ellipse", [(0.25, -0.35), (0.9, 0.35)], None), ("ellipse", [(0.42, -0.18), (0.73, 0.18)], (246, 246, 246)),
            ("polygon", [(-0.7, -0.6), (0.6, -0.6), (0.4, 0.7), (-0.5, 0.7)], None)],
    "moon": [("crescent", [(-0.8, -0.8), (0.8, 0.8)], None)],
}
ICON_COLOURS = {"house": ("red", "brown", "blue", "purple"), "tree": ("green",), "sun": ("orange", "yellow"), "cloud": ("gray",), "moon": ("yellow", "gray"),
                "car": ("red", "blue", "green", "black"), "boat": ("brown", "red", "blue"), "flower": ("red", "pink", "purple", "orange"),
                "fish": ("orange", "blue", "gray"), "cup": ("red", "blue", "green", "brown")}


def place(x: float, y: float) -> str:
    """The name of a ninth of the picture.

    >>> place(30, 30), place(168, 300)
    ('top left', 'bottom')
    """
    return PLACES[min(2, int(y * 3 // SIZE))][min(2, int(x * 3 // SIZE))]


# ---- scenes ---------------------------------------------------------------------------------------------------


EVENTS = {"moves": 4, "turns": 1, "appears": 1, "disappears": 1}    # how often each thing happens in a clip


class Artist:
    """Draws scenes. The same seed always gives the same ones.

    Args:
        seed: any integer or string.
        word: makes the words to print; left out, real and random ones by turns. Corpora give one that keeps to their split.
        events: how often each thing happens in clips.
    """

    def __init__(self, seed: int | str, word=None, events: dict[str, int] = EVENTS):
        self.random = random.Random(seed)
        self.word, self.events = word or self.any_word, events

    def any_word(self, shortest: int = 3, longest: int = 5) -> str:
        """A real word, a random string or a number, of 3 to 5 characters."""
        rng, roll = self.random, self.random.random()
        if roll < 0.3:
            real = [w for w in SIGNS if shortest <= len(w) <= longest]
            return rng.choice(real)
        letters = GLYPHS[26:] if roll < 0.45 else GLYPHS[:26] if roll < 0.85 else GLYPHS
        return "".join(rng.choices(letters, k=rng.randint(shortest, longest)))

    # -- pieces --

    def scene(self, kind: str, square: float = 0.85, dark: float = 0.1, tall: float = 0.3) -> Scene:
        """An empty scene: mostly light ground, mostly square; of the others, a share `tall` is higher than wide."""
        rng = self.random
        area = (0, 0, SIZE, SIZE)
        if rng.random() > square:                                  # letterboxed as the image processor does it
            margin = rng.randrange(14, 57)
            area = (0, margin, SIZE, SIZE - margin) if rng.random() >= tall else (margin, 0, SIZE - margin, SIZE)
        light = rng.randint(225, 255)
        ground = rng.choice(NIGHT) if rng.random() < dark else tuple(min(255, light + rng.randint(-8, 8)) for _ in range(3))
        if rng.random() < 0.35 and min(ground) > 200:
            ground = (255, 255, 255)
        return Scene(kind, ground, area, smooth=rng.random() < 0.25)

    def rgb(self, colour: str) -> tuple[int, int, int]:
        """A colour by name, a little off."""
        return tuple(max(0, min(255, c + self.random.randint(-12, 12))) for c in COLOURS[colour])

    def ink(self, scene: Scene) -> str:
        return self.random.choice(DARK_INKS if min(scene.ground) > 150 else LIGHT_INKS)

    def plain_ink(self, scene: Scene) -> str:
        """Black on light, white on dark."""
        return "black" if min(scene.ground) > 150 else "white"

    def text(self, scene: Scene, x: float, y: float, text: str, name: str, size: int, colour: str, anchor: str = "l", settle: bool = True) -> int:
        """Set a line with its baseline near y; `anchor` says what x is: left (l), middle (m) or right (r). Returns its width.

        Args:
            settle: keep letters away from the borders of cells; they move by a few pixels for it.
        """
        width = text_width(text, name, size)
        x, rgb = round(x - {"l": 0, "m": width / 2, "r": width}[anchor]), self.rgb(colour)
        y = self.line(y, size) if settle else y
        for i, word in enumerate(text.split()):
            step = pitch(word, name, size)
            x += (size // 2) * (i > 0)
            centre = first_centre(x + step / 2, step) if settle else x + step / 2
            scene.words.append([])
            for c in word:
                mask, _ = glyph(c, name, size)
                left, top = round(centre - mask.width / 2), round(y) - cap_height(size)
                scene.steps.append(("glyph", left, top, c, name, size, rgb))
                scene.marks.append(Mark(left + mask.width / 2, top + cap_height(size) / 2, c, colour))
                scene.words[-1].append(scene.marks[-1])
                centre += step
            x += step * len(word)
        return width

    @staticmethod
    def line(y: float, size: int) -> float:
        """The baseline nearest to y on which capitals keep away from the borders of cells."""
        return settled(y - cap_height(size) / 2, DOWN) + cap_height(size) / 2

    def shape(self, scene: Scene, kind: str, colour: str, x: float, y: float, r: float, rgb=None) -> dict:
        """Add a shape or an icon around (x, y); returns what facts say about it."""
        rgb = rgb or self.rgb(colour)
        if kind == "circle":
            scene.steps.append(("ellipse", [(x - 0.92 * r, y - 0.92 * r), (x + 0.92 * r, y + 0.92 * r)], rgb))
        elif kind in OUTLINES:
            scene.steps.append(("polygon", [(x + r * px, y + r * py) for px, py in OUTLINES[kind]], rgb))
        else:
            for what, points, fill in ICON_STEPS[kind]:
                if what == "crescent":                              # a disc with the ground's disc over it
                    scene.steps.append(("ellipse", [(x - 0.8 * r, y - 0.8 * r), (x + 0.8 * r, y + 0.8 * r)], rgb))
                    scene.steps.append(("ellipse", [(x - 0.3 * r, y - 0.95 * r), (x + 1.1 * r, y + 0.45 * r)], scene.ground))
                else:
                    scene.steps.append((what, [(x + r * px, y + r * py) for px, py in points], fill or rgb))
        scene.marks.append(Mark(x, y, kind, colour))
        return {"kind": kind, "colour": colour, "x": x, "y": y, "r": r, "place": place(x, y), "rgb": rgb}

    def font(self) -> str:
        return self.random.choice(FONTS)

    # -- pictures for the tower --

    def page(self) -> Scene:
        """A page crowded with glyphs, shapes and icons: dense targets for the tower, read by nobody."""
        rng, scene = self.random, self.scene("page", square=1, dark=0.15)
        y, settle = rng.randint(2, 10), rng.random() < 0.75
        while True:
            if rng.random() < 0.78:
                size = round(math.exp(rng.uniform(math.log(SMALL), math.log(LARGE + 6))))
                height, name = cap_height(size), self.font()
                if y + height > SIZE - 2:
                    return scene
                x = rng.randint(1, 24)
                while True:
                    word = "".join(rng.choices(GLYPHS, k=rng.randint(1, 6)))
                    if x + text_width(word, name, size) > SIZE:
                        break
                    x += self.text(scene, x, y + height, word, name, size, self.ink(scene), settle=settle) + size // 3 + rng.randint(0, 20)
                    if rng.random() < 0.3:
                        name = self.font()
                y += max(CELL, height + rng.randint(4, 12))
            else:
                r = rng.randint(14, 40)
                if y + 2 * r > SIZE:
                    return scene
                x = rng.randint(0, 20) + r
                while x + r < SIZE:
                    kind = rng.choice(SHAPES) if rng.random() < 0.6 else rng.choice(ICONS)
                    colour = self.shape_colour(scene, kind)
                    self.shape(scene, kind, colour, x, y + r, r * rng.uniform(0.8, 1))
                    x += 2 * r + rng.randint(0, 24)
                y += 2 * r + rng.randint(2, 8)

    def shape_colour(self, scene: Scene, kind: str) -> str:
        """A colour for a shape or an icon that shows on the ground."""
        dark = min(scene.ground) < 150
        options = [c for c in ICON_COLOURS.get(kind, SHAPE_COLOURS) if not (dark and c in ("black", "brown", "purple"))]
        return self.random.choice(options)

    # -- pictures to ask about --

    def lines(self) -> Scene:
        """Several lines of words, to be read in order."""
        rng, scene = self.random, self.scene("lines", square=0.8)
        name, size, words = self.font(), rng.randint(SMALL, 34), []
        left, top, right, bottom = scene.area
        height = cap_height(size)
        y, colour = top + rng.randint(6, 40), self.ink(scene)
        for _ in range(rng.randint(1, 5)):
            if y + height > bottom - 4:
                break
            x = left + rng.randint(5, 40)
            for _ in range(rng.randint(1, 4)):
                word = self.word()
                if x + text_width(word, name, size) > right - 2:
                    break
                x += self.text(scene, x, y + height, word, name, size, colour) + round(size * rng.uniform(0.7, 1.1))
                words.append(word)
            y += max(CELL, height + rng.randint(8, 30))
        if not words:
            return self.lines()
        scene.facts = {"words": words}
        return scene

    def sign(self) -> Scene:
        """One to three words of different colours in different places, each on its own line."""
        rng, scene = self.random, self.scene("sign")
        left, top, right, bottom = scene.area
        count = rng.choices((1, 2, 3), (0.4, 0.3, 0.3))[0]
        inks = rng.sample(DARK_INKS if min(scene.ground) > 150 else LIGHT_INKS, count)
        band, found = (bottom - top) / count, []
        for i, colour in enumerate(inks):
            word, name, size = self.word(), self.font(), round(math.exp(rng.uniform(math.log(SMALL), math.log(LARGE))))
            width, height = text_width(word, name, size), cap_height(size)
            x = rng.randint(left + 4, max(left + 4, right - width - 4))
            y = self.line(rng.uniform(top + i * band + 5, top + (i + 1) * band - height - 5) + height, size) - height
            if rng.random() < 0.3:                                  # on a board of its own
                light = min(scene.ground) > 150
                edge = self.rgb("gray") if rng.random() < 0.5 else None
                board = (255, 255, 250) if light else tuple(max(0, c - 12) for c in scene.ground)
                scene.steps.append(("box", [(x - 8, y - 6), (x + width + 8, y + height + 6)], board, edge))
            self.text(scene, x, y + height, word, name, size, colour)
            found.append({"text": word, "colour": colour})
        scene.facts = {"words": found}
        return scene

    def things(self, count: int, kinds: Sequence[str], distinct: bool = True) -> Scene:
        """`count` shapes or icons in different ninths of the picture, well inside them."""
        rng, scene = self.random, self.scene("things", square=1)
        spots = rng.sample([(x, y) for x in range(3) for y in range(3)], count)
        chosen = rng.sample(list(kinds), count) if distinct else [rng.choice(kinds) for _ in range(count)]
        found, used = [], set()
        for kind, (i, j) in zip(chosen, spots):
            while (colour := self.shape_colour(scene, kind)) in used and (distinct and kind in SHAPES or (kind, colour) in used):
                pass
            used |= {colour, (kind, colour)}
            x, y = 56 + 112 * i + rng.uniform(-16, 16), 56 + 112 * j + rng.uniform(-16, 16)
            found.append(self.shape(scene, kind, colour, x, y, rng.uniform(24, 40)))
        found.sort(key=lambda thing: (thing["y"] // 112, thing["x"]))
        scene.facts = {"things": found}
        return scene

    def shapes(self) -> Scene:
        """One to four shapes of different kinds and colours."""
        scene = self.things(self.random.choices((1, 2, 3, 4), (0.35, 0.25, 0.25, 0.15))[0], SHAPES)
        scene.kind = "shapes"
        return scene

    def objects(self) -> Scene:
        """One to four everyday things."""
        scene = self.things(self.random.randint(1, 4), ICONS)
        scene.kind = "objects"
        return scene

    def crowd(self) -> Scene:
        """One to six of the same, and a few others, to be counted."""
        rng, scene = self.random, self.scene("crowd", square=1)
        kind, number = rng.choice(SHAPES), rng.randint(1, 6)
        colour = self.shape_colour(scene, kind)
        rest = rng.randint(0, 4)
        other = [k for k in SHAPES if k != kind]
        same_colour = rng.random() < 0.3
        chosen = [(kind, colour)] * number
        for _ in range(rest):
            another = rng.choice(other)
            chosen.append((another, colour if same_colour else self.shape_colour(scene, another)))
        rng.shuffle(chosen)
        spots = rng.sample([(x, y) for x in range(4) for y in range(4)], len(chosen))
        r = rng.uniform(20, 34)
        found = [self.shape(scene, k, c, 42 + 84 * i + rng.uniform(-6, 6), 42 + 84 * j + rng.uniform(-6, 6), r * rng.uniform(0.85, 1.1))
                 for (k, c), (i, j) in zip(chosen, spots)]
        scene.facts = {"kind": kind, "colour": colour, "things": found}
        return scene

    def series(self, count: int, longest: int = 3) -> tuple[list[str], list[int]]:
        """`count` labels of `longest` letters, and as many different values below 100."""
        rng = self.random
        pool = rng.choice((MONTHS, DAYS, GOODS, NAMES, None) if longest > 2 else (QUARTERS, [day[:2] for day in DAYS], None))
        if pool in (GOODS, NAMES):
            labels = rng.sample([word for word in pool if len(word) == longest], count)
        elif pool:
            start = rng.randrange(len(pool))
            labels = [pool[(start + i) % len(pool)] for i in range(count)]
        else:
            labels = []
            while len(labels) < count:
                if (word := "".join(rng.choices(GLYPHS[:26], k=longest))) not in labels:
                    labels.append(word)
        return labels, rng.sample(range(3, 100), count)

    def chart(self, make=None) -> Scene:
        """A bar, line or pie chart with its labels and values printed.

        Args:
            make: gives (labels, values) instead of `series`, and is passed the same.

        Under a bar there is room for three letters of three entries, or two letters of four; beside a pie for more.
        """
        rng, style = self.random, self.random.choices(("bar", "line", "pie"), (0.5, 0.25, 0.25))[0]
        scene = self.scene("chart", square=0.9 if style != "pie" else 1, tall=0)
        labels, values = (make or self.series)(*rng.choice(((3, 3), (4, 3 if style == "pie" else 2))))
        left, top, right, bottom = scene.area
        name, size, plain = rng.choice(FONTS[:4]), rng.randint(SMALL, SMALL + 1), self.plain_ink(scene)
        count, height = len(labels), cap_height(size)
        colours = rng.sample([c for c in SHAPE_COLOURS if c != plain and not (plain == "white" and c in ("black", "brown"))], count)
        axis = self.rgb("gray")
        if style == "pie":
            r = rng.uniform(50, 62)
            side = rng.random() < 0.5
            cx, cy = (66, 168 + rng.uniform(-40, 40)) if side else (168 + rng.uniform(-60, 60), 84)
            turn = rng.uniform(0, 360)
            for value, colour in zip(values, colours):
                sweep = 360 * value / sum(values)
                middle = math.radians(turn + sweep / 2)
                scene.steps.append(("pie", [(cx - r, cy - r), (cx + r, cy + r)], turn, turn + sweep, self.rgb(colour)))
                scene.marks.append(Mark(cx + 0.6 * r * math.cos(middle), cy + 0.6 * r * math.sin(middle), "slice", colour))
                turn += sweep
            x0 = 134 if side else rng.uniform(10, 130)
            y0 = (SIZE - count * 34) / 2 if side else SIZE - count * 34 + 2
            for i, (label, value, colour) in enumerate(zip(labels, values, colours)):
                y = self.line(y0 + 34 * i + height, size) - height
                self.shape(scene, "square", colour, x0 + 10, y + height / 2, 11)
                self.text(scene, x0 + 26, y + height, label, name, size, plain)
                self.text(scene, x0 + 200, y + height, str(value), name, size, plain, "r")
        else:
            base, ceiling = bottom - height - 12, top + height + rng.randint(26, 44)
            if rng.random() < 0.4:
                for i in range(1, 4):
                    y = base - (base - ceiling) * i / 4
                    scene.steps.append(("line", [(left + 6, y), (right - 6, y)], tuple((a + 3 * b) // 4 for a, b in zip(axis, scene.ground)), 1))
            scene.steps.append(("line", [(left + 4, base), (right - 4, base)], axis, 2))
            pitch, single = (right - left) / count, rng.random() < 0.5
            scale = (base - ceiling) / max(max(values), rng.randint(60, 100))
            points = [(left + pitch * (i + 0.5), base - max(3, value * scale)) for i, value in enumerate(values)]
            first = self.rgb(colours[0])
            if style == "line":
                scene.steps.append(("line", points, first, 3))
            for (x, y), label, value, colour in zip(points, labels, values, colours):
                foot = y - (5 if style == "bar" else 9)
                foot = self.line(foot - (2 * DOWN if self.line(foot, size) > y - 3 else 0), size)      # or settling would move the number into the bar
                shade = colours[0] if single or style == "line" else colour
                fill = first if shade == colours[0] else self.rgb(shade)
                if style == "bar":
                    half = pitch * 0.32
                    scene.steps.append(("box", [(x - half, y), (x + half, base)], fill, None))
                    if base - y > 12:
                        scene.marks.append(Mark(x, (y + base) / 2, "bar", shade))
                else:
                    half = text_width(str(value), name, size) / 2 + 4      # the line stops short of the number
                    scene.steps.append(("box", [(x - half, foot - height - 2), (x + half, foot + 2)], scene.ground, None))
                    scene.steps.append(("ellipse", [(x - 5, y - 5), (x + 5, y + 5)], fill))
                    scene.marks.append(Mark(x, y, "point", shade))
                self.text(scene, x, foot, str(value), name, size, plain, "m")
                self.text(scene, x, bottom - 5, label, name, size, plain, "m")
        scene.facts = {"style": style, "labels": labels, "values": values}
        return scene

    def table(self, make=None) -> Scene:
        """A small table: a head row of columns, a first column of names, numbers in between.

        Args:
            make: gives (rows, columns, values) instead of `grid`.
        """
        rng, scene = self.random, self.scene("table", square=0.85, tall=0)
        rows, columns, values = (make or self.grid)()
        left, top, right, bottom = scene.area
        name, size, plain = rng.choice(FONTS[:4]), rng.randint(SMALL, SMALL + 1), self.plain_ink(scene)
        height = cap_height(size)
        across = min((right - left) / (len(columns) + 1), 118)
        down = min((bottom - top - 8) / (len(rows) + 1), rng.uniform(36, 60))
        x0, y0 = left + (right - left - across * (len(columns) + 1)) / 2, top + (bottom - top - down * (len(rows) + 1)) * rng.random()
        x1, y1 = x0 + across * (len(columns) + 1), y0 + down * (len(rows) + 1)
        rule, head = self.rgb("gray"), tuple((a + 3 * b) // 4 for a, b in zip(self.rgb(rng.choice(SHAPE_COLOURS)), scene.ground))
        if rng.random() < 0.5:
            scene.steps.append(("box", [(x0, y0), (x1, y0 + down)], head, None))
        for i in range(len(rows) + 2):
            if i in (0, 1, len(rows) + 1) or rng.random() < 0.5:
                scene.steps.append(("line", [(x0, y0 + i * down), (x1, y0 + i * down)], rule, 1))
        if rng.random() < 0.5:
            for j in range(len(columns) + 2):
                scene.steps.append(("line", [(x0 + j * across, y0), (x0 + j * across, y1)], rule, 1))
        for i, line in enumerate([["", *columns], *([row, *map(str, cells)] for row, cells in zip(rows, values))]):
            for j, cell in enumerate(line):
                self.text(scene, x0 + (j + 0.5) * across, y0 + (i + 0.5) * down + height / 2, cell, name, size, plain, "m")
        scene.facts = {"rows": rows, "columns": columns, "values": values}
        return scene

    def grid(self) -> tuple[list[str], list[str], list[list[int]]]:
        """Names for 2 to 5 rows and 1 or 2 columns, and a number below 200 for each cell."""
        rng = self.random
        count = rng.randint(1, 2)
        columns = rng.sample([c for c in COLUMNS if len(c) <= 5 - count], count)                # of two columns, each has room for three letters
        rows = rng.sample([w for w in NAMES + GOODS if len(w) <= 5 - count], rng.randint(2, 5))
        return rows, columns, [[rng.randint(1, 99) if rng.random() < 0.85 else rng.randint(100, 199) for _ in columns] for _ in rows]

    # -- several pictures --

    def again(self, scene: Scene, things: list[dict]) -> Scene:
        """The same ground with these things on it."""
        other = Scene(scene.kind, scene.ground, scene.area, scene.smooth)
        other.facts = {"things": [self.shape(other, **{k: v for k, v in t.items() if k != "place"}) for t in things]}
        return other

    def pair(self) -> tuple[list[Scene], dict]:
        """Two pictures of shapes with one difference, and that difference."""
        rng = self.random
        first = self.things(rng.randint(2, 4), SHAPES)
        things = [dict(t) for t in first.facts["things"]]
        free = [(x, y) for x in range(3) for y in range(3) if all((t["x"] // 112, t["y"] // 112) != (x, y) for t in things)]
        change = rng.choice(("colour", "kind", "gone", "new", "moved"))
        at = rng.randrange(len(things))
        before, after = dict(things[at]), dict(things[at])
        x, y = ((v + 0.5) * 112 for v in rng.choice(free))
        if change == "colour":
            while after["colour"] in {t["colour"] for t in things}:
                after |= {"colour": self.shape_colour(first, after["kind"]), "rgb": None}
        elif change == "kind":
            after["kind"] = rng.choice([k for k in SHAPES if k not in {t["kind"] for t in things}])
        elif change == "moved":
            after |= {"x": x, "y": y, "place": place(x, y)}
        elif change == "new":
            kind = rng.choice([k for k in SHAPES if k not in {t["kind"] for t in things}])
            colour = before["colour"]
            while colour in {t["colour"] for t in things}:
                colour = self.shape_colour(first, kind)
            after = {"kind": kind, "colour": colour, "x": x, "y": y, "r": before["r"], "place": place(x, y), "rgb": None}
            things.append(after)
        if change == "gone":
            del things[at]
        elif change != "new":
            things[at] = after
        return [first, self.again(first, things)], {"change": change, "before": before, "after": after}

    def clip(self) -> tuple[list[Scene], dict]:
        """Three to five frames in which one shape moves, changes colour, appears or disappears."""
        rng, count = self.random, self.random.randint(3, 5)
        first = self.things(rng.randint(1, 2), SHAPES)
        actor, *rest = rng.sample(first.facts["things"], len(first.facts["things"]))
        event = rng.choices(list(self.events), list(self.events.values()))[0]
        facts = {"event": event, "kind": actor["kind"], "colour": actor["colour"], "frames": count}
        frames = [dict(actor) for _ in range(count)]
        cut = rng.randint(1, count - 1)                            # where what happens at once happens
        if event == "moves":
            direction = facts["direction"] = rng.choice(("right", "left", "down", "up"))
            start, end = (44, 292) if direction in ("right", "down") else (292, 44)
            axis, cross = ("x", "y") if direction in ("right", "left") else ("y", "x")
            lane = [v for v in (56, 168, 280) if all(abs(t[cross] - v) > 70 for t in rest)]
            aside = rng.choice(lane) + rng.uniform(-14, 14)
            first_at, last_at = start + rng.uniform(-12, 30) * (1 if end > start else -1), end - rng.uniform(-12, 40) * (1 if end > start else -1)
            for i, frame in enumerate(frames):
                frame |= {axis: first_at + (last_at - first_at) * i / (count - 1), cross: aside}
        elif event == "turns":
            facts["into"] = actor["colour"]
            while facts["into"] in {actor["colour"], *(t["colour"] for t in rest)}:
                facts["into"] = self.shape_colour(first, actor["kind"])
            frames[cut:] = [{**actor, "colour": facts["into"], "rgb": None} for _ in frames[cut:]]
        seen = {"appears": range(cut, count), "disappears": range(cut)}.get(event, range(count))
        return [self.again(first, [*rest, frame] if i in seen else rest) for i, frame in enumerate(frames)], facts


# ---- pixels ---------------------------------------------------------------------------------------------------


def paint(scene: Scene) -> Image.Image:
    """The scene as the model sees it: 336x336, letterboxed in white where the picture is not square."""
    k = 2 if scene.smooth else 1
    picture = Image.new("RGB", (SIZE * k, SIZE * k), scene.ground)
    draw = ImageDraw.Draw(picture)
    for what, *rest in scene.steps:
        if what == "glyph":
            x, y, character, name, size, fill = rest
            draw.bitmap((x * k, y * k), glyph(character, name, size * k)[0], fill)
            continue
        points = [(x * k, y * k) for x, y in rest[0]]
        if what == "polygon":
            draw.polygon(points, fill=rest[1])
        elif what == "ellipse":
            draw.ellipse(points, fill=rest[1])
        elif what == "box":
            draw.rectangle(points, fill=rest[1], outline=rest[2], width=2 * k)
        elif what == "line":
            draw.line(points, fill=rest[1], width=rest[2] * k, joint="curve")
        else:
            draw.pieslice(points, rest[1], rest[2], fill=rest[3])
    if k > 1:
        picture = picture.reduce(k)
    if scene.area != (0, 0, SIZE, SIZE):
        framed = Image.new("RGB", (SIZE, SIZE), "white")
        framed.paste(picture.crop(scene.area), scene.area[:2])
        picture = framed
    return picture


def picture(scene: Scene) -> Image.Image:
    """The scene without the white padding, as one would save it."""
    return paint(scene).crop(scene.area)


def letterbox(image: Image.Image) -> Image.Image:
    """Any picture as one 336x336 tile, as the image processor makes it: scaled with its ratio kept, centred on white."""
    width, height = image.size
    scale = SIZE / max(width, height)
    small = image.convert("RGB").resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BILINEAR)
    framed = Image.new("RGB", (SIZE, SIZE), "white")
    framed.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return framed


def pixels(scene: Scene) -> np.ndarray:
    """uint8 (336, 336, 3)."""
    return np.asarray(paint(scene))


def dense(scene: Scene, cells: int = SIZE // PATCH) -> tuple[np.ndarray, np.ndarray]:
    """What has its centre in each cell: indices into KINDS (0: nothing) and COLOUR_NAMES (-1: nothing), each (cells, cells).

    Args:
        cells: 24 for patches, 12 for merged cells (where the last mark of a cell counts).
    """
    kinds, colours = np.zeros((cells, cells), np.int64), np.full((cells, cells), -1, np.int64)
    for mark in scene.marks:
        i, j = int(mark.y * cells // SIZE), int(mark.x * cells // SIZE)
        if 0 <= i < cells and 0 <= j < cells:
            kinds[i, j], colours[i, j] = KIND_INDEX[mark.kind], COLOUR_INDEX[mark.colour]
    return kinds, colours
