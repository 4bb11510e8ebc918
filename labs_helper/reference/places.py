"""Lab 08: cities and their countries, where a model says them, and one city's rows put into another one's run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.reference.answering import generate
from labs_helper.reference.changes import Change
from labs_helper.reference.copying import conversation, table
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
        prompt_tokens: how many of them are the prompt.
        city_places: where the city is in the prompt.
        place: the place that chooses the first token of the country.
    """

    city: str
    country: str
    language: str
    ids: tuple[int, ...]
    prompt_tokens: int
    city_places: tuple[int, ...]
    place: int


def facts(model: Model, reference: Reference, language: str, count: int = 20) -> list[Fact]:
    """Cities whose country the model names rightly, in the order of the course's table.

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
        question = ASK[language].format(city=city)
        prompt = model.prompt(question).ids
        answer = list(generate(reference, prompt, 40, stop=engine.stop_ids))
        pieces = [engine.pieces.readable(token) for token in answer]
        ends = np.cumsum([len(piece) for piece in pieces])
        at = "".join(pieces).find(country)
        if at < 0:
            continue
        first = int(np.searchsorted(ends, at, side="right"))  # the token in which the name begins
        while not pieces[first].strip():
            first += 1
        span, place = _span(engine, prompt, city), len(prompt) + first - 1
        found.append(Fact(city, country, language, (*prompt, *answer), len(prompt), span, place))
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
    """Pairs of cities with as many tokens each, in different countries or in the same one.

    Example:
        city_pairs(facts(model, reference, "en", 60), 20)
    """
    pairs = [
        (one, other)
        for one in cities
        for other in cities
        if one is not other
        and (one.country == other.country) == same_country
        and len(one.city_places) == len(other.city_places)
    ]
    random.Random(seed).shuffle(pairs)
    return pairs[:count]


def patched(model: Model, reference: Reference, one: Fact, other: Fact, stage: int, where: str = "city") -> str:
    """What the model answers about one city with rows of another one's run put in.

    Args:
        model, reference: the same model.
        one: the city that is asked for.
        other: the city whose rows are put in.
        stage: 0 is the embedding, n + 1 is what layer n passes on.
        where: "city", its own places, or "after", all places of the prompt behind it.

    Raises:
        BadRequest: `where` is neither.

    Example:
        patched(model, reference, paris, lima, 2)
    """
    if where not in ("city", "after"):
        raise BadRequest(_("There is no place {where!r}.").format(where=where), _('Use "city" or "after".'))
    engine: Any = model.engine
    asked, source = one.ids[: one.prompt_tokens], other.ids[: other.prompt_tokens]
    rows = reference.run(source, total=len(source) + 20, record=True).residual
    behind = range(one.city_places[-1] + 1, min(len(asked), len(source)))
    places = one.city_places if where == "city" else behind
    put = {(stage, place): rows[stage, place] for place in places}
    said = generate(reference, asked, 20, stop=engine.stop_ids, change=Change(put=put))
    return "".join(engine.pieces.readable(token) for token in said)


def _span(engine: Any, ids: Sequence[int], word: str) -> tuple[int, ...]:
    """The places of a word in a prompt."""
    pieces = [engine.pieces.readable(token) for token in ids]
    ends = np.cumsum([len(piece) for piece in pieces])
    at = "".join(pieces).rindex(word)
    first, last = (int(np.searchsorted(ends, place, side="right")) for place in (at, at + len(word) - 1))
    return tuple(range(first, last + 1))
