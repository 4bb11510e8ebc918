"""Exercises that answer back: `check`, `hint` and, at the end of a lab, `so_far`. `predict` and `reveal`: guesses.

Each lab has a module of its own (`lab00`, `lab01`, ...) with a function `exercises`. The number before the dot names
the lab, so a check imports that module and no other. The registry of the labs says which labs have exercises.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from labs_helper import catalog
from labs_helper.catalog.labs import normal
from labs_helper.common import timeouts
from labs_helper.common.translate import _
from labs_helper.exercises import hints, progress, stored, tally
from labs_helper.exercises.base import Exercise, NotYet, TryAgain, is_unfilled
from labs_helper.exercises.looks import NOT_YET, PASSED, TRY_AGAIN
from labs_helper.exercises.predictions import Prediction, predict, reveal
from labs_helper.exercises.results import CheckResult, Hint
from labs_helper.exercises.strip import Strip, so_far

__all__ = [
    "CheckResult",
    "Hint",
    "Prediction",
    "Strip",
    "all_exercises",
    "check",
    "hint",
    "labs_with_exercises",
    "predict",
    "reveal",
    "so_far",
    "solved",
]

SECONDS = 10.0  # that a check may take
_LONGEST_MESSAGE = 1000  # characters; a message may quote what the learner handed in


def labs_with_exercises() -> list[str]:
    """The numbers of the labs that have exercises.

    Example:
        labs_with_exercises()      # ["00", "01", "02", "03", "05", "06", "07", "08"]
    """
    return [lab.number for lab in catalog.labs() if lab.exercises]


def all_exercises(lab: str | int | None = None) -> dict[str, Exercise]:
    """The exercises by number, of one lab (1, "1" or "01") or of all.

    Example:
        list(all_exercises("01"))[0]      # "1.1"
    """
    wanted = None if lab is None else normal(lab)
    return {
        exercise.number: exercise
        for number in labs_with_exercises()
        if wanted in (None, number)
        for exercise in importlib.import_module(f"{__name__}.lab{number}").exercises()
    }


def check(number: str, value: object = None) -> CheckResult:
    """Look at an answer, say whether it is right, and note the result for `labs progress`.

    Nothing but KeyboardInterrupt, which Stop sends, is raised: a wrong type, an unknown number, a function that fails
    or does not end within ten seconds is explained in the result.

    Args:
        number: the number of the exercise, such as "1.3".
        value: the learner's answer.

    Example:
        >>> check("1.7", (1, 40, 20, "no better than guessing")).passed
        True
    """
    asked = _text_of(number).strip()
    exercise = _find(asked)
    if exercise is None:
        return CheckResult(asked[:40], "", TRY_AGAIN, _unknown(asked))
    try:
        status, message = timeouts.interrupt_after(SECONDS, _judge, exercise, value)
    except timeouts.Interrupted:
        status, message = (
            TRY_AGAIN,
            _("No result after {seconds:g} seconds, so it was stopped. Look for a loop that never ends.").format(
                seconds=SECONDS
            ),
        )
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]} ..."
    return _result(exercise, status, message)


def _result(exercise: Exercise, status: str, message: str) -> CheckResult:
    """Note how an answer fared, and say it together with the tries and how far the lab is."""
    number = exercise.number
    unnoted = progress.record(number, status)
    if status != NOT_YET:
        hints.tried(number)
    of_lab = all_exercises(number.partition(".")[0])
    passed = sum(tally.of(other).passed for other in of_lab)
    return CheckResult(
        number, exercise.title, status, message, unnoted, tally.of(number).tries, (passed, len(of_lab)), exercise.hints
    )


def solved(
    number: str, function: Callable[..., Any], otherwise: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """A learner's function where a lab goes on with it, or a substitute until it passes its check.

    Prints which one is used. Nothing is noted: only `check` does that.

    Args:
        number: the number of the exercise.
        function: the learner's.
        otherwise: the substitute. By default it looks up stored results, and gives nan where none is stored.

    Example:
        counted = solved("3.1", parameters)
    """
    exercise = all_exercises(number.partition(".")[0])[number]
    try:
        status, _message = timeouts.interrupt_after(SECONDS, _judge, exercise, function)
    except timeouts.Interrupted:
        status = TRY_AGAIN
    if status == PASSED:
        print(_("Exercise {number} is solved: your function is used.").format(number=number))
        return function
    if otherwise is not None:
        told = _("Exercise {number} is not solved yet: a function of the course is used.")
    elif stored.is_given(number):
        told = _("Exercise {number} is not solved yet: stored results are used.")
    else:
        told = _(
            "Exercise {number} is not solved yet: its results show as nan here. Solve it, and run this cell again."
        )
    print(told.format(number=number))
    return otherwise or stored.substitute(number)


def hint(number: str) -> Hint:
    """Show a hint of an exercise, with the earlier ones in a fold. Raises nothing.

    The next hint comes after a new try, or when the cell runs twice in a row; Run All alone brings none.

    Args:
        number: the number of the exercise, such as "1.3".

    Example:
        hint("1.3")      # hint 1; run again at once, hint 2
    """
    asked = _text_of(number).strip()
    exercise = _find(asked)
    if exercise is None:
        return Hint(asked[:40], 0, 0, _unknown(asked))
    step = hints.next_step(exercise.number, len(exercise.hints))
    earlier, message = exercise.hints[: step - 1], exercise.hints[step - 1]
    return Hint(exercise.number, step, len(exercise.hints), message, earlier)


def _find(asked: str) -> Exercise | None:
    """The exercise of a number, from the module of its lab alone."""
    lab, dot, _rest = asked.partition(".")
    return all_exercises(lab).get(asked) if dot else None


def _unknown(asked: str) -> str:
    """The sentence for a number that no exercise has. It lists the exercises of that lab, or the labs."""
    lab = asked.partition(".")[0]
    of_lab = all_exercises(lab)
    if of_lab:
        return _('There is no exercise "{number}". The exercises of lab {lab} are: {numbers}.').format(
            number=asked[:40], lab=normal(lab), numbers=", ".join(of_lab)
        )
    return _('There is no exercise "{number}". Labs with exercises: {labs}. Ask for one such as "1.1".').format(
        number=asked[:40], labs=", ".join(labs_with_exercises())
    )


def _judge(exercise: Exercise, value: object) -> tuple[str, str]:
    """Status and message of an answer. Runs within the time limit: even the text of an error may never end."""
    try:
        if value is None:
            return NOT_YET, _(
                "There is nothing to check: I was given None. A name keeps a value with =, as in answer = 3; print "
                'shows a value and keeps nothing. For help: hint("{number}").'
            ).format(number=exercise.number)
        if is_unfilled(value):
            raise NotYet
        return PASSED, exercise.check(value)
    except NotYet:
        return NOT_YET, _(
            'Nothing to check here yet. Replace the dots (...) with your answer. For help: hint("{number}").'
        ).format(number=exercise.number)
    except TryAgain as problem:
        return TRY_AGAIN, _shown(problem)
    except (KeyboardInterrupt, timeouts.Interrupted):
        raise
    # The value comes from outside: its own methods may raise anything, `exit()` included, and a learner's cell must
    # go on. That this hides no mistake of the checks themselves is tested in tests/exercises.
    except BaseException as error:
        return TRY_AGAIN, _("Your answer could not be read: {kind}: {error}").format(
            kind=_name_of(error), error=_shown(error)[:200]
        )


def _text_of(number: object) -> str:
    """The number of an exercise as it was typed. Anything but a text or a plain number is shown within a second."""
    if any(type(number) is plain for plain in (str, int, float)):
        return str(number)
    try:
        return timeouts.interrupt_after(1, _shown, number)
    except timeouts.Interrupted:
        return _unshowable()


def _shown(value: object) -> str:
    """`str(value)`, whatever the value's own methods raise."""
    try:
        # str.__str__ makes a plain text, even where __str__ returns a kind of str with methods of its own.
        return str.__str__(str(value))
    except (KeyboardInterrupt, timeouts.Interrupted):
        raise
    except BaseException:
        return _unshowable()


def _unshowable() -> str:
    return _("(something that cannot be shown as text)")


def _name_of(error: BaseException) -> str:
    try:
        return str.__str__(type(error).__name__)
    except Exception:  # a class may hide even its name
        return _("error")
