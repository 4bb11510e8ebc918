"""The material of lab 08's experiments: conversations in which it is known what has to be copied, said or patched.

Each function takes a `Model` for its tokenizer and template, and draws with a seed of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.catalog import course_folder
from labs_helper.common.translate import _
from labs_helper.errors import LabError
from labs_helper.reference.answering import generate
from labs_helper.reference.changes import NOTHING, Change
from labs_helper.reference.model import Reference

if TYPE_CHECKING:
    import pandas

    from labs_helper.models.model import Model

ASK = {  # "Where is ...?" in the five languages of the bundled models
    "en": "Where is {city}?",
    "zh": "{city}在哪里?",
    "ko": "{city}은 어디에 있나요?",
    "ja": "{city}はどこにありますか?",
    "es": "¿Dónde está {city}?",
}
NAMES = ("Ana", "Ben", "Nina", "Omar", "Rosa", "David", "Emma", "Felix")
FILLER = (
    *("Nairobi is a city in Kenya.", "The capital of France is Paris.", "The colour of snow is white."),
    *("Lima is a city in Peru.", "The currency of Japan is the yen.", "The opposite of big is small."),
    *("Hanoi is a city in Vietnam.", "Egypt is a country in Africa.", "The colour of a lemon is yellow."),
)


@dataclass(frozen=True)
class Copying:
    """A prompt with its right answer, a part of which is copied from the prompt.

    Attributes:
        ids: prompt and answer.
        lookers: the places that choose the copied tokens: each is one before the token that it chooses.
        sources: where each of these tokens stands in the prompt.
    """

    ids: tuple[int, ...]
    lookers: tuple[int, ...]
    sources: tuple[int, ...]

    def right(self, reference: Reference, change: Change = NOTHING) -> list[bool]:
        """For each copied token, whether it is the model's best one when the answer so far is right.

        If all are, the model writes all of them: what it has read then is what it has written.
        """
        best = reference.run(self.ids, change=change).logits.argmax(axis=-1)
        return [bool(best[place] == self.ids[place + 1]) for place in self.lookers]


def count_right(reference: Reference, texts: Sequence[Copying], change: Change = NOTHING) -> int:
    """How many texts the model copies from without a mistake.

    Example:
        count_right(reference, needles(model), Change(heads=[(2, 4)]))
    """
    return sum(all(text.right(reference, change)) for text in texts)


def share_right(reference: Reference, texts: Sequence[Copying], change: Change = NOTHING) -> float:
    """Which share of the copied tokens is right, over all texts.

    Example:
        share_right(reference, repeats(model))
    """
    return float(np.mean([token for text in texts for token in text.right(reference, change)]))


def needles(model: Model, count: int = 40, sentences: int = 8, seed: int = 8) -> list[Copying]:
    """Texts with a code in a sentence among others, and the question for it.

    Example:
        len(needles(model)[0].sources)      # 4, the digits of a code
    """
    chance, texts = random.Random(seed), []
    for _text in range(count):
        name, code = chance.choice(NAMES), f"{chance.randrange(10000):04d}"
        lines = [chance.choice(FILLER) for _line in range(sentences)]
        lines.insert(chance.randrange(len(lines) + 1), f"The secret code of {name} is {code}.")
        question = f"Here is a text. {' '.join(lines)}\nWhat is the secret code of {name}?"
        texts.append(copied(model, question, f"The secret code of {name} is {code}.", code))
    return texts


def repeats(model: Model, count: int = 40, words: int = 6, seed: int = 8) -> list[Copying]:
    """Requests to repeat words in an order that was drawn, so that nothing but copying helps.

    Example:
        repeats(model)[0].lookers
    """
    chance, texts = random.Random(seed), []
    known = [word for word in _table("words")["en"] if word.isalpha()]
    for _text in range(count):
        said = " ".join(chance.sample(known, words))
        texts.append(copied(model, f"Repeat: {said}", said, said))
    return texts


def copied(model: Model, question: str, answer: str, part: str) -> Copying:
    """A question and its answer, in which `part` is copied from the question.

    Raises:
        LabError: the tokens of the part are not in the question as they are in the answer.

    Example:
        copied(model, "Repeat: red blue", "red blue", "red blue")
    """
    ids, start = conversation(model, question, answer)
    before = answer[: answer.index(part)]
    end = len(conversation(model, question, before + part)[0]) - 1  # without <|end|>
    first = max(start, len(conversation(model, question, before.rstrip())[0]) - 1) if before else start
    engine: Any = model.engine
    while first < end and not engine.pieces.readable(ids[first]).strip():
        first += 1  # white space may be a token of its own
    wanted = ids[first:end]
    for place in range(start - len(wanted), -1, -1):
        if wanted and ids[place : place + len(wanted)] == wanted:
            return Copying(ids, tuple(range(first - 1, end - 1)), tuple(range(place, place + len(wanted))))
    raise LabError(_("{part!r} is cut into other tokens in the question.").format(part=part), _("Use other words."))


def conversation(model: Model, question: str, answer: str) -> tuple[tuple[int, ...], int]:
    """The ids of a question with its answer, and the place of the answer's first token."""
    from labs_helper.engines.base import Message, Request

    model.prompt(question)  # reads the tokenizer, if nobody has yet
    engine: Any = model.engine
    found: tuple[tuple[int, ...], int] = engine.answered(
        Request((Message(role="user", content=question, tagged=False),)), answer
    )
    return found


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
    names = {row["en"]: row[language] for row in _table("countries").to_dict("records")}
    found: list[Fact] = []
    for row in _table("cities").to_dict("records"):
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


def _span(engine: Any, ids: Sequence[int], word: str) -> tuple[int, ...]:
    """The places of a word in a prompt."""
    pieces = [engine.pieces.readable(token) for token in ids]
    ends = np.cumsum([len(piece) for piece in pieces])
    at = "".join(pieces).rindex(word)
    first, last = (int(np.searchsorted(ends, place, side="right")) for place in (at, at + len(word) - 1))
    return tuple(range(first, last + 1))


def _table(name: str) -> pandas.DataFrame:
    import pandas

    return pandas.read_csv(course_folder() / "data" / "world" / f"{name}.csv", keep_default_na=False)
