"""What counts as a number where a person hands one in, and how sure a share is."""

from __future__ import annotations

import math
from typing import TypeGuard

SURE = 1.96  # standard deviations that hold 95% of a normal distribution


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


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95% interval of a share: what the true one may be, after `right` of `asked`.

    Source: Wilson 1927. It also holds for shares near 0 and 1, where the usual formula gives an interval of nothing.

    Example:
        >>> [round(share, 2) for share in wilson(40, 40)]
        [0.91, 1.0]
    """
    share, z = right / asked, SURE**2 / asked
    middle = (share + z / 2) / (1 + z)
    spread = SURE * math.sqrt(share * (1 - share) / asked + z / (4 * asked)) / (1 + z)
    return max(0.0, middle - spread), min(1.0, middle + spread)
