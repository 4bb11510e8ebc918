"""Plain-text helpers: how wide a string is on screen, aligned tables, tokens made visible."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Sequence

from labs_helper.common.markup import printable
from labs_helper.common.translate import _

# Whitespace that a reader must be able to see in a token. The signs are ordinary characters, so that they
# also survive in plain text. SentencePiece marks a leading space the same way as the first of them.
_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "▁": "␣"}


def display_width(text: str) -> int:
    """Columns that `text` takes in a terminal: Chinese, Japanese and Korean characters take two.

    Example:
        >>> display_width("abc"), display_width("长沙")
        (3, 4)
    """
    width = 0
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
            continue
        width += 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
    return width


def pad(text: str, width: int, align: str = "left") -> str:
    """`text` filled with spaces up to `width` screen columns.

    Example:
        >>> pad("长", 4) + "|"
        '长  |'
    """
    space = " " * max(0, width - display_width(text))
    return space + text if align == "right" else text + space


def joined(*parts: str) -> str:
    """The parts of a plain form below each other, those that are empty left out.

    Example:
        >>> joined("title", "", "takeaway")
        'title\\ntakeaway'
    """
    return "\n".join(part for part in parts if part)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Collection[int] = ()) -> str:
    """An aligned table. `right` lists the numbers of the columns that are aligned to the right.

    Example:
        >>> print(text_table(["a", "n"], [["x", 1], ["yy", 20]], right=[1]))
        a    n
        --  --
        x    1
        yy  20
    """
    cells = [[printable(str(cell)).replace("\n", " ") for cell in row] for row in rows]
    widths = [max([display_width(name)] + [display_width(row[i]) for row in cells]) for i, name in enumerate(columns)]

    def line(row: Sequence[str]) -> str:
        parts = [pad(cell, widths[i], "right" if i in right else "left") for i, cell in enumerate(row)]
        return "  ".join(parts).rstrip()

    return "\n".join(map(line, [columns, ["-" * width for width in widths], *cells]))


def visible(piece: str) -> str:
    """A token with its spaces and line breaks shown as signs; an empty one as "(empty)".

    Example:
        >>> visible(" is\\n")
        '␣is↵'
    """
    if piece == "":
        return _("(empty)")
    return "".join(_SIGNS.get(character, character) for character in printable(piece))


def percent(logprob: float) -> str:
    """The probability behind a natural logarithm, as text.

    Example:
        >>> percent(0.0), percent(-100.0)
        ('100 %', '<0.1 %')
    """
    value = 100 * math.exp(min(0.0, logprob))
    if value < 0.1:
        return "<0.1 %"
    return "100 %" if value >= 99.95 else f"{value:.1f} %"


def number(value: object) -> str:
    """A number for a label: as printed, no trailing zeros, thousands separated.

    Example:
        >>> number(51.08), number(1500), number(37.0)
        ('51.08', '1,500', '37')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def shorten(text: str, width: int) -> str:
    """`text` cut to `width` screen columns, with "…" where something was cut.

    Example:
        >>> shorten("abcdef", 4)
        'abc…'
    """
    if display_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if display_width(kept + character) > width - 1:
            break
        kept += character
    return kept + "…"
