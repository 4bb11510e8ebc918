"""The pieces of the SVG pictures that we write ourselves: words, pictures, badges, the frame around them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from labs_helper.common.markup import escape
from labs_helper.figures.text import shorten
from labs_helper.pictures.thumbnails import data_address

if TYPE_CHECKING:
    from PIL import Image

WIDTH = 760  # pixels of every such picture


def svg(parts: Iterable[str], height: float, definitions: str = "") -> str:
    """The whole picture on white, from its parts.

    Example:
        >>> svg([words(8, 20, "a")], 30).startswith("<svg")
        True
    """
    defs = f"<defs>{definitions}</defs>" if definitions else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" fill="#111">'
        f'{defs}<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>{"".join(parts)}</svg>'
    )


def title(text: str, y: float = 20) -> str:
    """The heading of a picture; nothing for an empty one."""
    if not text:
        return ""
    return f'<text x="8" y="{y:.0f}" font-size="15" font-weight="600">{escape(shorten(text, 96))}</text>'


def words(x: float, y: float, text: str, anchor: str = "start") -> str:
    """One line of words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}">{escape(text)}</text>'


def badge(x: float, y: float, text: str, size: int) -> str:
    """A short word on white, in the corner of a picture."""
    wide, high = size * (0.7 * len(text) + 0.8), size * 1.4
    return (
        f'<rect x="{x + 2:.1f}" y="{y + 2:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="2" fill="#fff" '
        f'stroke="#111"/>'
        f'<text x="{x + 2 + wide / 2:.1f}" y="{y + 2 + 1.08 * size:.1f}" font-size="{size}" font-weight="600" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


def embedded(image: Image.Image, x: float, y: float, width: int, height: int | None = None) -> str:
    """A small copy of a picture, with a line around it."""
    height = height or width
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width}" height="{height}"'
    return (
        f'<image {box} preserveAspectRatio="none" href="{data_address(image, width, height)}"/>'
        f'<rect {box} fill="none" stroke="#555" stroke-width="1"/>'
    )
