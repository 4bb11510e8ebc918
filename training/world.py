"""How people ask about the small world that the bundled checkpoints know, and how one answers them.

The facts are the course's own (`labs_helper.agent.world`), the phrasings are in TOML files under `training/phrases`
(one file for each language). This module reads them and fills sentences.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from labs_helper.agent.world import LANGUAGE_NAMES, LANGUAGES, index, table, told, words
from labs_helper.common.particles import particle

__all__ = [
    "LANGUAGES",
    "LANGUAGE_NAMES",
    "fill",
    "index",
    "listed",
    "particle",
    "phrases",
    "place_of_city",
    "place_of_landmark",
    "space",
    "table",
    "told",
    "words",
]

HERE = Path(__file__).parent

PLACEHOLDER = re.compile(r"\{(\w+)(?::(\w+))?\}")


@cache
def phrases(language: str) -> dict:
    """The phrasings of one language (`training/phrases/<language>.toml`)."""
    return tomllib.loads((HERE / "phrases" / f"{language}.toml").read_text(encoding="utf-8"))


def fill(template: str, values: dict[str, str], language: str) -> str:
    """Put `values` into a template, with Korean particles, Spanish contractions and a capital at the start.

    >>> fill("{x:은} 어디에 있나요?", {"x": "서울"}, "ko")
    '서울은 어디에 있나요?'
    >>> fill("La capital de {x} es Londres.", {"x": "el Reino Unido"}, "es")
    'La capital del Reino Unido es Londres.'
    """

    def put(match: re.Match) -> str:
        value = str(values[match[1]])
        return value + (particle(value, match[2], latin=False) if match[2] else "")

    text = PLACEHOLDER.sub(put, template)
    if language == "es":
        text = re.sub(r"\b(de|a) el\b", lambda m: m[1] + "l" if m[1] == "a" else "del", text)
    if language in ("en", "es") and template.startswith("{x}"):
        text = text[:1].upper() + text[1:]
    return text


def space(language: str) -> str:
    """What is between two words or sentences: nothing in Chinese and Japanese."""
    return "" if language in ("zh", "ja") else " "


def listed(items: Iterable[str], language: str) -> str:
    """Items one after another, as one writes them in `language`.

    >>> listed(["苹果", "梨"], "zh")
    '苹果、梨'
    """
    return ("、" if language in ("zh", "ja") else ", ").join(items)


def place_of_city(row: dict[str, str], language: str) -> str:
    """Country, and province where the table has one, as one writes it in `language`."""
    country = index("countries")[row["country"]][language]
    if not row["region"]:
        return country
    region = index("regions")[row["region"]][language]
    return {"zh": country + region, "ja": country + region, "ko": f"{country} {region}"}.get(
        language, f"{region}, {country}"
    )


def place_of_landmark(row: dict[str, str], language: str) -> str:
    """City and country of a landmark, as one writes it in `language`."""
    city = index("cities")[row["city"]]
    country, city = index("countries")[city["country"]][language], city[language]
    return {"zh": country + city, "ja": f"{country}の{city}", "ko": f"{country} {city}"}.get(
        language, f"{city}, {country}"
    )
