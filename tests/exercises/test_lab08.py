"""The checks of lab 08: each known mistake gets its own sentence, and unusual right forms pass."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper.exercises import check, lab08
from references import lab08 as known

FUNCTIONS = {one.number: one for one in known.references() if one.number != "8.7"}
MISTAKES = [(number, name) for number, one in FUNCTIONS.items() for name in one.mistakes]


def message(number, value, *, passed):
    result = check(number, value)
    assert result.passed is passed, result.message
    return result.message


@pytest.mark.parametrize(("number", "mistake"), MISTAKES)
def test_a_mistake_is_told_apart_from_all_others(number, mistake):
    others = [name for name in FUNCTIONS[number].mistakes if name != mistake]
    said = message(number, FUNCTIONS[number].mistakes[mistake], passed=False)
    told = {name: message(number, FUNCTIONS[number].mistakes[name], passed=False) for name in others}
    assert said.rpartition("returned")[2] not in [text.rpartition("returned")[2] for text in told.values()]


@pytest.mark.parametrize("number", FUNCTIONS)
def test_right_answers_in_unusual_forms(number):
    right = FUNCTIONS[number].right
    message(number, right, passed=True)
    message(number, lambda *arguments: np.asarray(right(*arguments)).tolist(), passed=True)
    message(number, lambda *arguments: np.asarray(right(*arguments)).astype(np.float32), passed=True)


@pytest.mark.parametrize("number", FUNCTIONS)
def test_shapes_texts_and_values_in_place_of_functions(number):
    assert message(number, lambda *arguments: np.zeros((7, 7, 7)), passed=False)
    assert message(number, lambda *arguments: "many", passed=False)
    assert message(number, [1, 2], passed=False)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((40, 9, [40, 38], "matters"), "at least 5"),
        ((40, 9, [40, 38, 40, 39, 40], "not shown"), "below every control"),
        ((40, 39, [40, 38, 40, 39, 40], "matters"), "Another head does the same"),
        ((0.9, 0.2, [1, 1, 1, 1, 1], "matters"), "counts, not shares"),
        ((40, 9, [40, 38, 40, 39, 40], "perhaps"), "The verdict is"),
        ((40, 9, 38, "matters"), "list"),
        ((40, 9), "four things"),
    ],
)
def test_evidence_that_is_none(value, words):
    assert words in message("8.11", value, passed=False)


@pytest.mark.parametrize(
    "value",
    [
        (40, 9, [40, 38, 40, 39, 40], "matters"),
        [40, 38, np.array([40, 38, 40, 39, 40]), "Not shown."],
        (np.int64(12), 12, (12,) * 7, "not shown"),
    ],
)
def test_evidence_and_a_verdict_that_follows(value):
    message("8.11", value, passed=True)


def test_the_exercises_are_in_order():
    assert [one.number for one in lab08.exercises()] == [f"8.{n}" for n in range(1, 12)]
