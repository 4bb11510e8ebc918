"""The small world of the course: places and words in five languages, from `data/world/*.csv`.

The bundled models were trained on these facts, and the agent's tools look them up.
"""

from __future__ import annotations

import csv
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
