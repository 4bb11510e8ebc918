"""What counts as a number where a person hands one in."""

from __future__ import annotations

from typing import TypeGuard


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number. True and False are ints to Python, but nobody means them as a count.

    Example:
        is_whole(2), is_whole(True), is_whole(2.0)      # (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> TypeGuard[int | float]:
    """Whether a value is an int or a float, and neither True nor False.

    Example:
        is_real(2.5), is_real(True), is_real("2.5")      # (True, False, False)
    """
    return is_whole(value) or isinstance(value, float)
