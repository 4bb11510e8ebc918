"""Stored results of exercises: what a check compares with, and what a lab goes on with.

The learners' zip holds this package, and no solution. So the checks know results and no formulas: the files in
`references/` beside this module have inputs, the right result of each, and the results of mistakes that people make.
`python -m references` computes them from the solution cells of the notebooks; neither those nor the program are in
the zip.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Number
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "references"


@dataclass(frozen=True)
class Case:
    """One input of an exercise and its results.

    Attributes:
        arguments: of the learner's function; empty where the answer is a value.
        right: the right result.
        mistakes: the results of mistakes, by a name that the check has a sentence for.
    """

    arguments: tuple[Any, ...]
    right: Any
    mistakes: Mapping[str, Any]


def cases(number: str) -> tuple[Case, ...]:
    """The stored cases of an exercise.

    Raises:
        KeyError: there are none.

    Example:
        cases("3.6")[0].right      # 0.0
    """
    return tuple(
        Case(tuple(case["arguments"]), case["right"], case["mistakes"]) for case in _of_lab(number)[number]["cases"]
    )


def case(number: str) -> Case:
    """The stored case of an exercise whose answer is a value.

    Example:
        case("1.3").right      # [0.88, 0.12, 0.002, 0.0003], with more digits
    """
    return cases(number)[0]


def digest(value: str | bytes) -> str:
    """What is stored of a text or an array that is itself the solution: enough to recognise it, and no more.

    Example:
        digest("a")[:8]      # 'ca978112'
    """
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()[:32]


def is_given(number: str) -> bool:
    """Whether results are stored for a lab to go on with.

    Example:
        is_given("3.1"), is_given("3.6")      # (True, False)
    """
    return "given" in _of_lab(number)[number]


def substitute(number: str) -> Callable[..., Any]:
    """A function that looks results up, for a lab whose exercise is not solved yet; NaN for what is not stored.

    Example:
        substitute("3.1")(shape, 16)      # 41872261120 for the shape of Phi-3.5-MoE
    """
    given = _of_lab(number)[number].get("given", ())

    def look_up(*arguments: Any) -> Any:
        return next((right for known, right in given if _is_same(known, arguments)), math.nan)

    return look_up


def _is_same(known: list[Any], asked: tuple[Any, ...]) -> bool:
    """Whether stored arguments are those that were asked for; a dict may hold more than what is stored."""

    def holds(stored: Any, value: Any) -> bool:
        if isinstance(stored, dict):
            return isinstance(value, Mapping) and stored.items() <= value.items()
        if isinstance(stored, list):
            return isinstance(value, (list, tuple)) and len(stored) == len(value) and all(map(holds, stored, value))
        return isinstance(value, (Number, str)) and bool(stored == value)

    return len(known) == len(asked) and all(map(holds, known, asked))


def _of_lab(number: str) -> dict[str, Any]:
    return _read(f"lab{number.partition('.')[0].zfill(2)}")


@cache
def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    return content
