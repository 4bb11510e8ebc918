"""The parts of a question that a plan may copy.

A small model copies unfamiliar words with mistakes. Where an argument can only be a part of the question, the schema
lists the parts, and a guided model has to choose one of them: it still decides which, but it cannot misspell it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MOST_CHARACTERS = 200_000  # of all parts together; a longer list costs more time than the copy is worth

# Chinese and Japanese write words without spaces, so a name may begin and end at each character. In Korean a particle
# may follow: a name ends at any syllable, and begins where the word does.
_UNSPACED = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HANGUL = "\uac00-\ud7a3"
_LATIN = "a-zA-Z\u00c0-\u024f"
_FOR_NAMES = re.compile(rf"\s+|[{_UNSPACED}{_HANGUL}]|[^\W_{_UNSPACED}{_HANGUL}]+|.", re.DOTALL)
# "it's", "10:30" and "v3.5" are words: their signs set nothing apart.
_FOR_TEXTS = re.compile(rf"\s+|[{_LATIN}]+(?:['\u2019][{_LATIN}]+)+|[{_LATIN}]*\d+(?:[.:]\d+)+|\w+|.", re.DOTALL)

_QUOTES = {
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u00ab": "\u00bb",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
    "\u300a": "\u300b",
}
_SETS_APART = {'"', "'", "`", "\uff02", "\uff07", ":", "\uff1a", "\n", *_QUOTES, *_QUOTES.values()}
_ENDS_SENTENCE = set(".?!\u2026\u3002\uff1f\uff01\u00a1\u00bf")


@dataclass(frozen=True)
class FromQuestion:
    """Marks an argument of a tool: a part of the question, letter by letter.

    Attributes:
        kind: "text", for what people put in quotation marks, after a colon or on a line of its own (any run of whole
            words if the question has none of these); "name", which may also begin or end inside a run of letters,
            as Korean particles and Chinese or Japanese text follow a name without a space.

    Example:
        def shout(text: Annotated[str, FromQuestion("text")]) -> str: ...
    """

    kind: Literal["text", "name"]


def parts_of(question: str, mark: FromQuestion, longest: int) -> list[str] | None:
    """The different parts of a question that an argument may be, in the order of their beginnings.

    Args:
        question: as it was typed; its NFC form is what a model reads, so the parts are of that.
        mark: where a part may begin and end.
        longest: characters of the longest part.

    Returns:
        None if the list would grow too long to be of use.

    Example:
        >>> parts_of('Count the words in "to be".', FromQuestion("text"), 60)
        ['Count the words in', 'Count the words in "to be".', 'to be', '.']
        >>> parts_of("Kenya's flag", FromQuestion("name"), 60)
        ['Kenya', "Kenya's", "Kenya's flag", 's', 's flag', 'flag']
    """
    question = unicodedata.normalize("NFC", question.strip())
    texts = mark.kind == "text"
    pieces = (_FOR_TEXTS if texts else _FOR_NAMES).findall(question)
    starts, ends = _around_texts(pieces) if texts else _around_names(pieces)
    parts: dict[str, None] = {}
    characters = 0
    for first in (index for index, allowed in enumerate(starts) if allowed):
        part = ""
        for last in range(first, len(pieces)):
            part += pieces[last]
            if len(part) > longest:
                break
            if ends[last] and part not in parts and (not texts or _quotes_close(pieces[first : last + 1])):
                parts[part] = None
                characters += len(part)
        if characters > MOST_CHARACTERS:
            return None
    return list(parts)


def _quotes_close(pieces: Sequence[str]) -> bool:
    """Whether each quotation that begins in a part also ends in it."""
    count = Counter(pieces)
    return all(count[sign] % 2 == 0 for sign in "\"'`") and all(
        count[left] == count[right] for left, right in _QUOTES.items()
    )


def _around_names(pieces: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """For each piece, whether a name may begin with it, and whether one may end with it."""
    words = [piece[0].isalnum() for piece in pieces]
    syllables = [re.match(f"[{_HANGUL}]", piece) is not None for piece in pieces]
    inside = [index > 0 and syllables[index - 1] and own for index, own in enumerate(syllables)]
    return [word and not within for word, within in zip(words, inside, strict=True)], words


def _around_texts(pieces: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """The same for a text: it lies between two signs that set it apart, or ends a sentence."""
    apart = [piece in _SETS_APART or (piece.isspace() and "\n" in piece) for piece in pieces]
    solid = [index for index, piece in enumerate(pieces) if apart[index] or not piece.isspace()]
    starts, ends = [False] * len(pieces), [False] * len(pieces)
    edges = [True, *(apart[index] or pieces[index] in _ENDS_SENTENCE for index in solid), True]
    for place, index in enumerate(solid):
        if not apart[index]:
            starts[index] = edges[place] or not any(apart)
            ends[index] = edges[place + 1] or edges[place + 2] or not any(apart)
    return starts, ends
