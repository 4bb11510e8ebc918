"""The numbers that a sentence states, as values: 3.8 billion and 38억 are one number."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_NUMBER = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?|\d*\.\d+)"
    r"(?:[ -]?(thousand|million|billion|trillion|mil millones|millones|mil)\b|\s?((?:[십백천]?[만억조])|천)(?!이|큼))?"
)
_TENS_OF = {"": 1, "십": 10, "백": 100, "천": 1000}
_SCALES = {
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "mil": 10**3,
    "millones": 10**6,
    "mil millones": 10**9,
    "천": 10**3,
    **{
        tens + unit: by * size
        for unit, size in (("만", 10**4), ("억", 10**8), ("조", 10**12))
        for tens, by in _TENS_OF.items()
    },
}
_TO_TWENTY = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty"""
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"
_MONTHS = "january february march april may june july august september october november december"
_WORDS = {
    **{word: value for value, word in enumerate(_TO_TWENTY.split())},
    **{word: value for value, word in zip(range(30, 100, 10), _TENS.split())},
    **{word: value for value, word in enumerate(_ORDINALS.split(), start=1)},
    **{word: value for value, word in enumerate(_MONTHS.split(), start=1)},
    "a": 1,
    "an": 1,
    "once": 1,
    "single": 1,
    "twice": 2,
    "both": 2,
    "pair": 2,
    "half": 2,
    "quarter": 4,
    "hundred": 100,
    "thousand": 1000,
    "thousandth": 1000,
    "million": 10**6,
}


def stated(text: str) -> list[Decimal]:
    """The numbers that are written in digits, in order of size.

    Example:
        stated("369 million, 2.15 GB") == stated("3억 6,900만, 2.15GB")      # True
    """
    values: list[Decimal] = []
    end, smallest = -1, 0  # where the last Korean number ended, and its scale
    for match in _NUMBER.finditer(text):
        try:
            value = Decimal(match[1].replace(",", ""))
        except InvalidOperation:
            continue
        scale = _SCALES.get(match[2] or match[3] or "", 1)
        value *= scale
        if match[3] and match.start() == end + 1 and text[end] == " " and scale < smallest:
            value += values.pop()  # 3억 6,900만 is one number
        values.append(value)
        end, smallest = (match.end(), scale) if match[3] else (-1, 0)
    return sorted(value.normalize() for value in values)


def in_words(text: str) -> set[Decimal]:
    """The numbers that an English text writes as words, which a translation may write in digits.

    Example:
        in_words("sixteen experts, since May")      # {Decimal('16'), Decimal('5')}
    """
    words = re.findall(r"[a-z]+", text.lower())
    known = (word if word in _WORDS else word.removesuffix("s") for word in words)  # two thirds: 3분의 2
    return {Decimal(_WORDS[word]).normalize() for word in known if word in _WORDS}


def scales(text: str) -> set[int]:
    """The scales of the numbers in a text, such as 10**9 for 6.6 billion.

    Example:
        scales("41.9 and 6.6 billion")      # {1000000000}
    """
    found = (match[2] or match[3] for match in _NUMBER.finditer(text))
    return {_SCALES[scale] for scale in found if scale}
