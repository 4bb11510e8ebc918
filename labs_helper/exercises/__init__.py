"""`check("1.3", value)` and `hint("1.3")`: exercises that answer back.

One module a lab (`lab00`, `lab01`, ...), each with a tuple `EXERCISES`. The number before the dot names the lab.
"""

from __future__ import annotations

import importlib

from labs_helper.exercises import limit, progress
from labs_helper.exercises.base import CheckResult, Exercise, Hint, NotYet, TryAgain, is_unfilled

__all__ = ["CheckResult", "Hint", "all_exercises", "check", "hint"]

# The labs that have exercises. A new lab adds its module name here.
LABS = {"0": "lab00", "1": "lab01", "2": "lab02", "3": "lab03", "7": "lab07"}

_LONGEST_MESSAGE = 1000  # characters; a message may quote what the learner handed in

_hints_shown: dict[str, int] = {}


def all_exercises(lab: str | None = None) -> dict[str, Exercise]:
    """Return the exercises by number, of one lab ("1" or "01") or of all.

    Example: `list(all_exercises("01"))` starts with "1.1".
    """
    wanted = LABS if lab is None else {key: name for key, name in LABS.items() if key == (str(lab).lstrip("0") or "0")}
    found: dict[str, Exercise] = {}
    for module_name in wanted.values():
        module = importlib.import_module(f"{__name__}.{module_name}")
        found.update({exercise.id: exercise for exercise in module.EXERCISES})
    return found


def _find(id: object) -> tuple[str, Exercise | None, str]:
    """The number as text, the exercise, and where there is none a sentence that lists the ones there are."""
    known = all_exercises()
    key = _as_text(id).strip()[:40]
    if key in known:
        return key, known[key], ""
    return key, None, f'There is no exercise "{key}". The exercises are: {", ".join(known)}.'


def _as_text(value: object) -> str:
    """`str(value)`, whatever the value's own methods do."""
    try:
        # str.__str__ makes a plain text, even where __str__ returns a kind of str with methods of its own.
        return str.__str__(limit.within(1, str, value))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(something that cannot be shown as text)"


def _kind_of(error: BaseException) -> str:
    try:
        return str.__str__(type(error).__name__)
    except Exception:  # a class may hide even its name
        return "error"


def check(id: str, value: object = None) -> CheckResult:
    """Look at an answer, say whether it is right, and note the result for `labs progress`.

    Arguments: `id`, the number of the exercise, such as "1.3"; `value`, the learner's answer.
    Raises nothing but KeyboardInterrupt, which Stop sends: a wrong type, an unknown number, a function that fails
    or that does not end within ten seconds is told in words.
    Example:
        >>> check("1.7", 2 * 32 * 32 * 96 * 2).passed
        True
    """
    key, exercise, problem = _find(id)
    if exercise is None:
        return CheckResult(key, "", "try again", problem)
    status, message = _look(exercise, value)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]} ..."
    progress.record(exercise.id, status)
    return CheckResult(exercise.id, exercise.title, status, message)


def _look(exercise: Exercise, value: object) -> tuple[str, str]:
    """Status and message of an answer."""
    stub = f'Nothing to check here yet. Replace the dots (...) with your answer. For help: hint("{exercise.id}").'

    def judge() -> str:
        if is_unfilled(value):
            raise NotYet
        return exercise.check(value)

    try:
        return "passed", limit.within(limit.SECONDS, judge)
    except NotYet:
        return "not yet", stub
    except TryAgain as problem:
        return "try again", _as_text(problem)
    except KeyboardInterrupt:
        raise
    except limit.TooLong:
        return "try again", (
            f"No result after {limit.SECONDS:g} seconds, so it was stopped. Look for a loop that never ends."
        )
    # The value comes from outside: its own methods may raise anything, `exit()` included, and a learner's cell must
    # go on. The kind of error is passed on in words; tests/exercises/test_exercises.py holds the checks themselves to account.
    except BaseException as error:
        return "try again", f"Your answer could not be read: {_kind_of(error)}: {_as_text(error)[:200]}"


def hint(id: str) -> Hint:
    """Show the next hint of an exercise; the last one stays.

    Argument: `id`, the number of the exercise. Raises nothing.
    Example: `hint("1.3")` shows hint 1, and called again hint 2.
    """
    key, exercise, problem = _find(id)
    if exercise is None:
        return Hint(key, 0, 0, problem)
    step = min(_hints_shown.get(exercise.id, 0) + 1, len(exercise.hints))
    _hints_shown[exercise.id] = step
    return Hint(exercise.id, step, len(exercise.hints), exercise.hints[step - 1])
