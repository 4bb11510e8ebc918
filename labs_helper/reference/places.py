"""Lab 08: cities and their countries, and the tokens with which a model is asked for them and says them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labs_helper.reference.answering import generate
from labs_helper.reference.copying import conversation, table
from labs_helper.reference.looking import span
from labs_helper.reference.model import Reference

if TYPE_CHECKING:
    from labs_helper.models.model import Model

ASK = {  # "Where is ...?" in the five languages of the bundled models
    "en": "Where is {city}?",
    "zh": "{city}在哪里?",
    "ko": "{city}은 어디에 있나요?",
    "ja": "{city}はどこにありますか?",
    "es": "¿Dónde está {city}?",
}


@dataclass(frozen=True)
class Fact:
    """A question where a city is, with the model's own answer.

    Attributes:
        city, country: as the answer names them.
        language: of the question.
        ids: prompt and answer.
        asked: where the city is in the question.
        said: where the answer repeats the city's name; empty if it does not, before it names the country.
        place: the place that chooses the first token of the country.
    """

    city: str
    country: str
    language: str
    ids: tuple[int, ...]
    asked: tuple[int, ...]
    said: tuple[int, ...]
    place: int

    @property
    def answer(self) -> int:
        """The first token of the country, which is chosen at `place`."""
        return self.ids[self.place + 1]


def facts(model: Model, reference: Reference, language: str, count: int = 20) -> list[Fact]:
    """Cities whose country the model names correctly, in the order of the course's table.

    Example:
        facts(model, reference, "zh")[0].country      # '法国'
    """
    engine: Any = model.engine
    names = {row["en"]: row[language] for row in table("countries").to_dict("records")}
    found: list[Fact] = []
    for row in table("cities").to_dict("records"):
        city, country = row[language], names.get(row["country"], "")
        if not country or len(found) == count:
            continue
        prompt = model.prompt(ASK[language].format(city=city)).ids
        answer = list(generate(reference, prompt, 40, stop=engine.stop_ids))
        asked, told = ([engine.pieces.readable(token) for token in ids] for ids in (prompt, answer))
        first = span(told, country)[:1]
        if not first:
            continue
        said = tuple(len(prompt) + place for place in span(told[: first[0]], city))
        place = len(prompt) + first[0] - 1
        found.append(Fact(city, country, language, (*prompt, *answer), span(asked, city), said, place))
    return found


def english_name(model: Model, fact: Fact) -> int:
    """The first token of the English name of a fact's country, as an answer writes it.

    Example:
        model.engine.pieces.readable(english_name(model, fact))      # ' France'
    """
    engine: Any = model.engine
    english = next(row["en"] for row in table("countries").to_dict("records") if row[fact.language] == fact.country)
    ids, start = conversation(model, "x", f"It is in {english}")
    before = len(conversation(model, "x", "It is in")[0]) - 1
    return next(token for token in ids[max(start, before) :] if engine.pieces.readable(token).strip())


def city_pairs(
    cities: Sequence[Fact], count: int, *, same_country: bool = False, seed: int = 8
) -> list[tuple[Fact, Fact]]:
    """Pairs whose rows can be exchanged: every part of question and answer has as many tokens in both.

    Args:
        cities: from `facts`.
        count: how many pairs, or fewer if there are no more.
        same_country: pairs in the same country; otherwise their countries begin with different tokens.
        seed: of the draw.

    Example:
        city_pairs(facts(model, reference, "en", 60), 20)
    """
    pairs = [
        (one, other)
        for one in cities
        for other in cities
        if one is not other
        and (one.country == other.country if same_country else one.answer != other.answer)
        and _lengths(one) == _lengths(other)
        and one.said
    ]
    random.Random(seed).shuffle(pairs)
    return pairs[:count]


def _lengths(fact: Fact) -> tuple[int, ...]:
    """How many tokens the city has in the question and in the answer, and where the country is chosen."""
    return len(fact.asked), len(fact.said), fact.place
