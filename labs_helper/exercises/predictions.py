"""`predict("1.4a", 3)` and `reveal("1.4a", measured)`: a guess before a cell, and what came out beside it.

A guess is never graded. It is kept with the learner's progress (`progress.note_guess`) until another guess at the same
place replaces it or `labs reset` removes it. What is shown follows from the guess and the measured value alone, so the
outputs of a notebook are the same in each run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labs_helper import catalog
from labs_helper.catalog.labs import normal
from labs_helper.common import timeouts
from labs_helper.common.markup import escape, printable
from labs_helper.common.numbers import is_real
from labs_helper.common.translate import _
from labs_helper.exercises import progress
from labs_helper.exercises.base import is_unfilled, kind

_SECONDS = 5.0  # that reading a value may take
_MOST_PARTS = 40  # of a list; what is longer is no list to compare by eye
_LONGEST = 300  # characters of one text
_LONGEST_PLACE = 20

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True)
class Prediction:
    """What `predict` and `reveal` show.

    Attributes:
        place: such as "1.4a".
        lines: what is shown, one sentence a line.
        guess: the learner's guess as plain Python, or None if there is none.
        measured: what `reveal` was given, as plain Python; None from `predict`.
    """

    place: str
    lines: tuple[str, ...]
    guess: Plain | None = None
    measured: Plain | None = None

    def __str__(self) -> str:
        return printable("\n".join([f"{self._head()} {self.lines[0]}", *self.lines[1:]]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "<br>".join(escape(line) for line in self.lines)
        return (
            f'<div role="status" style="border-left:3px double;padding:.3em .8em;max-width:60em">'
            f"<strong>{escape(self._head())}</strong> {rows}</div>"
        )

    def _head(self) -> str:
        return _("Guess {place}.").format(place=self.place)


def predict(place: str, guess: object = ...) -> Prediction:
    """Commit a guess before the cell that measures. It is kept with your progress and never graded.

    Nothing but KeyboardInterrupt, which Stop sends, is raised: a guess that cannot be kept is explained in the result.

    Args:
        place: the number of the lab, a dot and more, such as "1.4a". `reveal` names the same place.
        guess: a number, a few words, or a short list or dict of them. Dots (...) are no guess yet.

    Example:
        predict("1.4a", 3)
    """
    return _show(_predict, place, guess)


def reveal(place: str, measured: object) -> Prediction:
    """Show what was guessed at a place beside what came out. Without a guess it says so, and the notebook goes on.

    Raises nothing but KeyboardInterrupt, which Stop sends.

    Args:
        place: as in `predict`.
        measured: a number, a few words, or a short list or dict of them.

    Example:
        reveal("1.4a", len(tokens))
    """
    return _show(_reveal, place, measured)


def _show(work: Callable[[str, object], Prediction], place: object, value: object) -> Prediction:
    """The result of `work`, whatever the methods of a value do."""
    known = _place(place)
    if not known:
        shown = place[:_LONGEST_PLACE] if isinstance(place, str) else kind(place)
        labs = ", ".join(lab.number for lab in catalog.labs())
        return Prediction(
            shown,
            (_("A place is the number of a lab, a dot and more, such as 1.4a. Labs: {labs}.").format(labs=labs),),
        )
    try:
        return timeouts.interrupt_after(_SECONDS, work, known, value)
    except KeyboardInterrupt:
        raise
    except _NotPlain as problem:
        return Prediction(known, (str(problem),))
    except BaseException:  # the value comes from outside: its methods may raise anything, `exit()` included
        return Prediction(known, (_("The value could not be read. Use a number, some words or a short list."),))


def _place(place: object) -> str:
    """A place as it is kept: "01.4a" and "1.4a" are one. Empty if it names no lab."""
    if not isinstance(place, (str, float)):
        return ""
    lab, dot, rest = str.__str__(str(place)).strip().partition(".")
    if not dot or not rest or len(rest) > _LONGEST_PLACE or normal(lab) not in {lab.number for lab in catalog.labs()}:
        return ""
    return f"{int(lab)}.{rest}"


def _predict(place: str, guess: object) -> Prediction:
    if is_unfilled(guess):
        kept = _guessed(place)
        if kept is None:
            return Prediction(
                place,
                (_("No guess yet. Replace the dots (...) with your guess, and run this cell; nobody grades it."),),
            )
        return Prediction(place, (_("Your earlier guess is kept: {guess}").format(guess=_words(kept)),), kept)
    plain = _plain(guess)
    trouble = progress.note_guess(place, json.dumps(plain, ensure_ascii=False))
    noted = _("Noted: {guess}").format(guess=_words(plain))
    return Prediction(place, (noted, trouble) if trouble else (noted,), plain)


def _reveal(place: str, measured: object) -> Prediction:
    plain = _plain(measured)
    told = _("Measured: {measured}").format(measured=_words(plain))
    guess = _guessed(place)
    if guess is None:
        return Prediction(place, (" ".join((_("No guess yet."), told)),), None, plain)
    lines = (_("Your guess: {guess}").format(guess=_words(guess)), told, _compared(guess, plain))
    return Prediction(place, tuple(line for line in lines if line), guess, plain)


def _guessed(place: str) -> Plain | None:
    stored = progress.guesses().get(place)
    try:
        return None if stored is None else _plain(json.loads(stored))
    except (ValueError, _NotPlain):  # somebody else wrote into the file
        return None


def _compared(guess: Plain, measured: Plain) -> str:
    """How far apart two numbers are: as a ratio where that says more, else as a difference. Nothing for others."""
    if guess == measured:
        return _("They are the same.")
    if not (is_real(guess) and is_real(measured) and math.isfinite(guess) and math.isfinite(measured)):
        return ""
    if guess > 0 and measured > 0 and not 0.5 < measured / guess < 2:
        if measured > guess:
            return _("Measured is {ratio} times your guess.").format(ratio=_number(measured / guess, 2))
        return _("Your guess is {ratio} times what was measured.").format(ratio=_number(guess / measured, 2))
    if measured > guess:
        return _("Measured is {difference} more than your guess.").format(difference=_number(measured - guess))
    return _("Measured is {difference} less than your guess.").format(difference=_number(guess - measured))


class _NotPlain(Exception):
    """A value that cannot be kept or shown. The message says what can."""


def _plain(value: object, depth: int = 2) -> Plain:
    """A value as JSON can hold it: numbers, texts, and short lists and dicts of them; arrays become lists."""
    if isinstance(value, (bool, int, float, str)):
        for plain in (bool, int, float, str):
            if isinstance(value, plain):
                return _short(plain(value))
    if hasattr(value, "tolist"):
        value = value.tolist()
        return _plain(value, depth)
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    if depth and isinstance(value, (list, tuple, Mapping)):
        if len(value) > _MOST_PARTS:
            raise _NotPlain(_("That list is long. At most {most} parts can be shown here.").format(most=_MOST_PARTS))
        if isinstance(value, Mapping):
            return {str(_short(str(key))): _plain(part, depth - 1) for key, part in value.items()}
        return [_plain(part, depth - 1) for part in value]
    raise _NotPlain(
        _("Use a number, some words, or a short list of them. I was given {kind}.").format(kind=kind(value))
    )


def _short(value: bool | int | float | str) -> bool | int | float | str:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]} ..."
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        raise _NotPlain(_("That number has more than {most} digits.").format(most=_LONGEST))
    return value


def _words(value: Plain) -> str:
    """A value as it is shown."""
    if isinstance(value, Mapping):
        return ", ".join(_("{name}: {value}").format(name=name, value=_words(part)) for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(f"[{_words(part)}]" if isinstance(part, (list, dict)) else _words(part) for part in value)
    return _number(value) if is_real(value) else str(value)


def _number(value: float, digits: int = 4) -> str:
    """A number to read: whole numbers in full, others with a few digits."""
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
