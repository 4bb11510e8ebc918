"""What the small world holds as facts, each in every language, and places that it does not have."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.world import LANGUAGES, index, place_of_city, place_of_landmark, table, words

RELATIONS = (
    "capital",
    "capital_of",
    "where_city",
    "where_country",
    "language",
    "currency",
    "where_landmark",
    "colour",
    "opposite",
)


@dataclass(frozen=True)
class Fact:
    """One fact in every language: `x` is asked about, `y` answered; `key` names the row."""

    relation: str
    key: str
    x: dict[str, str]
    y: dict[str, str]
    parts: dict[str, tuple[str, ...]]


def _facts() -> dict[str, list[Fact]]:
    countries, cities = index("countries"), index("cities")
    found: dict[str, list[Fact]] = {relation: [] for relation in RELATIONS}

    def add(relation, row, y, parts=None):
        by_language = {lang: row[lang] for lang in LANGUAGES}
        answer = {lang: y(lang) for lang in LANGUAGES}
        found[relation].append(
            Fact(
                relation,
                row["en"],
                by_language,
                answer,
                {lang: parts(lang) if parts else (answer[lang],) for lang in LANGUAGES},
            )
        )

    for row in table("countries"):
        capital = cities[row["capital"]]
        add("capital", row, lambda lang, c=capital: c[lang])
        add("capital_of", capital, lambda lang, r=row: r[lang])
        for relation, kind, column in (
            ("where_country", "continent", "continent"),
            ("language", "language", "language"),
            ("currency", "currency", "currency"),
        ):
            word = index("words", kind)[row[column]]
            add(relation, row, lambda lang, w=word: w[lang])
    for row in table("cities"):
        country = countries[row["country"]]
        region = index("regions")[row["region"]] if row["region"] else None
        add(
            "where_city",
            row,
            lambda lang, r=row: place_of_city(r, lang),
            lambda lang, c=country, g=region: (c[lang], g[lang]) if g else (c[lang],),
        )
    for row in table("landmarks"):
        city = cities[row["city"]]
        add("where_landmark", row, lambda lang, r=row: place_of_landmark(r, lang), lambda lang, c=city: (c[lang],))
    for row in table("colours"):
        colour = index("words", "colour")[row["colour"]]
        add("colour", row, lambda lang, c=colour: c[lang])
    adjectives = words("adjective")
    for one, other in zip(adjectives[::2], adjectives[1::2]):
        add("opposite", one, lambda lang, o=other: o[lang])
        add("opposite", other, lambda lang, o=one: o[lang])
    return found


FACTS = _facts()
ALL_FACTS = [fact for facts in FACTS.values() for fact in facts]


@cache
def elsewhere() -> tuple[dict[str, str], ...]:
    """Places that the small world does not have."""
    with (Path(__file__).parent / "elsewhere.csv").open(encoding="utf-8", newline="") as handle:
        return tuple(csv.DictReader(handle))
