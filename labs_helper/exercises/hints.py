"""Which hint comes next.

Each exercise has its hints in an order. The next one comes when a person asks for it, never because a notebook runs
once more from top to bottom: after an answer was tried for which a cell had been edited, or when the cell with `hint`
runs twice in a row. A model that answers differently makes no new try, and neither does a cell that runs for the first
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labs_helper.common.shell import running_shell

_MARK = "_labs_hints"  # the shell keeps our handler under this name, so that it is registered once


@dataclass(frozen=True)
class _Shown:
    """The last hint of an exercise that was shown: which, in which cell, after how many tries and edits."""

    step: int
    cell: int
    tries: int
    edits: int


_shown: dict[str, _Shown] = {}
_tries: dict[str, int] = {}
_sources: dict[str, str] = {}  # what each cell of the notebook held when it ran last, by its id
_edits = 0  # how often a cell ran with another text than before


def watch(shell: Any) -> None:
    """Count the edits of a notebook's cells. Called again, it changes nothing.

    Example:
        watch(get_ipython())
    """
    if getattr(shell, _MARK, None) is None:
        setattr(shell, _MARK, _ran)
        shell.events.register("pre_run_cell", _ran)


def _ran(info: Any) -> None:
    global _edits
    cell, text = info.cell_id, info.raw_cell.strip()
    if cell is not None:  # JupyterLab and VS Code name the cell
        _edits += _sources.get(cell, text) != text
        _sources[cell] = text


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
    elif cell is None or cell == before.cell + 1 or (tries > before.tries and _edits > before.edits):
        step = min(before.step + 1, steps)
    else:
        step = before.step
    _shown[exercise] = _Shown(step, 0 if cell is None else cell, tries, _edits)
    return step


def forget() -> None:
    """Begin with the first hint of every exercise again.

    Example:
        forget()
    """
    for known in (_shown, _tries, _sources):
        known.clear()


def _cell() -> int | None:
    """The number of the cell that runs now; None in a plain Python, where every call is a person's."""
    shell = running_shell()
    if shell is None:
        return None
    watch(shell)  # late, but better than never: nobody has called `check_setup`
    return int(shell.execution_count)
