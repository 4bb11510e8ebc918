"""Which cells of the solved labs ask a bundled text model, and what it answered.

Only such a cell gets the button that asks again in the browser: its questions and options can be read from the cell
alone, the model is one of those that the page has, it answers greedily, and the answers are in the stored output.
Other cells do not pretend.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Cell = dict[str, Any]
Message = dict[str, str]

_BUNDLED = {"instruct": "instruct-tiny", "instruct-previous": "instruct-previous-tiny"}
_OPTIONS = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "seed": "seed"}
_IGNORED = {"top_logprobs"}  # shows more of the same answer
# Below an answer, in the words of any language: [instruct-tiny: 9 prompt tokens, 8 generated, ended by itself]
_ANSWER = re.compile(r"(?P<text>.*)\n\[(?P<model>[\w-]+): [^\]\n]*\d[^\]\n]*\]\s*", re.S)
_TABLE_ROW = re.compile(r"^ *\d+  (\S+) +\d+ +[<\d.]+ %", re.M)


@dataclass(frozen=True)
class Asked:
    """The questions of a cell: the model, the options as the page names them, and each conversation with its answer."""

    model: str
    options: dict[str, float]
    answers: list[tuple[list[Message], str]]


def asked(cell: Cell, models: Mapping[str, str]) -> Asked | None:
    """What a cell asks, or None if the page cannot ask the same again.

    Args:
        cell: of a notebook.
        models: {variable: bundled model}; see `loaded`.

    Example:
        asked({"cell_type": "markdown", "source": "Where is Lima?"}, {})      # None
    """
    if cell.get("cell_type") != "code":
        return None
    try:
        tree = ast.parse("".join(cell["source"]))
    except SyntaxError:  # a magic
        return None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _method(node) == "ask"]
    if len(calls) != 1:
        return None
    model, options = models.get(ast.unparse(calls[0].func).removesuffix(".ask")), _options(calls[0])
    conversations = _conversations(calls[0], tree)
    answers = _answers(cell, [messages[-1]["content"] for messages in conversations])
    if model is None or options is None or not conversations or len(answers) != len(conversations):
        return None
    return Asked(model, options, list(zip(conversations, answers)))


def loaded(cells: list[Cell]) -> dict[str, str]:
    """{variable: bundled model} of a notebook that was built with the bundled models.

    Example:
        loaded([{"cell_type": "code", "source": 'model = load("instruct")'}])      # {'model': 'instruct-tiny'}
    """
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found = re.findall(r'^(\w+) = load\("([\w-]+)"(?:, tier="tiny")?\)', code, re.M)
    return {name: _BUNDLED[role] for name, role in found if role in _BUNDLED}


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _options(call: ast.Call) -> dict[str, float] | None:
    try:
        options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except ValueError:
        return None
    if not set(options) <= _OPTIONS.keys() | _IGNORED or options.get("temperature", 0) > 0:
        return None  # drawn with other random numbers, an answer would be another one
    return {_OPTIONS[name]: value for name, value in options.items() if name in _OPTIONS}


def _conversations(call: ast.Call, tree: ast.Module) -> list[list[Message]]:
    """The conversations of a call whose argument is a literal, a name of one, or each of a list of literals in turn."""
    if len(call.args) != 1:
        return []
    literals = _literals(tree)
    asks = call.args[0]
    loops = [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.comprehension))]
    for loop in loops:
        if isinstance(asks, ast.Name) and ast.unparse(loop.target) == asks.id:
            values = literals.get(ast.unparse(loop.iter))
            return [_messages(value) for value in values] if isinstance(values, list) else []
    value = literals.get(asks.id) if isinstance(asks, ast.Name) else getattr(asks, "value", None)
    return [_messages(value)] if isinstance(value, (str, list)) else []


def _messages(value: str | list[Message]) -> list[Message]:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def _literals(tree: ast.Module) -> dict[str, Any]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def _answers(cell: Cell, questions: list[str]) -> list[str]:
    """The stored answers, in the forms that the labs show them in."""
    outputs = cell.get("outputs", ())
    for output in outputs:
        shown = "".join(output.get("data", {}).get("text/plain", "") or output.get("text", ""))
        whole = _ANSWER.fullmatch(shown)
        if whole and whole["model"] in _BUNDLED.values():
            return [whole["text"]]
        table = _TABLE_ROW.findall(shown)
        if table and len(questions) == 1:
            pieces = [piece.replace("\u2423", " ").replace("\u21b5", "\n") for piece in table if piece != "<|end|>"]
            return ["".join(pieces).removeprefix(" ")]
    printed = "".join("".join(output.get("text", "")) for output in outputs if output.get("name") == "stdout")
    arrows = [re.search(rf"^{re.escape(question)}  ->  (.*)$", printed, re.M) for question in questions]
    if arrows and all(arrows):
        return [found[1] for found in arrows if found]
    label = re.search(r'print\("([^"]+)", [\w.]+\.ask\(', "".join(cell["source"]))  # in the words of any language
    named = re.search(rf"^{re.escape(label[1])} (.*)\Z", printed.strip(), re.M) if label else None
    return [named[1]] if named and len(questions) == 1 else []


def with_buttons(notebook: str) -> str:
    """A notebook, as JSON, with a place for a button after each cell that can be asked again.

    Example:
        with_buttons(Path("notebooks/solutions/00-start-here.ipynb").read_text("utf-8"))
    """
    content = json.loads(notebook)
    models = loaded(content["cells"])
    cells = []
    for cell in content["cells"]:
        cells.append(cell)
        found = asked(cell, models)
        if found:
            kept = html.escape(json.dumps(asdict(found), ensure_ascii=False))
            place = f'<div class="labs-try" data-asked="{kept}"></div>'
            cells.append({"cell_type": "markdown", "id": f"{cell['id']}-try", "metadata": {}, "source": place})
    return json.dumps({**content, "cells": cells}, ensure_ascii=False)


def compared(cells: list[Cell]) -> list[str]:
    """The questions that lab 01 asks both bundled text models.

    Args:
        cells: of lab 01.

    Example:
        compared(course.notebook("01")["cells"])[0]      # 'Where is Changsha?'
    """
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "compare([previous" in source:
            return list(_literals(ast.parse(source))["questions"])
    raise LookupError("Lab 01 no longer compares two models.")
