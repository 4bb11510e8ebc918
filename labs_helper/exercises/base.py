"""What a check needs: the exercise, the two ways to fail, and polite readers for what a learner hands in.

A check function takes the learner's value and either returns one sentence of praise or raises
`NotYet` (nothing filled in) or `TryAgain` (filled in, not right; the sentence names the likely mistake).
`check()` in the package turns both into a `CheckResult` (in `results`), so a cell with a wrong answer never stops a
notebook.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

from labs_helper.common.translate import _


class NotYet(Exception):
    """The stub is still there: `...`, `None`, or something that contains one of them."""


class TryAgain(Exception):
    """The value is not right yet. The message says what to look at, not the answer."""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    A lab's module makes its exercises in a function, each time they are asked for: their words are looked up in the
    learner's language when they are shown.

    Attributes:
        number: such as "1.3"; the part before the dot is the lab.
        title: what it asks, in one line.
        check: takes the learner's value and returns praise, or raises NotYet or TryAgain.
        hints: in the order in which they are shown.
    """

    number: str
    title: str
    check: Callable[[object], str]
    hints: tuple[str, ...]


def is_unfilled(value: object, depth: int = 3) -> bool:
    """Say whether a value is still (partly) a stub.

    Example:
        is_unfilled({"English": ...}), is_unfilled({"English": 1})      # (True, False)
    """
    if value is None or value is Ellipsis:
        return True
    if isinstance(value, str):
        return value.strip() in ("", "...")
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple, set, frozenset)):
        return False
    # A stub is short: nobody who hands in millions of parts has to wait until the last one is looked at.
    first = list(itertools.islice(value, 1000))
    return not first or any(is_unfilled(part, depth - 1) for part in first)


def kind(value: object) -> str:
    """Name a value's type in a learner's words.

    Example:
        kind("a")      # "a text (str)"
    """
    names: dict[type, str] = {
        str: _("a text (str)"),
        bool: _("True or False (bool)"),
        int: _("a whole number (int)"),
        float: _("a number (float)"),
        list: _("a list"),
        tuple: _("a tuple"),
        dict: _("a dict"),
        set: _("a set"),
    }
    return names.get(type(value)) or _("a {type}").format(type=type(value).__name__)


MOST_PARTS = 10_000  # of a list that a check reads; no right answer is as long


def as_list(value: object, most: int = MOST_PARTS, what: str = "") -> list[Any]:
    """The parts of a list, array or generator.

    An endless generator or a huge array is never read as a whole: the kernel would run out of memory.

    Args:
        value: what the learner handed in.
        most: the most parts that are read.
        what: how the message names the value.

    Raises:
        TryAgain: it has more parts, or none because it is not a list.

    Example:
        as_list(iter("ab"))      # ["a", "b"]
    """
    try:
        iterator = iter(value)  # type: ignore[call-overload]  # whether it can be iterated is what is found out here
    except TypeError as error:  # an array without dimensions says that it can be iterated, and then cannot
        raise TryAgain(
            _("{what} must be a list. I was given {kind}.").format(what=what or _("The answer"), kind=kind(value))
        ) from error
    parts = list(itertools.islice(iterator, most + 1))
    if len(parts) > most:
        raise TryAgain(
            _("{what} has more than {most} parts. Hand in only what was asked for.").format(
                what=what or _("The answer"), most=most
            )
        )
    return parts


def number(value: object, what: str = "") -> float:
    """Read one finite number: an int, a float or an array with one element.

    Raises:
        TryAgain: it is anything else; the message names it by `what`.

    Example:
        number(3)      # 3.0
    """
    what = what or _("The answer")
    if getattr(value, "size", None) == 1 and hasattr(value, "item"):  # an array with one element
        value = value.item()
    if isinstance(value, (bool, str, bytes)) or not isinstance(value, SupportsFloat):
        raise TryAgain(_("{what} must be a number. I was given {kind}.").format(what=what, kind=kind(value)))
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TryAgain(
            _("{what} must be one number. I was given {kind}.").format(what=what, kind=kind(value))
        ) from error
    if not math.isfinite(result):
        raise TryAgain(_("{what} must be a finite number. I was given {number}.").format(what=what, number=result))
    return result


def numbers(value: object, count: int, what: str = "") -> list[float]:
    """Read `count` numbers from a list, tuple, array, or from the values of a dict, in their order.

    Raises:
        TryAgain: it is anything else; the message names it by `what`.

    Example:
        numbers([1, 2], 2)      # [1.0, 2.0]
    """
    what = what or _("The answer")
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, (str, bytes)) or not (isinstance(value, Iterable) or hasattr(value, "tolist")):
        raise TryAgain(
            _("{what} must be a list of {count} numbers. I was given {kind}.").format(
                what=what, count=count, kind=kind(value)
            )
        )
    found = [number(part, _("Each part")) for part in as_list(value, what=what)]
    if len(found) != count:
        raise TryAgain(
            _("{what} must hold {count} numbers. I found {found}.").format(what=what, count=count, found=len(found))
        )
    return found


def text(value: object, what: str = "") -> str:
    """Read a text.

    Raises:
        TryAgain: it is anything else; the message names it by `what`.

    Example:
        text("a")      # "a"
    """
    if not isinstance(value, str):
        raise TryAgain(
            _("{what} must be a text (str). I was given {kind}.").format(what=what or _("The answer"), kind=kind(value))
        )
    return value


def a_function(value: object, name: str) -> Callable[..., Any]:
    """Read a function.

    Args:
        value: what the learner handed in.
        name: the function that was asked for, as the message calls it.

    Raises:
        TryAgain: it is anything else.

    Example:
        a_function(print, "print")      # print
    """
    if not callable(value):
        raise TryAgain(
            _("Hand in the function itself: {name}, without brackets. I was given {kind}.").format(
                name=name, kind=kind(value)
            )
        )
    return value


def returned(result: Any) -> Any:
    """What a learner's function returned. A stub that returns nothing is not wrong, it is not written yet.

    Raises:
        NotYet: it returned nothing, or the dots.

    Example:
        returned(3)      # 3
    """
    if result is None or result is Ellipsis:
        raise NotYet
    return result
