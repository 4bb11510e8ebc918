"""Refuse a translation that changes more than the words.

Each check compares an English unit with its translation and says what differs. None of them judges the language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from labs_helper.common.particles import FORMS, SPELLED
from labs_helper.common.translate import _
from labs_helper.course.translation import blocks, quantities, terms
from labs_helper.course.translation.blocks import Kind

_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
_TARGET = re.compile(r"\]\(\s*<?([^)\s>]+)")
_ADDRESS = re.compile(r"""https?://[^\s)>"'`가-힣]*[\w/]""", re.A)
_FORMULA = re.compile(r"(?<![\\$])\$(?=[^\s$])([^$\n]*[^\s$\\])\$(?!\d)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->")
_PLACE = re.compile(r"\{(?!\w+: )[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")  # {size: a number} is a dict that is described
_ESCAPE = re.compile(r"\\[nrt]")
_EMPHASIS = re.compile(r"(\*{1,2})(?=\S)(.+?)(?<=\S)\1")
_BOLD = re.compile(r"\*\*")
_MARKS = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_AFTER_A_PLACE = re.compile(
    rf"\}}[`'\"”’*]*({'|'.join(sorted({form for pair in FORMS.values() for form in pair}))})(?=[\s.,:;!?]|$)"
)

_BOTH_AFTER_A_PLACE = re.compile(rf"\}}[`'\"”’*]*({'|'.join(re.escape(form) for form in SPELLED)})")


def problems(english: str, translation: str, kind: Kind | None = None, language: str = "") -> list[str]:
    """What a translation changes that is not words, one short phrase each.

    Args:
        english: the unit.
        translation: what a translator wrote for it.
        kind: what the unit is; None for a message of the package.
        language: its code; with it, the table of terms counts too.

    Example:
        problems("Run `labs doctor`.", "`labs doktor`를 실행하세요.")
    """
    found = [problem for check in _CHECKS if (problem := check(english, translation, kind))]
    if kind in ("heading", "paragraph", "list item", "table row"):
        found += _structure(english, translation, kind)
    if kind in (None, "text in code") and language == "ko" and (particle := _AFTER_A_PLACE.search(translation)):
        found.append(
            _("the particle {particle!r} after a place: spell both forms, such as 은(는)").format(particle=particle[1])
        )
    if kind == "text in code" and language == "ko" and (both := _BOTH_AFTER_A_PLACE.search(translation)):
        found.append(
            _("{particle!r} after a place: nothing picks a form in code, so word it without").format(particle=both[1])
        )
    return found + terms.problems(english, translation, terms.table(language) if language else ())


def _difference(name: str, one: Counter[str], other: Counter[str]) -> str:
    lost, added = sorted((one - other).elements()), sorted((other - one).elements())
    parts = [_("lost: {items}").format(items=", ".join(lost))] if lost else []
    parts += [_("added: {items}").format(items=", ".join(added))] if added else []
    return f"{name} ({'; '.join(parts)})"


def _same(name: Callable[[], str], find: Callable[[str], Iterator[str]]) -> Callable[[str, str, Kind | None], str]:
    """A check that both texts hold the same things of one kind, in any order."""

    def check(english: str, translation: str, kind: Kind | None) -> str:
        one, other = Counter(find(english)), Counter(find(translation))
        return "" if one == other else _difference(name(), one, other)

    return check


def _places(english: str, translation: str, kind: Kind | None) -> str:
    if kind not in (None, "text in code"):
        return ""
    one, other = set(_PLACE.findall(english)), set(_PLACE.findall(translation))
    return "" if one == other else _difference(_("places differ"), Counter(one), Counter(other))


def _numbers(english: str, translation: str, _kind: Kind | None) -> str:
    plain, said = (_without(text) for text in (english, translation))
    one, other = Counter(quantities.stated(plain)), Counter(quantities.stated(said))
    free = quantities.in_words(plain)
    lost = dict(one - other)
    # A term may come with its English at first use: 4비트(4 bits).
    added = {value: count for value, count in (other - one).items() if value not in free and value not in one}
    # English says a scale once for two numbers, 41.9 and 6.6 billion. Korean says it with each: 419억, 66억.
    for value in list(lost):
        scaled = {(value * scale).normalize() for scale in quantities.scales(plain)} & added.keys()
        if scaled:
            del lost[value], added[scaled.pop()]
    if not lost and not added:
        return ""
    return _difference(
        _("numbers differ"),
        Counter({f"{value:f}": count for value, count in lost.items()}),
        Counter({f"{value:f}": count for value, count in added.items()}),
    )


def _emphasis(_english: str, translation: str, kind: Kind | None) -> str:
    """In Markdown a mark between a bracket and a letter does not close: **토큰(token)**은 stays as it is written."""
    if kind not in ("heading", "paragraph", "list item", "table row"):
        return ""
    text = _CODE.sub("`", translation)
    for span in _EMPHASIS.finditer(text):
        before, after = text[span.start() - 1 : span.start()], text[span.end() : span.end() + 1]
        if (before.isalnum() and not span[2][0].isalnum()) or (after.isalnum() and not span[2][-1].isalnum()):
            return _("Markdown does not see the emphasis of {text!r}: move the bracket or the letter").format(
                text=span[0]
            )
    return ""


def _quotes(_english: str, translation: str, kind: Kind | None) -> str:
    return _("a double quote would end the alt text") if kind == "alt text" and '"' in translation else ""


def _edges(english: str, translation: str, kind: Kind | None) -> str:
    if kind not in (None, "text in code"):
        return ""
    same = english[:1].isspace() == translation[:1].isspace() and english[-1:].isspace() == translation[-1:].isspace()
    return "" if same else _("a space at the beginning or the end differs")


def _marks(english: str, translation: str, _kind: Kind | None) -> str:
    hidden = Counter(_MARKS.findall(translation)) - Counter(_MARKS.findall(english))
    if not hidden:
        return ""
    return _("invisible marks: {marks}").format(marks=", ".join(f"U+{ord(mark):04X}" for mark in hidden))


def _columns(english: str, translation: str, kind: Kind | None) -> str:
    if kind != "table row":
        return ""
    one, other = (len(re.findall(r"(?<!\\)\|", _CODE.sub("", text))) for text in (english, translation))
    if one == other:
        return ""
    return _("the row has {other} columns, not {one}").format(one=one - 1, other=other - 1)


def _structure(english: str, translation: str, kind: Kind) -> list[str]:
    """A heading stays a heading, and a paragraph does not become a list."""
    one, other = ([(piece.kind, bool(piece.text)) for piece in blocks.cut(text)] for text in (english, translation))
    return [] if one == other else [_("it would be more than one {kind} in Markdown").format(kind=kind)]


def _without(text: str) -> str:
    """A text without what has its own check."""
    for pattern in (_CODE, _FORMULA, _TAG, _PLACE, _ADDRESS):
        text = pattern.sub(" ", text)
    return re.sub(r"\]\([^)]*\)", "] ", text)


_CHECKS = (
    _places,
    _same(lambda: _("code differs"), lambda text: (match[2] for match in _CODE.finditer(text))),
    _same(lambda: _("links differ"), lambda text: iter(_TARGET.findall(text))),
    _same(lambda: _("addresses differ"), lambda text: iter(_ADDRESS.findall(text))),
    _same(lambda: _("formulas differ"), lambda text: iter(_FORMULA.findall(_CODE.sub(" ", text)))),
    _same(lambda: _("HTML differs"), lambda text: iter(_TAG.findall(_CODE.sub("", text)))),
    _same(lambda: _("bold marks differ"), lambda text: iter(_BOLD.findall(_CODE.sub("", text)))),
    _same(lambda: _("line ends and tabs differ"), lambda text: iter(_ESCAPE.findall(_CODE.sub("", text)))),
    _numbers,
    _edges,
    _emphasis,
    _quotes,
    _marks,
    _columns,
)
