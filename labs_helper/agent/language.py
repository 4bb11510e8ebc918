"""Tells by script and words which of the course's five languages a question is asked in."""

from __future__ import annotations

import re

# What is quoted may be in another language than the question about it.
QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|“[^”]*”|「[^」]*」|『[^』]*』|《[^》]*》|«[^»]*»")
SCRIPTS = {
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "zh": re.compile(r"[\u3400-\u9fff]"),
}
LATIN = re.compile(r"[^\W\d_]+")
# Words that almost every sentence has, and that the other language does not have.
COMMON = {
    "es": (
        "el la los las un una de del al en es son está están y o que qué cuál cuáles cuánto cuánta cuántos cuántas "
        "cómo dónde quién por para con su sus hay dime dame luego después traduce tradúcelo suma resta multiplica más "
        "menos entre"
    ),
    "en": (
        "the a an of in is are and or what which who where how many much do does to into it its there then for with by "
        "please tell me give translate add subtract multiply divide plus minus times count words"
    ),
}
WORDS = {language: frozenset(text.split()) for language, text in COMMON.items()}


def language_of(question: str) -> str | None:
    """The code of a question's language; None where there is no telling.

    Kana makes it Japanese, Hangul Korean, Chinese characters alone Chinese. Where two scripts meet, the
    one with more letters asks: names keep their own.

    Example:
        >>> language_of("How do you say '고양이' in English?"), language_of("中国の首都は?")
        ('en', 'ja')
    """
    for text in (QUOTED.sub(" ", question), question):
        counts = {code: len(script.findall(text)) for code, script in SCRIPTS.items()}
        if counts["ja"]:
            counts["ja"], counts["zh"] = counts["ja"] + counts["zh"], 0
        words = [
            word.casefold() for word in LATIN.findall(text) if word.isascii() or re.match(r"[a-záéíóúñü]+$", word, re.I)
        ]
        latin = len(words) * 3 / 2  # a word of letters is about as long as this many characters of the other scripts
        code = max(counts, key=counts.__getitem__)
        if counts[code] and counts[code] >= latin:
            return code
        if words:
            spanish = bool(re.search(r"[¿¡ñáéíóúü]", text.casefold())) + sum(word in WORDS["es"] for word in words)
            return "es" if spanish > sum(word in WORDS["en"] for word in words) else "en"
    return None
