"""Lab 08: prompts in which it is known what has to be copied, and from where. Each function draws with its own seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.catalog import course_folder
from labs_helper.common.translate import _
from labs_helper.errors import LabError
from labs_helper.reference.changes import NOTHING, Change
from labs_helper.reference.model import Reference

if TYPE_CHECKING:
    import pandas

    from labs_helper.models.model import Model

NAMES = ("Ana", "Ben", "Nina", "Omar", "Rosa", "David", "Emma", "Felix")
FILLER = (
    *("Nairobi is a city in Kenya.", "The capital of France is Paris.", "The colour of snow is white."),
    *("Lima is a city in Peru.", "The currency of Japan is the yen.", "The opposite of big is small."),
    *("Hanoi is a city in Vietnam.", "Egypt is a country in Africa.", "The colour of a lemon is yellow."),
)


@dataclass(frozen=True)
class Copying:
    """A prompt with its right answer. A part of the answer is copied from the prompt.

    Attributes:
        ids: prompt and answer.
        lookers: the places that choose the copied tokens: each is one before the token that it chooses.
        sources: where each of these tokens is in the prompt.
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
    known = [word for word in table("words")["en"] if word.isalpha()]
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
    return model.answered(question, answer)


def table(name: str) -> pandas.DataFrame:
    """A table of the course's small world: "cities", "countries", "words", ...

    Example:
        table("words")["en"]
    """
    import pandas

    return pandas.read_csv(course_folder() / "data" / "world" / f"{name}.csv", keep_default_na=False)
