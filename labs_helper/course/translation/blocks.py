"""Cut Markdown into units for a translator, and put it together again, byte for byte.

A unit is a paragraph, a heading, an item of a list or a row of a table, without the marks that make it one: `## `,
`- `. A translator cannot change those. Lines that are wrapped are joined: a new line break in the English changes no
unit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["heading", "paragraph", "list item", "table row", "alt text", "comment", "text in code"]

_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"(\s*#{1,6}[ \t]+)(.*)")
_ITEM = re.compile(r"(\s*(?:[-*+]|\d+[.)])[ \t]+)(.*)")
_ROW = re.compile(r"\s*\|.*\|\s*")
_RULE = re.compile(r"[\s|:-]*")
_TAGS_ONLY = re.compile(r"\s*(?:<[^<>]+>\s*)+|\s*<!--.*-->\s*")
_ALT = re.compile(r'(?<=\balt=")[^"]+')
_FORMULA = re.compile(r"\s*\$\$.*\$\$\s*", re.S)
_LETTER = re.compile(r"[^\W\d_]")
_BREAK = re.compile(r"(?: {2,}|\\)\n")  # Markdown's two forms of a line break inside a paragraph
_WRAPPED = re.compile(r"[ \t]*\n[ \t]*")


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        source: as it is in the text, line breaks included.
        text: the unit that a translator sees; empty for what is not translated.
        kind: what it is.
        line: its first line in the text, from 0.
    """

    source: str
    text: str = ""
    kind: Kind = "paragraph"
    line: int = 0


def cut(markdown: str) -> list[Piece]:
    """The pieces of a text. Their sources, joined, are the text.

    Example:
        [piece.text for piece in cut("# Title\\n\\n- one\\n- two") if piece.text]      # ['Title', 'one', 'two']
    """
    pieces: list[Piece] = []
    waiting: list[str] = []
    kind: Kind = "paragraph"
    start = 0

    def finish() -> None:
        if waiting:
            pieces.extend(_unit("".join(waiting), kind, start))
            waiting.clear()

    fence = ""
    for number, line in enumerate(markdown.splitlines(keepends=True)):
        opening = _FENCE.match(line)
        if fence or opening:
            finish()
            pieces.append(Piece(line, line=number))
            fence = "" if fence and line.strip().startswith(fence) else fence or (opening[1] if opening else "")
        elif _TAGS_ONLY.fullmatch(line) and (alt := _ALT.search(line)):
            finish()
            pieces.append(Piece(line[: alt.start()], line=number))
            pieces.append(Piece(alt[0], alt[0], "alt text", number))
            pieces.append(Piece(line[alt.end() :], line=number))
        elif not line.strip() or _TAGS_ONLY.fullmatch(line) or (_ROW.fullmatch(line) and _RULE.fullmatch(line)):
            finish()
            pieces.append(Piece(line, line=number))
        elif marked := _HEADING.match(line) or _ITEM.match(line):
            finish()
            pieces.append(Piece(marked[1], line=number))
            kind, start = ("heading" if marked[1].lstrip().startswith("#") else "list item"), number
            waiting.append(line[len(marked[1]) :])
            if kind == "heading":
                finish()
                kind = "paragraph"
        elif _ROW.fullmatch(line):
            finish()
            pieces.extend(_unit(line, "table row", number))
        else:
            if not waiting:
                kind, start = "paragraph", number
            waiting.append(line)
    finish()
    return pieces


def join(pieces: list[Piece], translate: Callable[[str], str | None]) -> str:
    """The text again, with the units that have a translation in other words.

    Args:
        pieces: what `cut` gives.
        translate: the translation of a unit, or None.

    Example:
        join(cut("# Title"), {"Title": "제목"}.get)      # '# 제목'
    """
    return "".join(_put(piece, translate(piece.text)) if piece.text else piece.source for piece in pieces)


def units(markdown: str) -> Iterator[Piece]:
    """The pieces that are translated."""
    return (piece for piece in cut(markdown) if piece.text)


def _unit(source: str, kind: Kind, line: int) -> list[Piece]:
    body = source.strip()
    if _FORMULA.fullmatch(source) or not _LETTER.search(body):
        return [Piece(source, line=line)]
    text = "\n".join(_WRAPPED.sub(" ", part) for part in _BREAK.split(body))
    return [Piece(source, text, kind, line)]


def _put(piece: Piece, translation: str | None) -> str:
    if translation is None:
        return piece.source
    before = piece.source[: len(piece.source) - len(piece.source.lstrip())]
    after = piece.source[len(piece.source.rstrip()) :]
    return before + translation.replace("\n", "  \n") + after
