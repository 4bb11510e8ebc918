"""The terms of a language: the table in docs/<language>/style.md, and where a translation does not keep to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.common.translate import _

_BEGIN, _END = "<!-- terms: begin -->", "<!-- terms: end -->"
_CODE = re.compile(
    r"(`+)(?!`).+?(?<!`)\1(?!`)|\$[^$]+\$|(?<=\]\()[^)\s]+(?=[)\s])|\{[^{}]*\}|https?://\S+"
    r"|\blabs (?:board|doctor|models|notebooks|progress|reset|translate|update|workshop)(?: [a-z-]+)*"
    r"|Reload Notebook from Disk|GitHub Models|\b[A-Za-z_][A-Za-z_.]*(?:\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\])",
    re.S,
)


@dataclass(frozen=True)
class Term:
    """One line of the table.

    Attributes:
        english: how the English is found.
        words: what the translation says for it, one of them.
        never: what it must not say.
    """

    english: str
    words: tuple[str, ...]
    never: tuple[str, ...]

    def problem(self, english: str, translation: str) -> str | None:
        """What is wrong with a translation, or None."""
        if not re.search(rf"(?<![\w./=-])(?:{self.english})(?![\w/=-]|\.\w)", english, re.I):
            return None
        for word in self.never:
            if word in translation:
                return _("it says {word!r}; the term is {term!r}").format(word=word, term=self.words[0])
        if not any(word in translation for word in self.words):
            return _("it lacks {term!r}, the term for {english!r}").format(term=self.words[0], english=self.english)
        return None


def table(language: str) -> tuple[Term, ...]:
    """The terms of a language; none where it has no style guide.

    Example:
        table("ko")[0].words
    """
    return _read(course_folder() / "docs" / language / "style.md")


@cache
def _read(file: Path) -> tuple[Term, ...]:
    if not file.is_file():
        return ()
    text = file.read_text("utf-8")
    rows = text[text.find(_BEGIN) : text.find(_END)].splitlines()
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows if row.startswith("|")]
    return tuple(Term(_pattern(row[0]), _parts(row[1]), _parts(row[2])) for row in cells[2:] if len(row) >= 3)


def problems(english: str, translation: str, terms: tuple[Term, ...]) -> list[str]:
    """Where a translation does not keep to the terms. Code, formulas and links do not count.

    Example:
        problems("a token", "한 토큰", table("ko"))      # []
    """
    if english == translation:  # code, or a name
        return []
    plain, said = _CODE.sub(" ", english), _CODE.sub(" ", translation)
    return [found for term in terms if (found := term.problem(plain, said))]


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(",") if part.strip())


def _pattern(cell: str) -> str:
    """The words of a cell; `*` stands for an ending."""
    return "|".join(
        rf"{re.escape(word[:-1])}\w*" if word.endswith("*") else f"{re.escape(word)}s?" for word in _parts(cell)
    )
