"""The numbers that a sentence states, as values: 3.8 billion and 38억 are one number."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_NUMBER = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?|\d*\.\d+)"
    r"(?:[ -]?(thousand|million|billion|trillion)\b|\s?(백만|십억|천|만|억|조)(?!이|큼))?"
)
_SCALES = {
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "천": 10**3,
    "만": 10**4,
    "백만": 10**6,
    "억": 10**8,
    "십억": 10**9,
    "조": 10**12,
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
        stated("3.8 billion parameters, 2.15 GB") == stated("38억 개의 파라미터, 2.15GB")      # True
    """
    values = []
    for match in _NUMBER.finditer(text):
        try:
            value = Decimal(match[1].replace(",", ""))
        except InvalidOperation:
            continue
        values.append((value * _SCALES.get(match[2] or match[3] or "", 1)).normalize())
    return sorted(values)


def in_words(text: str) -> set[Decimal]:
    """The numbers that an English text writes as words, which a translation may write in digits.

    Example:
        in_words("sixteen experts, since May")      # {Decimal('16'), Decimal('5')}
    """
    return {Decimal(_WORDS[word]).normalize() for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS}
