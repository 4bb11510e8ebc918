"""The right results of the exercises, and those of common mistakes, computed for `labs_helper/exercises/references/`.

    python -m references            # writes the files
    python -m references --check    # says which differ, without writing

The formulas are in two places, and neither is in the learners' zip: the right ones in the solution cells of
`notebooks/src`, which are run here, and the wrong ones in this folder, a module for each lab. A test in
tests/exercises compares the files with both, and the right results with formulas of its own.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "labs_helper" / "exercises" / "references"
LABS = ("01", "02", "03", "04", "05", "06", "08")


@dataclass(frozen=True)
class Reference:
    """How the results of one exercise come about.

    Attributes:
        number: of the exercise.
        right: a function of the arguments.
        arguments: of each case; one empty tuple where the answer is a value.
        mistakes: functions of the arguments, by the name that the check has a sentence for.
        given: arguments whose results the lab needs where the exercise is not solved.
        made: turns stored arguments into what the functions take.
        kept: turns a result into what is stored.
    """

    number: str
    right: Callable[..., Any]
    arguments: Sequence[Sequence[Any]] = ((),)
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    given: Sequence[Sequence[Any]] = ()
    made: Callable[..., Sequence[Any]] = lambda *arguments: arguments
    kept: Callable[[Any], Any] = lambda result: result

    def stored(self) -> dict[str, Any]:
        """What the file holds of this exercise."""
        entry: dict[str, Any] = {
            "cases": [
                {
                    "arguments": list(arguments),
                    "right": self._of(self.right, arguments),
                    "mistakes": {name: self._of(wrong, arguments) for name, wrong in self.mistakes.items()},
                }
                for arguments in self.arguments
            ]
        }
        if self.given:
            entry["given"] = [[list(arguments), self._of(self.right, arguments)] for arguments in self.given]
        return entry

    def _of(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        return self.kept(function(*self.made(*arguments)))


@cache
def solution(lab: str, name: str) -> Any:
    """What the solution cells of a lab define under a name; cells of solutions alone are run, and only that one.

    Raises:
        KeyError: no solution cell defines it.

    Example:
        solution("03", "hit_rate")("ABAB", 2)      # 0.5
    """
    from labs_helper.course import editions

    (source,) = (ROOT / "notebooks" / "src").glob(f"{lab}-*.py")
    for cell in editions.read(source):
        if "solution" not in editions.tags(cell) or cell.cell_type != "code" or name not in cell.source:
            continue
        if name not in compile(cell.source, source.name, "exec").co_names:
            continue
        space: dict[str, Any] = {"np": numpy, "json": json}  # which a lab may import in an earlier cell
        exec(cell.source, space)  # our own solution, from this repository
        return space[name]
    raise KeyError(f"no solution cell of lab {lab} defines {name}")


def texts() -> dict[Path, str]:
    """The text of each file, by its path."""
    return {
        FOLDER / f"lab{lab}.json": _text(
            {one.number: one.stored() for one in importlib.import_module(f"references.lab{lab}").references()}
        )
        for lab in LABS
    }


def alike(text: str, other: str) -> bool:
    """Whether two texts of a file hold the same.

    Numbers may differ in their last digits: since Python 3.12 `sum` errs less than before.
    """
    return _alike(json.loads(text), json.loads(other))


def _alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other or (isinstance(one, float) and numpy.isclose(one, other, 1e-12, 1e-12, equal_nan=True)))


def _text(exercises: dict[str, Any]) -> str:
    """JSON with one case a line, so that a change shows where it is."""
    parts = []
    for number, entry in exercises.items():
        lists = [
            f'    "{name}": [\n      '
            + ",\n      ".join(json.dumps(one, ensure_ascii=False) for one in entries)
            + "\n    ]"
            for name, entries in entry.items()
        ]
        parts.append(f'  "{number}": {{\n' + ",\n".join(lists) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"
