"""Fonts for labels that matplotlib's own font cannot draw: Hangul.

The course's pictures are SVG with text as text. The browser draws it, and finds Hangul itself. matplotlib needs a font
with Hangul only to measure how long a label is, and to draw a PNG.
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
# What macOS, Windows and Linux distributions bring, best first.
_WITH_HANGUL = (
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Malgun Gothic",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Noto Sans CJK JP",
    "UnDotum",
)
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


def has_hangul(text: str) -> bool:
    """Whether a text has a Korean letter.

    Example:
        has_hangul("토큰")      # True
    """
    return _HANGUL.search(text) is not None


@cache
def hangul() -> str | None:
    """A font of this computer that has Hangul; None if there is none.

    Example:
        hangul()      # 'Noto Sans CJK KR'
    """
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _WITH_HANGUL if name in installed), None)


def advice() -> str:
    """What to do where a PNG needs Hangul and no font has it."""
    return _(
        "No font on this computer has Hangul, so the picture shows boxes. Install one (on Debian and Ubuntu: sudo apt "
        "install fonts-noto-cjk), and restart the kernel."
    )


@contextmanager
def measuring(drawing: Canvas, kind: str) -> Iterator[bool]:
    """Measure and draw the labels of a matplotlib figure with a font that has their letters, if there is one.

    matplotlib warns of letters that its font lacks. In an SVG that means nothing, as the browser draws them, and of
    Hangul in a PNG `advice` speaks.

    Args:
        drawing: the figure.
        kind: of the picture that it becomes, "svg" or "png".

    Yields:
        Whether every Korean label can be drawn.
    """
    from matplotlib.text import Text

    font = hangul()
    with warnings.catch_warnings():
        korean = [text for text in drawing.findobj(Text) if has_hangul(text.get_text())]
        if kind == "svg" or font is None:
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        if font is not None:
            for text in korean:
                text.set_fontfamily([OWN, font])
        yield font is not None or not korean
