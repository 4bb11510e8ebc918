"""What a model can do, skill by skill: held-out questions, and a judge for each kind of answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labs_helper import catalog
from labs_helper.engines.worker import WORKER
from labs_helper.tuning import measure
from labs_helper.tuning.classroom import Score, engine_of
from labs_helper.tuning.textbook import Talk

if TYPE_CHECKING:
    from labs_helper.models.model import Model

ROOM = 96  # tokens of an answer; the longest right one, a JSON object in Chinese, has some 60


@dataclass(frozen=True)
class Question:
    """A question with its reference answer.

    Attributes:
        skill: what it asks for.
        language: of the question.
        kind: how an answer is judged: "contains", "number", "json" or "list".
        expect: what a right answer holds.
        talk: the conversation; its last message is the reference answer.

    Example:
        questions()[0].skill      # 'facts, English'
    """

    skill: str
    language: str
    kind: str
    expect: Any
    talk: Talk


def questions(*skills: str) -> list[Question]:
    """The held-out questions of the course, of some skills or of all.

    No training text has their phrasing with their values: `training.held_out` draws them.

    Example:
        len(questions("sums"))      # 60
    """
    file = catalog.course_folder() / "data" / "questions" / "skills.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [
        Question(row["skill"], row["language"], row["kind"], row["expect"], Talk(messages=row["messages"]))
        for row in rows
        if not skills or row["skill"] in skills
    ]


def is_right(question: Question, answer: str) -> bool:
    """Whether an answer is right.

    Example:
        is_right(questions("sums")[0], "23 + 66: 3 + 6 = 9, 2 + 6 = 8, 23 + 66 = 89")
    """
    if question.kind == "number":
        numbers = re.findall(r"-?\d+", answer)
        return bool(numbers) and numbers[-1] == question.expect
    if question.kind == "json":
        try:
            return bool(json.loads(answer) == question.expect)
        except json.JSONDecodeError:
            return False
    if question.kind == "list":
        lines = [re.fullmatch(r"\s*(\d+)\. (.*\S)\s*", line) for line in answer.strip().split("\n")]
        items = [match[2] for match in lines if match]
        in_order = [int(match[1]) for match in lines if match] == list(range(1, len(lines) + 1))
        return in_order and items == list(question.expect)
    folded = answer.casefold()
    return all(part.casefold() in folded for part in question.expect)


def score_skills(model: Model, asked: Sequence[Question] | None = None, max_tokens: int = ROOM) -> dict[str, Score]:
    """Ask every question once, greedily, and count the right answers of each skill.

    Args:
        model: any text model of MLX.
        asked: from `questions`; None asks all of them.
        max_tokens: of an answer.

    Example:
        score_skills(rounded(twin, 3))["sums"].share
    """
    asked = questions() if asked is None else asked
    said = WORKER.call(measure.answers, engine_of(model), [question.talk for question in asked], max_tokens)
    scores = {}
    for skill in dict.fromkeys(question.skill for question in asked):
        mine = [(question, answer) for question, answer in zip(asked, said) if question.skill == skill]
        passed = tuple(is_right(question, answer.text) for question, answer in mine)
        scores[skill] = Score(
            sum(passed),
            len(passed),
            tuple(answer.text for _question, answer in mine),
            passed,
            tuple(answer.stopped for _question, answer in mine),
        )
    return scores


def altogether(scores: Mapping[str, Score]) -> Score:
    """The scores of all skills as one.

    Example:
        altogether(score_skills(twin)).share
    """
    parts = list(scores.values())
    return Score(
        sum(part.right for part in parts),
        sum(part.count for part in parts),
        tuple(text for part in parts for text in part.answers),
        tuple(passed for part in parts for passed in part.passed),
        tuple(stopped for part in parts for stopped in part.stopped),
    )
