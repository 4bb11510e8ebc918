"""The agent's exercises: they pass what is right, name the likely mistake, and never run what never ends."""

from __future__ import annotations

import ast
import operator
import re
import time

import pytest

from labs_helper.agent import TOOLS, toolbox
from labs_helper.agent.tools import calculator, place, translate
from labs_helper.errors import BadPlan
from labs_helper.exercises import lab07
from labs_helper.exercises.base import NotYet, TryAgain

CHECKS = {exercise.id: exercise.check for exercise in lab07.EXERCISES}
SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def by_tree(expression):
    if len(expression) > 40:
        raise ValueError("too long")

    def work(node):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
            return SIGNS[type(node.op)](work(node.left), work(node.right))
        raise ValueError("not a sum")

    return work(ast.parse(expression, mode="eval").body)


def by_the_course(expression):
    """The course's own calculator; the exercise asks for one without powers."""
    try:
        if "**" in expression:
            raise BadPlan("no powers.")
        return int(calculator(expression))
    except BadPlan as error:
        raise ValueError(error.what) from None


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


def only_the_first(steps):
    return all(
        int((re.findall(r"\$(\d)", step["arguments"].get("text", "")) or ["0"])[0]) < place
        for place, step in enumerate(steps, 1)
    )


@pytest.mark.parametrize(
    ("id", "value"),
    [("7.1", by_tree), ("7.1", by_the_course), ("7.2", lab07.references_hold), ("7.3", TOOLS | toolbox(post))],
)
def test_right_answers_pass(id, value):
    assert CHECKS[id](value).startswith("Right")


@pytest.mark.parametrize(
    ("id", "value", "words"),
    [
        ("7.1", 85, "without brackets"),
        ("7.1", lambda e: eval(e), "do not use eval"),
        ("7.1", lambda e: eval(e, {"__builtins__": {}}), "ValueError|do not use eval"),
        ("7.1", lambda e: eval(e) if re.fullmatch(r"[0-9 +*-]+", e) else None, "never end"),
        ("7.1", lambda e: eval(e) if re.fullmatch(r"[0-9 +*-]+", e) and "**" not in e else None, "8,000"),
        ("7.1", lambda e: sum(map(int, e.split("+"))), "raised ValueError"),
        ("7.1", lambda e: 9 if e == "1 + 2 * 3" else by_tree(e), "Multiply before"),
        ("7.2", True, "without brackets"),
        ("7.2", lambda steps: True, "circle"),
        ("7.2", lambda steps: False, "no reference"),
        ("7.2", lambda steps: "yes", "True or False"),
        ("7.2", only_the_first, "every reference"),
        ("7.2", lambda steps: "$1" not in steps[0]["arguments"].get("text", "")
         and lab07.references_hold([s for s in steps if "text" in s["arguments"]]), "every argument"),
        ("7.3", post, "Hand in the tools"),
        ("7.3", TOOLS, "no tool named post"),
        ("7.3", toolbox(post), "other tools are gone"),
        ("7.3", without_docstring, "docstring"),
        ("7.3", of_one_place, "Japan"),
        ("7.3", that_makes_up, "not made up"),
        ("7.3", that_breaks, "broke"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_told_what_to_look_at(id, value, words):
    start = time.perf_counter()
    with pytest.raises(TryAgain, match=words):
        CHECKS[id](value)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("id", "value"), [("7.1", lambda e: ...), ("7.2", lambda steps: None), ("7.3", not_written)])
def test_a_stub_is_not_a_wrong_answer(id, value):
    with pytest.raises(NotYet):
        CHECKS[id](value)


def test_hints_come_in_order():
    assert [exercise.id for exercise in lab07.EXERCISES] == ["7.1", "7.2", "7.3"]
    assert all(len(exercise.hints) == 3 and exercise.title for exercise in lab07.EXERCISES)
