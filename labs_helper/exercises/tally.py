"""Tries and passes as this kernel knows them, to be shown at once.

The progress file knows more: other kernels, other days. Each write to it brings its numbers here (`progress`). With
LABS_PROGRESS=off, or while the file cannot be used, the numbers of this kernel remain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """How often an exercise was tried, and whether it ever passed."""

    tries: int = 0
    passed: bool = False


_counts: dict[str, Count] = {}


def add(exercise: str, *, passed: bool) -> None:
    """Count one try.

    Example:
        add("1.3", passed=True)
    """
    before = of(exercise)
    _counts[exercise] = Count(before.tries + 1, before.passed or passed)


def of(exercise: str) -> Count:
    """What is known of an exercise.

    Example:
        of("1.3").tries
    """
    return _counts.get(exercise, Count())


def replace(known: Mapping[str, Count]) -> None:
    """Take over what the file says of all exercises.

    Example:
        replace({"1.3": Count(2, passed=True)})
    """
    # In two steps that each leave something to read: a check in another thread may ask at any moment.
    _counts.update(known)
    for exercise in _counts.keys() - known.keys():
        _counts.pop(exercise, None)
