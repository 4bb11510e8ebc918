"""A sheet to draw on: twice the size while drawing, reduced at the end, so that edges are soft."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.vision.icons import ICON_STEPS

SANS, BOLD, MONO, SERIF, HAND = "DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif", "cmti10"
# Debian's package fonts-noto-cjk (SIL Open Font License); the number picks the language inside the file.
CJK = "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"
KOREAN, CHINESE = (CJK, 1), (CJK, 2)
INK, PAPER = (34, 36, 42), (252, 251, 246)
WHITE, GREY, SKY, GRASS = (255, 255, 255), (128, 132, 138), (205, 228, 244), (150, 196, 120)
RED, GREEN, BLUE, YELLOW = (204, 48, 44), (40, 140, 72), (38, 92, 180), (246, 206, 60)
BROWN, ORANGE = (132, 90, 56), (236, 134, 40)


@cache
def face(name: str | tuple[str, int], size: int) -> ImageFont.FreeTypeFont:
    """A font of matplotlib's by name, or (file, number in it)."""
    import matplotlib

    if isinstance(name, tuple):
        return ImageFont.truetype(name[0], size, index=name[1])
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)


class Sheet:
    """Coordinates in pixels of the finished picture.

    Example:
        >>> sheet = Sheet(100, 50)
        >>> sheet.box(10, 10, 90, 40, (200, 0, 0))
        >>> sheet.done().size
        (100, 50)
    """

    def __init__(self, width: int, height: int, ground=PAPER):
        self.image = Image.new("RGB", (2 * width, 2 * height), ground)
        self.pen = ImageDraw.Draw(self.image)

    def box(self, x0, y0, x1, y1, fill=None, edge=None, width=1, radius=0) -> None:
        self.pen.rounded_rectangle((2 * x0, 2 * y0, 2 * x1, 2 * y1), 2 * radius, fill, edge, 2 * width)

    def disc(self, x, y, rx, ry=None, fill=None, edge=None, width=1) -> None:
        ry = rx if ry is None else ry
        self.pen.ellipse((2 * (x - rx), 2 * (y - ry), 2 * (x + rx), 2 * (y + ry)), fill, edge, 2 * width)

    def polygon(self, points: Sequence[tuple[float, float]], fill, edge=None, width=1) -> None:
        self.pen.polygon([(2 * x, 2 * y) for x, y in points], fill, edge, 2 * width)

    def line(self, points: Sequence[tuple[float, float]], fill=INK, width=1) -> None:
        self.pen.line([(2 * x, 2 * y) for x, y in points], fill, round(2 * width), joint="curve")

    def arc(self, x, y, r, start, end, fill=INK, width=1) -> None:
        self.pen.arc((2 * (x - r), 2 * (y - r), 2 * (x + r), 2 * (y + r)), start, end, fill, 2 * width)

    def text(self, x, y, text: str, size=16, font=SANS, fill=INK, anchor="la") -> None:
        self.pen.text((2 * x, 2 * y), text, fill, face(font, 2 * size), anchor=anchor)

    def turned(self, x, y, text: str, angle: float, size=16, font=SANS, fill=INK) -> None:
        """A line of text around (x, y), turned against the clock."""
        letters = face(font, 2 * size)
        left, top, right, bottom = letters.getbbox(text)
        mask = Image.new("L", (math.ceil(right - left) + 8, math.ceil(bottom - top) + 8))
        ImageDraw.Draw(mask).text((4 - left, 4 - top), text, 255, letters)
        mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        self.image.paste(fill, (round(2 * x - mask.width / 2), round(2 * y - mask.height / 2)), mask)

    def icon(self, kind: str, x, y, r, fill) -> None:
        """One of vision-tiny's icons, at any size."""
        for what, points, own in ICON_STEPS[kind]:
            at = [(x + r * px, y + r * py) for px, py in points]
            if what == "polygon":
                self.polygon(at, own or fill)
            else:
                self.pen.ellipse([(2 * px, 2 * py) for px, py in at], own or fill)

    def grid(
        self,
        x,
        y,
        widths: Sequence[int],
        height: int,
        rows: Sequence[Sequence[str]],
        size=15,
        head=(222, 230, 240),
        right=(),
    ) -> None:
        """A ruled table; `right` lists the columns set to the right."""
        end = x + sum(widths)
        self.box(x, y, end, y + height, head)
        for i in range(len(rows) + 1):
            self.line([(x, y + i * height), (end, y + i * height)], (120, 126, 136), 1.5 if i < 2 else 0.7)
        for i, row in enumerate(rows):
            left = x
            for j, (cell, width) in enumerate(zip(row, widths)):
                at = (left + width - 10, "rm") if j in right else (left + 10, "lm")
                self.text(at[0], y + (i + 0.5) * height, cell, size, BOLD if i == 0 else SANS, anchor=at[1])
                left += width

    def done(self) -> Image.Image:
        return self.image.reduce(2)
