"""Every exercise has a table of its own: six wrong answers or more with the words of the message, three right ones."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from labs_helper.exercises import all_exercises
from references import lab08

FOLDER = Path(__file__).parent
WRONG, RIGHT = 6, 3


@cache
def rows() -> tuple[Counter[str], Counter[str]]:
    """How many wrong and right answers the tables of this folder hold, by exercise.

    A row begins with the number of its exercise, or the test names it for all its rows, as in message("6.1", ...).
    Rows with words that the message must hold are wrong answers.
    """
    wrong: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for function in lab08.references():  # test_lab08 tries its mistakes and three others, and three right forms of it
        wrong[function.number] += len(function.mistakes) + 3
        right[function.number] += 3
    for path in FOLDER.glob("test_*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        tables = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for test in tree.body:
            if not isinstance(test, ast.FunctionDef):
                continue
            for mark in test.decorator_list:
                if not (isinstance(mark, ast.Call) and len(mark.args) > 1):
                    continue
                names, table = ast.unparse(mark.args[0]), mark.args[1]
                table = tables.get(table.id, table) if isinstance(table, ast.Name) else table
                own = named(test)
                passes = "right" in test.name or "passed=True" in ast.unparse(test)
                counted = wrong if "words" in names else right if passes else None
                if counted is not None and isinstance(table, ast.List):
                    counted.update(own or number_of(row, path) for row in table.elts)
    return wrong, right


def named(test: ast.FunctionDef) -> str:
    """The exercise that a test asks about, if its body names one."""
    calls = [node for node in ast.walk(test) if isinstance(node, ast.Call) and node.args]
    asked = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    return next((number for number in asked if number in all_exercises()), "")


def number_of(row: ast.expr, path: Path) -> str:
    first = row.elts[0] if isinstance(row, ast.Tuple) and row.elts else row
    if isinstance(first, ast.Constant) and str(first.value) in all_exercises():
        return str(first.value)
    return "0.1" if path.stem == "test_lab00" else ""  # the lab with one exercise does not name it in each row


@pytest.mark.parametrize("number", list(all_exercises()))
def test_an_exercise_has_a_table(number):
    wrong, right = rows()
    assert wrong[number] >= WRONG and right[number] >= RIGHT, (wrong[number], right[number])
