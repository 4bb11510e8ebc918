"""Sentences that people see go through `_()` as templates, so that they can be translated."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from labs_helper import errors

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "labs_helper").rglob("*.py"))
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
# Their texts go to a model, which reads English, or to an engineer.
NOT_FOR_PEOPLE = {"BadPlan"}


def calls(tree: ast.AST, names: set[str]):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_errors_are_templates(path):
    """No f-string and no bare text: neither could be looked up in a catalog."""
    tree = ast.parse(path.read_text("utf-8"))
    for call in calls(tree, ERRORS - NOT_FOR_PEOPLE):
        for argument in call.args:
            where = f"line {argument.lineno}"
            assert not isinstance(argument, ast.JoinedStr), f"{where}: an f-string"
            assert not (isinstance(argument, ast.Constant) and argument.value), f"{where}: not through _()"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_looked_up_is_a_plain_text(path):
    """gettext finds whole sentences only: nothing may be put in before the look-up, or at import."""
    tree = ast.parse(path.read_text("utf-8"))
    for call in calls(tree, {"_"}):
        assert len(call.args) == 1, f"line {call.lineno}"
        assert isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str), f"line {call.lineno}"
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    in_f_strings = {id(node) for text in ast.walk(tree) if isinstance(text, ast.JoinedStr) for node in ast.walk(text)}
    hidden = [call.lineno for call in calls(tree, {"_", "_n"}) if id(call) in in_f_strings]
    assert not hidden, f"the extraction does not look into f-strings, lines {hidden}"
    early = [call.lineno for call in calls(tree, {"_"}) if id(call) not in inside]
    assert not early, f"looked up at import, lines {early}"
