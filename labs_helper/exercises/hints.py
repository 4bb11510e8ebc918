"""Which hint comes next.

Each exercise has its hints in an order. The next one comes when a person asks for it, never because a notebook runs
once more from top to bottom: after a new answer was tried, or when the cell with `hint` runs twice in a row. "New"
means that something was typed that did not run before; a model that answers differently makes no new try.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Shown:
    """The last hint of an exercise that was shown: which, in which cell, and after how many tries in this kernel."""

    step: int
    cell: int
    tries: int


_shown: dict[str, _Shown] = {}
_tries: dict[str, int] = {}


def tried(exercise: str) -> None:
    """Note that an answer was looked at.

    Example:
        tried("1.3")
    """
    _tries[exercise] = _tries.get(exercise, 0) + 1


def next_step(exercise: str, steps: int) -> int:
    """The number of the hint to show now, from 1. The last one stays.

    Args:
        exercise: its number.
        steps: how many hints it has.

    Example:
        next_step("1.3", 3)      # 1
    """
    cell, tries, before = _cell(), _tries.get(exercise, 0), _shown.get(exercise)
    if before is None:
        step = 1
    elif cell is None or cell == before.cell + 1 or (tries > before.tries and _typed_since(before.cell, cell)):
        step = before.step + 1
    else:
        step = before.step
    step = min(step, steps)
    _shown[exercise] = _Shown(step, 0 if cell is None else cell, tries)
    return step


def forget() -> None:
    """Begin with the first hint of every exercise again.

    Example:
        forget()
    """
    _shown.clear()
    _tries.clear()


def _shell() -> Any:
    """IPython's shell, or None in a plain Python, where every call is a person's."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _cell() -> int | None:
    """The number of the cell that runs now."""
    shell = _shell()
    return None if shell is None else int(shell.execution_count)


def _typed_since(earlier: int, now: int) -> bool:
    """Whether a cell after `earlier`, up to `now`, holds something that had not run by then."""
    inputs: Sequence[str] = _shell().history_manager.input_hist_raw
    ran = {text.strip() for text in inputs[: earlier + 1]}
    return any(text.strip() not in ran for text in inputs[earlier + 1 : now + 1])
