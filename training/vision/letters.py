"""Letters on a grid of cells: no two glyphs share a cell, so a row of the decoder's context holds one at most.

The next glyph starts at least 28 pixels further, and so does the next line: the order of the rows is the order of
reading. Lines and letters also keep away from the borders of cells (`settled`), where one pixel decides which cell a
letter belongs to.
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


def text_width(text: str, name: str, size: int) -> int:
    """Width of a line of text: natural advances, but none below a cell."""
    return sum(max(CELL, glyph(c, name, size)[1] + 1) if c != " " else size // 2 for c in text)


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
