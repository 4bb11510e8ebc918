"""The small world of the course: places and words in five languages, from `data/world/*.csv`.

The bundled models were trained on these facts, and the agent's tools look them up.
"""

from __future__ import annotations

import csv
import zlib
from functools import cache
from typing import Literal, get_args

from labs_helper.catalog import course_folder

LANGUAGES = ("en", "zh", "ko", "ja", "es")
LanguageName = Literal["English", "Chinese", "Korean", "Japanese", "Spanish"]  # of LANGUAGES, in their order
LANGUAGE_NAMES: dict[str, str] = dict(zip(LANGUAGES, get_args(LanguageName), strict=True))


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Rows of `data/world/<name>.csv`. Each language has a column; the others name rows of other tables in English.

    Example:
        table("countries")[0]["capital"]      # 'Paris'
    """
    with (course_folder() / "data" / "world" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def index(name: str, kind: str | None = None) -> dict[str, dict[str, str]]:
    """Rows of a table by their English name; `kind` narrows the word list.

    Example:
        index("cities")["Nairobi"]["zh"]
    """
    return {row["en"]: row for row in table(name) if kind is None or row["kind"] == kind}


@cache
def words(kind: str) -> tuple[dict[str, str], ...]:
    """The words of one kind: continent, language, currency, colour, animal, fruit, thing, adjective, category.

    Example:
        words("fruit")[0]["ko"]
    """
    return tuple(row for row in table("words") if row["kind"] == kind)


def told(language: str, fact: str, share: float) -> bool:
    """Whether a model sees a fact in a language in its training, if languages other than English see a share of them.

    A stable hash decides, so that every run and every reader gets the same facts.

    Args:
        language: one of LANGUAGES.
        fact: a kind and an English name, such as "where_city|Lima".
        share: of the facts, from 0 to 1; English always sees all. `instruct-previous-tiny` has 0.1.

    Example:
        told("zh", "where_city|Rome", 0.1)      # True
    """
    return language == "en" or zlib.crc32(f"known|{language}|{fact}".encode()) % 100 < share * 100
