"""Fonts for labels that matplotlib's own font cannot draw: Korean, Chinese and Japanese.

The course's pictures are SVG with text as text. The browser draws it, and finds the letters itself. matplotlib needs
a font that has them only to measure how long a label is, and to draw a PNG.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from labs_helper.common.translate import _

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

OWN = "DejaVu Sans"  # comes with matplotlib
# What macOS, Windows and Linux distributions bring, best first. Each has Hangul, and most have the others too.
_EAST_ASIAN = (
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Malgun Gothic",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Noto Sans CJK JP",
    "UnDotum",
)
# Hangul, kana and Chinese characters, and their punctuation.
_LETTERS = re.compile("[\u1100-\u11ff\u3000-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]")


def is_east_asian(text: str) -> bool:
    """Whether a text has a Korean, Chinese or Japanese letter.

    Example:
        is_east_asian("토큰")      # True
    """
    return _LETTERS.search(text) is not None


@cache
def east_asian() -> str | None:
    """A font of this computer that has these letters; None if there is none.

    Example:
        east_asian()      # 'Noto Sans CJK KR'
    """
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _EAST_ASIAN if name in installed), None)


def advice() -> str:
    """What to do where a PNG needs such letters and no font has them."""
    return _(
        "No font on this computer has Korean, Chinese and Japanese letters, so the picture shows boxes. Install one "
        "(on Debian and Ubuntu: sudo apt install fonts-noto-cjk), and restart the kernel."
    )


@contextmanager
def measuring(drawing: Canvas, kind: str) -> Iterator[bool]:
    """Measure and draw the labels of a matplotlib figure with a font that has their letters, if there is one.

    matplotlib warns of letters that its font lacks. In an SVG that means nothing, as the browser draws them, and of
    those in a PNG `advice` speaks.

    Args:
        drawing: the figure.
        kind: of the picture that it becomes, "svg" or "png".

    Yields:
        Whether every label can be drawn.
    """
    from matplotlib.text import Text

    font = east_asian()
    with warnings.catch_warnings():
        labels = [text for text in drawing.findobj(Text) if is_east_asian(text.get_text())]
        if kind == "svg" or font is None:
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        if font is not None:
            for text in labels:
                text.set_fontfamily([OWN, font])
        yield font is not None or not labels
