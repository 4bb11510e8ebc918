"""What a check needs: the exercise, the two ways to fail, and polite readers for whatever a learner hands in.

A check function takes the learner's value and either returns one sentence of praise or raises
`NotYet` (nothing filled in) or `TryAgain` (filled in, not right; the sentence names the likely mistake).
`check()` in the package turns both into a `CheckResult`, so a cell with a wrong answer never stops a notebook.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


class NotYet(Exception):
    """The stub is still there: `...`, `None`, or something that contains one of them."""


class TryAgain(Exception):
    """The value is not right yet. The message says what to look at, not the answer."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number, what it asks in one line, its check, and its hints in the order to show them."""

    id: str
    title: str
    check: Callable[[object], str]
    hints: tuple[str, ...]


@dataclass(frozen=True)
class CheckResult:
    """What `check()` shows.

    Arguments: `id` and `title` of the exercise, `status` ("passed", "not yet", "try again"), `message`.
    Example: `check("1.5", answer).passed` is True or False.
    """

    id: str
    title: str
    status: str
    message: str

    @property
    def passed(self) -> bool:
        """True when the answer is right."""
        return self.status == "passed"

    def __str__(self) -> str:
        return f"Exercise {self.id} - {self.status.upper()}: {self.message}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # The state is a word, not a colour. Everything is escaped: a message may quote what the learner typed.
        edge = {"passed": "3px solid", "try again": "3px dashed"}.get(self.status, "3px dotted")
        return (
            f'<div role="status" style="border-left:{edge} currentColor;padding:.3em .8em;max-width:60em">'
            f"<strong>Exercise {html.escape(self.id)}: {html.escape(self.status.upper())}.</strong> "
            f"{html.escape(self.message)}</div>"
        )


@dataclass(frozen=True)
class Hint:
    """What `hint()` shows: one hint, its number, and how many there are."""

    id: str
    step: int
    steps: int
    message: str

    def __str__(self) -> str:
        if not self.steps:
            return self.message
        after = "This was the last hint." if self.step == self.steps else "Call hint again for the next one."
        return f"Hint {self.step} of {self.steps} for exercise {self.id}: {self.message} ({after})"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div style="border-left:3px double currentColor;padding:.3em .8em">{html.escape(str(self))}</div>'


def is_unfilled(value: object, depth: int = 3) -> bool:
    """Say whether a value is still (partly) a stub.

    Example: `is_unfilled({"English": ...})` is True, `is_unfilled({"English": 1})` is False.
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
    # A stub is short: whoever hands in millions of parts is not made to wait for the look at the last one.
    first = list(itertools.islice(value, 1000))
    return not first or any(is_unfilled(part, depth - 1) for part in first)


def kind(value: object) -> str:
    """Name a value's type in a learner's words. Example: `kind("a")` is "a text (str)"."""
    names = {
        str: "a text (str)",
        bool: "True or False (bool)",
        int: "a whole number (int)",
        float: "a number (float)",
        list: "a list",
        tuple: "a tuple",
        dict: "a dict",
        set: "a set",
    }
    return names.get(type(value), f"a {type(value).__name__}")


MOST_PARTS = 10_000  # of a list that a check reads; no right answer is as long


def as_list(value: Iterable, most: int = MOST_PARTS, what: str = "The answer") -> list:
    """The parts of a list, array or generator; raise `TryAgain` if there are more than `most`.

    An endless generator or a huge array is never read as a whole: the kernel would run out of memory.
    Example: `as_list(iter("ab"))` is `["a", "b"]`.
    """
    try:
        iterator = iter(value)
    except TypeError as error:  # an array without dimensions says that it can be iterated, and then cannot
        raise TryAgain(f"{what} must be a list. I was given {kind(value)}.") from error
    found = list(itertools.islice(iterator, most + 1))
    if len(found) > most:
        raise TryAgain(f"{what} has more than {most} parts. Hand in only what was asked for.")
    return found


def number(value: object, what: str = "The answer") -> float:
    """Read one finite number; raise `TryAgain` for anything else.

    Accepts int, float and one-element arrays. Example: `number(3)` is 3.0.
    """
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TryAgain(f"{what} must be a number. I was given {kind(value)}.")
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise TryAgain(f"{what} must be one number. I was given {kind(value)}.") from error
    if not math.isfinite(result):
        raise TryAgain(f"{what} must be a finite number. I was given {result}.")
    return result


def numbers(value: object, count: int, what: str = "The answer") -> list[float]:
    """Read `count` numbers from a list, tuple, array, or from the values of a dict, in their order.

    Example: `numbers([1, 2], 2)` is `[1.0, 2.0]`.
    """
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, (str, bytes)) or not (isinstance(value, Iterable) or hasattr(value, "tolist")):
        raise TryAgain(f"{what} must be a list of {count} numbers. I was given {kind(value)}.")
    found = [number(part, f"Each part of {what[:1].lower() + what[1:]}") for part in as_list(value, what=what)]
    if len(found) != count:
        raise TryAgain(f"{what} must hold {count} numbers. I found {len(found)}.")
    return found


def text(value: object, what: str = "The answer") -> str:
    """Read a text; raise `TryAgain` for anything else. Example: `text("a")` is "a"."""
    if not isinstance(value, str):
        raise TryAgain(f"{what} must be a text (str). I was given {kind(value)}.")
    return value


def a_function(value: object, name: str) -> Callable:
    """Read a function; raise `TryAgain` for anything else. Example: `a_function(print, "print")` is `print`."""
    if not callable(value):
        raise TryAgain(f"Hand in the function itself: {name}, without brackets. I was given {kind(value)}.")
    return value


def returned(result: object) -> object:
    """What a learner's function gave; a stub that returns nothing is not wrong, it is not written yet: `NotYet`.

    Example: `returned(3)` is 3.
    """
    if result is None or result is Ellipsis:
        raise NotYet
    return result
