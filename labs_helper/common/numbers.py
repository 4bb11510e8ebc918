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


def whole(text: str) -> int | None:
    """The whole number in a text that a server has sent, such as a header; None if it is not one of 1 to 18 digits.

    Python's own int takes signs, spaces and underscores, and str.isdigit() lets \u00b2 through, which int refuses.

    Example:
        whole("120"), whole("\u00b2"), whole("9" * 5000)      # (120, None, None)
    """
    return int(text) if 0 < len(text) <= 18 and text.isascii() and text.isdigit() else None
