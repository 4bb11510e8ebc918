"""Korean particles, whose form depends on the sound before them: 서울은 but 도쿄는.

A translated sentence spells both forms, as Korean software does: "{name}을(를) 찾았습니다." `fill` picks one when the
name is filled in. The training texts of the bundled models use `particle` too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

# The form after a final consonant, and the form after a vowel.
FORMS = {
    "은": ("은", "는"),
    "이": ("이", "가"),
    "을": ("을", "를"),
    "과": ("과", "와"),
    "이에요": ("이에요", "예요"),
    "이라는": ("이라는", "라는"),
    "이야": ("이야", "야"),
    "으로": ("으로", "로"),
    "이라고": ("이라고", "라고"),
}
# As a translation spells both forms, and the key of `FORMS`.
SPELLED = {
    "은(는)": "은",
    "이(가)": "이",
    "을(를)": "을",
    "과(와)": "과",
    "(으)로": "으로",
    "(이)라는": "이라는",
    "(이)라고": "이라고",
}
_PARTICLE = re.compile("|".join(re.escape(form) for form in SPELLED))
_AROUND = "'\"”’)`*_」』]"  # what may stand between a word and its particle
_DIGITS = dict(zip("0123456789", "영일이삼사오육칠팔구"))
# How the names of Latin letters end, for words that are spelled; L and R end in ㄹ.
_SPELLED_LETTERS = {"L": "엘", "M": "엠", "N": "엔", "R": "알"}
_RIEUL = 8  # the number of the final consonant ㄹ
_LATIN_ENDS = {"l": _RIEUL, "m": 16, "n": 4}
_UNIT = re.compile(r"\d\s?[a-z]?[mgl]$")  # 350 m is read 미터


def particle(word: str, form: str, *, latin: bool = True) -> str:
    """The right form of a Korean particle after a word.

    Hangul syllables are laid out in Unicode so that (code - 0xAC00) % 28 is the final consonant (0: none). Digits
    follow their Korean reading (3 is 삼, with a final; 2 is 이, without). A Latin word counts as ending in a vowel
    unless it ends in l, m or n, as Korean pronounces it; capitals are read one by one.

    Args:
        word: what comes before the particle; quotes and marks at its end are ignored.
        form: the particle after a final consonant, a key of `FORMS`.
        latin: whether the ends of Latin words count. The texts of the bundled models take them all for vowels.

    Example:
        particle("서울", "은"), particle("도쿄", "은")      # ('은', '는')
    """
    with_final, without = FORMS[form]
    final = _final(word.rstrip(_AROUND), latin)
    if form == "으로" and final == _RIEUL:
        final = 0
    return with_final if final else without


def _final(word: str, latin: bool) -> int:
    """The number of the final consonant of a word's last syllable; 0 for none."""
    last = word[-1:]
    last = _DIGITS.get(last, last)
    if latin and not _UNIT.search(word):
        if word[-2:].isupper() or len(word) == 1:
            last = _SPELLED_LETTERS.get(last, last)
        elif last in _LATIN_ENDS:
            return _LATIN_ENDS[last]
    return (ord(last) - 0xAC00) % 28 if "가" <= last <= "힣" else 0


class KoreanText(str):
    """A translated sentence whose `format` picks the particles after what it fills in.

    Example:
        KoreanText("{name}을(를) 찾았습니다.").format(name="모델")      # '모델을 찾았습니다.'
    """

    __slots__ = ()

    def format(self, *values: object, **names: object) -> str:  # named places only
        """The sentence with its places filled."""
        if values:
            return str.format(self, *values, **names)
        return fill(str(self), names)


def fill(template: str, names: Mapping[str, Any]) -> str:
    """Fill the named places of a template, as `str.format` does, and pick the particles that follow them.

    Example:
        fill("{name}(으)로 옮깁니다.", {"name": "서울"})      # '서울로 옮깁니다.'
    """
    formatter, text, filled = Formatter(), "", ""
    for literal, name, spec, conversion in formatter.parse(template):
        start = _PARTICLE.search(literal)
        if filled and start and not literal[: start.start()].strip(_AROUND):
            literal = literal[: start.start()] + particle(filled, SPELLED[start[0]]) + literal[start.end() :]
        text += literal
        filled = ""
        if name is not None:
            value, _key = formatter.get_field(name, (), names)
            filled = formatter.format_field(
                formatter.convert_field(value, conversion), formatter.vformat(spec or "", (), names)
            )
            text += filled
    return text
