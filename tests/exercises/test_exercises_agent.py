"""Exercise 7.3, a tool of one's own: what is right passes, what is wrong is told what to look at."""

from __future__ import annotations

import time

import pytest

from labs_helper.agent import TOOLS, toolbox
from labs_helper.agent.tools import place, translate
from labs_helper.errors import BadPlan
from labs_helper.exercises import lab07
from labs_helper.exercises.base import NotYet, TryAgain

CHECKS = {exercise.number: exercise.check for exercise in lab07.exercises()}


def post(about: str, to: str) -> str:
    """Write a few words about a country."""
    return f"{translate(about, to)}: " + ", ".join(translate(place(about, f), to) for f in ("capital", "currency"))


def renamed(function):
    function.__name__ = "post"
    return TOOLS | toolbox(function)


@renamed
def without_docstring(about: str, to: str) -> str:
    return ""


@renamed
def of_one_place(about: str, to: str) -> str:
    """Always the same."""
    return "Nairobi, chelín, 나이로비, 실링"


@renamed
def that_makes_up(about: str, to: str) -> str:
    """Facts, or something like them."""
    try:
        return post(about, to)
    except BadPlan:
        return "A fine country."


@renamed
def that_breaks(about: str, to: str) -> str:
    """Facts by another way."""
    try:
        return post(about, to)
    except BadPlan:
        raise KeyError(about) from None


@renamed
def not_written(about: str, to: str) -> str:
    """Nothing yet."""


@pytest.mark.parametrize(
    ("number", "value"),
    [("7.3", TOOLS | toolbox(post))],
)
def test_right_answers_pass(number, value):
    assert CHECKS[number](value).startswith("Right")


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("7.3", post, "Hand in the tools"),
        ("7.3", TOOLS, "no tool named post"),
        ("7.3", toolbox(post), "other tools are gone"),
        ("7.3", without_docstring, "docstring"),
        ("7.3", of_one_place, "Japan"),
        ("7.3", that_makes_up, "not made up"),
        ("7.3", that_breaks, "broke"),
    ],
)
def test_a_wrong_answer_is_told_what_to_look_at(number, value, words):
    start = time.perf_counter()
    with pytest.raises(TryAgain, match=words):
        CHECKS[number](value)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("number", "value"), [("7.1", lambda e: ...), ("7.2", lambda steps: None), ("7.3", not_written)]
)
def test_a_stub_is_not_a_wrong_answer(number, value):
    with pytest.raises(NotYet):
        CHECKS[number](value)


def test_hints_come_in_order():
    assert [exercise.number for exercise in lab07.exercises()] == ["7.1", "7.2", "7.3"]
    assert all(len(exercise.hints) == 3 and exercise.title for exercise in lab07.exercises())
