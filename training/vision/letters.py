"""Letters on a grid of cells: no two glyphs share a cell, so a row of the decoder's context holds one at most.

Letters of a word stand at one pitch, 28, 42 or 56 pixels from centre to centre, so that people see a word with even
gaps; the next line is at least 28 pixels further. So the order of the rows is the order of reading. Lines and letters
also keep away from the borders of cells (`settled`), where one pixel decides which cell a letter belongs to.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.vision.scene import CELL

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold")
SMALL, LARGE = 26, 46  # font sizes; DejaVu's capitals are 0.73 of it
ACROSS, DOWN = 6, 8  # pixels from a letter's centre to the border of its cell, at least


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
    """The distance between the centres of a word's letters: one cell, one and a half or two, as the widest letter asks.

    At other distances some letter would stand on a border of cells, or be moved away from it and leave uneven gaps.

    >>> pitch("LEMON", "DejaVuSans", 26), pitch("ZEBRA", "DejaVuSans-Bold", 46)
    (28, 42)
    """
    widest = max(glyph(c, name, size)[1] for c in word)
    return next((step for step in (CELL, CELL * 3 // 2) if widest <= step + 4), 2 * CELL)


def text_width(text: str, name: str, size: int) -> int:
    """Width of a line of text: the pitch of each word for each of its letters, and the spaces."""
    return sum(pitch(word, name, size) * len(word) for word in text.split()) + text.count(" ") * (size // 2)


def first_centre(x: float, step: int) -> float:
    """The centre nearest to x for a word's first letter.

    From there all letters, `step` apart, keep away from the borders of cells.

    >>> first_centre(29, 28), first_centre(40, 28), first_centre(40, 42), first_centre(57, 42)
    (34, 40, 35, 63)
    """
    return settled(x) if step % CELL == 0 else round((x - CELL / 4) / (CELL / 2)) * CELL // 2 + CELL // 4


def settled(centre: float, margin: int = ACROSS) -> float:
    """The nearest centre that is at least `margin` pixels away from every border of cells.

    Centres that are a cell apart stay a cell apart.

    >>> settled(29), settled(40), settled(57)
    (34, 40, 62)
    """
    return centre // CELL * CELL + min(max(centre % CELL, margin), CELL - margin)


def cap_height(size: int) -> int:
    """Height of a capital letter."""
    return glyph("H", FONTS[0], size)[0].height
