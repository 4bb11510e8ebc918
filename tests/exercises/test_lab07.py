"""Exercises 7.1 and 7.2: what is right passes, what is wrong is told what went wrong, and nothing hostile is run."""

from __future__ import annotations

import ast
import operator
import re
import time

import pytest
from mistakes import forgets_return, prints

from labs_helper.agent.tools import calculator
from labs_helper.errors import BadPlan
from labs_helper.exercises import check

SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}

# --- Right answers, each written in another way than the notebook's solution ----------------------------------------


def by_tree(expression, *, kinds=(int,), signs=SIGNS, limit=40):
    if len(expression) > limit:
        raise ValueError("too long")

    def work(node):
        match node:
            case ast.Constant(value=value) if type(value) in kinds:
                return value
            case ast.BinOp() if type(node.op) in signs:
                return signs[type(node.op)](work(node.left), work(node.right))
        raise ValueError("not a sum")

    try:
        return work(ast.parse(expression.strip(), mode="eval").body)
    except SyntaxError:
        raise ValueError("not a sum") from None


PATTERN = re.compile(r"\d+(?: *[+*-] *\d+)*")  # the name `compile` is no running of code


def by_hand(expression):
    """Without ast: products first, then from left to right."""
    if len(expression) > 40 or not PATTERN.fullmatch(expression) or "**" in expression:
        raise ValueError(expression)
    total = 0
    for sign, term in re.findall(r"([+-]?)([^+-]+)", expression):
        product = 1
        for factor in term.split("*"):
            product *= int(factor)
        total += -product if sign == "-" else product
    return total


def recursive(expression):
    """Splits at the last sign, the weakest first."""
    if len(expression) > 40:
        raise ValueError("long")
    for sign in "+-":
        left, found, right = expression.rpartition(max(sign, "+-"[expression.rfind("-") > expression.rfind("+")]))
        if found and left.strip():
            return SIGNS[{"+": ast.Add, "-": ast.Sub}[found]](recursive(left), recursive(right))
    left, found, right = expression.rpartition("*")
    if found:
        return recursive(left) * recursive(right)
    if not expression.strip().isdecimal():
        raise ValueError("no number")
    return int(expression)


def hold(steps):
    """Each step may name those before it: all numbers in its arguments are among theirs."""
    before: set[int] = set()
    for number, step in enumerate(steps, 1):
        named = set(map(int, re.findall(r"\$(\d+)", " ".join(step["arguments"].values()))))
        if not named <= before:
            return False
        before.add(number)
    return True


def hold_by_the_last(steps):
    return not any(
        not 0 < int(found) <= place
        for place, step in enumerate(steps)
        for text in step["arguments"].values()
        for found in re.findall(r"(?<=\$)[0-9]+", text)
    )


RIGHT = [
    ("7.1", by_tree),
    ("7.1", by_hand),
    ("7.1", recursive),
    ("7.1", lambda expression: float(by_tree(expression))),
    ("7.2", hold),
    ("7.2", hold_by_the_last),
    ("7.2", lambda steps: int(hold(steps))),
    ("7.2", lambda steps: (hold(steps), steps.clear())[0]),
]


@pytest.mark.parametrize(("number", "value"), RIGHT)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


# --- Wrong answers -------------------------------------------------------------------------------------------------


def runs_text(expression):
    return eval(expression)


def runs_text_in_a_helper(expression):
    return runs_text(expression)


def filters_and_runs(expression):
    if len(expression) > 40 or not re.fullmatch(r"[0-9 +*-]+", expression) or "**" in expression:
        raise ValueError(expression)
    return eval(expression)


def hidden(expression):
    """eval by another name: nothing in the text of the function says so."""
    return vars(__import__("builtins"))["ev" + "al"](expression)


def by_the_course(expression):
    """Our own calculator, which knows division and decimals as well."""
    try:
        return float(calculator(expression))
    except BadPlan as error:
        raise ValueError(error.what) from None


def none_for_refused(expression):
    try:
        return by_tree(expression)
    except ValueError:
        return None


def lets_errors_out(expression):
    if len(expression) > 40:
        raise ValueError("too long")
    return by_tree(expression) if ast.parse(expression, mode="eval") else 0


WRONG = [
    ("7.1", 85, "without brackets"),
    ("7.1", runs_text, "uses eval"),
    ("7.1", runs_text_in_a_helper, "uses eval"),
    ("7.1", filters_and_runs, "uses eval"),
    ("7.1", lambda e: eval(e, {"__builtins__": {}}), "uses eval"),
    ("7.1", lambda e: eval(compile(e, "", "eval")), "uses compile|uses eval"),
    ("7.1", hidden, "uses __import__"),
    ("7.1", forgets_return, "return in front"),
    ("7.1", prints, "in place of print"),
    ("7.1", none_for_refused, "raise ValueError"),
    ("7.1", lets_errors_out, "raised SyntaxError"),
    ("7.1", lambda e: sum(map(int, e.split("+"))), "raised ValueError"),
    ("7.1", lambda e: 9 if e == "1 + 2 * 3" else by_tree(e), "Multiply before"),
    ("7.1", lambda e: 11 if e == "10 - 2 - 3" else by_tree(e), "left to right"),
    ("7.1", lambda e: str(by_tree(e)), "number"),
    ("7.1", lambda e: by_tree(e, signs={**SIGNS, ast.LShift: operator.lshift}), "Only + - *"),
    ("7.1", lambda e: by_tree(e, signs={**SIGNS, ast.Div: operator.truediv}), "8 / 2"),
    ("7.1", lambda e: by_tree(e, signs={**SIGNS, ast.Pow: operator.pow}), "never end"),
    ("7.1", lambda e: by_tree(e, kinds=(int, float)), "whole numbers"),
    ("7.1", lambda e: by_tree(e, kinds=(int, bool)), "It is code"),
    ("7.1", lambda e: by_tree(e, kinds=(int, str)), "It is code"),
    ("7.1", lambda e: by_tree(e, limit=39), "too long"),
    ("7.1", lambda e: by_tree(e, limit=1000), "41 characters"),
    ("7.1", lambda e: by_tree(e, limit=41), "41 characters"),
    ("7.1", by_the_course, "Only + - *"),
    ("7.2", True, "without brackets"),
    ("7.2", forgets_return, "return in front"),
    ("7.2", lambda steps: True, "circle"),
    ("7.2", lambda steps: False, "no reference"),
    ("7.2", lambda steps: "yes", "True or False"),
    ("7.2", lambda steps: re.findall(r"\$\d", str(steps)), "not the references"),
    ("7.2", lambda steps: all(
        int((re.findall(r"\$(\d)", step["arguments"].get("text", "")) or ["0"])[0]) < place
        for place, step in enumerate(steps, 1)), "every reference"),
    ("7.2", lambda steps: all(
        int(found) <= place for place, step in enumerate(steps, 1)
        for found in re.findall(r"\$(\d+)", str(step))), "its own result"),
    ("7.2", lambda steps: all(
        int(found) < place for place, step in enumerate(steps, 1)
        for found in re.findall(r"\$(\d+)", str(step))), "no step 0"),
    ("7.2", lambda steps: all(
        0 < int(found) < place for place, step in enumerate(steps, 1)
        for found in re.findall(r"\$(\d)", str(step))), "read all digits"),
    ("7.2", lambda steps: hold([s for s in steps if "text" in s["arguments"]]), "every argument"),
    ("7.2", lambda steps: not hold(steps), "no reference"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "value", "words"), WRONG)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    start = time.perf_counter()
    result = check(number, value)
    assert result.status == "try again" and any(word in result.message for word in words.split("|")), result
    assert time.perf_counter() - start < 5


def test_nothing_of_the_text_is_run_when_the_function_runs_code():
    ran = []

    def runs(expression):
        ran.append(expression)
        return eval(expression)

    assert "uses eval" in check("7.1", runs).message and not ran


def test_a_calculator_that_lets_powers_and_shifts_through_never_sees_the_endless_ones():
    """9**9**9**9 and 1<<99999999999 would take the memory of the machine: harmless ones of their kind come first."""
    seen = []

    def watched(expression):
        seen.append(expression)
        return by_tree(expression, signs={**SIGNS, ast.Pow: operator.pow, ast.LShift: operator.lshift})

    assert not check("7.1", watched).passed
    assert not {"9**9**9**9", "1<<99999999999"} & set(seen)


def test_a_calculator_that_passes_has_refused_them():
    seen = []

    def watched(expression):
        seen.append(expression)
        return by_tree(expression)

    assert check("7.1", watched).passed
    assert {"9**9**9**9", "1<<99999999999", "47 +", ""} <= set(seen)
