"""`check("1.3", value)` and `hint("1.3")`: exercises that answer back.

One module a lab (`lab00`, `lab01`, ...), each with a tuple `EXERCISES`. The number before the dot names the lab.
"""

from __future__ import annotations

import importlib

from .base import CheckResult, Exercise, Hint, NotYet, TryAgain, is_unfilled

__all__ = ["CheckResult", "Hint", "all_exercises", "check", "hint"]

# The labs that have exercises. A new lab adds its module name here.
LABS = {"0": "lab00", "1": "lab01", "2": "lab02", "3": "lab03"}

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


def _find(id: object) -> Exercise | str:
    """The exercise, or a sentence that lists the ones there are."""
    known = all_exercises()
    key = str(id).strip()
    if key in known:
        return known[key]
    return f'There is no exercise "{key[:40]}". The exercises are: {", ".join(known)}.'


def check(id: str, value: object = None) -> CheckResult:
    """Look at an answer and say whether it is right.

    Arguments: `id`, the number of the exercise, such as "1.3"; `value`, the learner's answer.
    Raises nothing: a wrong type, an unknown number or a function that fails is told in words.
    Example:
        >>> check("1.7", 2 * 32 * 32 * 96 * 2).passed
        True
    """
    exercise = _find(id)
    if isinstance(exercise, str):
        return CheckResult(str(id)[:40], "", "try again", exercise)

    def result(status: str, message: str) -> CheckResult:
        return CheckResult(exercise.id, exercise.title, status, message)

    stub = f'Nothing to check here yet. Replace the dots (...) with your answer. For help: hint("{exercise.id}").'
    try:
        if is_unfilled(value):
            return result("not yet", stub)
        return result("passed", exercise.check(value))
    except NotYet:
        return result("not yet", stub)
    except TryAgain as problem:
        return result("try again", str(problem))
    # The value comes from outside: its own methods may raise anything, and a learner's cell must go on.
    # The kind of error is passed on in words; tests/test_exercises.py holds the checks themselves to account.
    except Exception as error:
        return result("try again", f"Your answer could not be read: {type(error).__name__}: {str(error)[:200]}")


def hint(id: str) -> Hint:
    """Show the next hint of an exercise; the last one stays.

    Argument: `id`, the number of the exercise. Raises nothing.
    Example: `hint("1.3")` shows hint 1, and called again hint 2.
    """
    exercise = _find(id)
    if isinstance(exercise, str):
        return Hint(str(id)[:40], 0, 0, exercise)
    step = min(_hints_shown.get(exercise.id, 0) + 1, len(exercise.hints))
    _hints_shown[exercise.id] = step
    return Hint(exercise.id, step, len(exercise.hints), exercise.hints[step - 1])
