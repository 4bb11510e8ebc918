"""Why an answer is wrong: the one home of what every exercise can name.

A function that returns nothing, prints instead, or fails; a result in per cent or in another unit, rounded, one too
large, upside down, or always twice too large. An exercise adds sentences for the mistakes of its own, which are
recognised by their stored results (`stored`). A mistake is named only if it explains *all* answers: with one input
alone, two mistakes often give the same number.
"""

from __future__ import annotations

import copy
import dis
import inspect
import io
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

from labs_helper.common.translate import _
from labs_helper.exercises.base import NotYet, TryAgain, number
from labs_helper.exercises.stored import Case

_NOTHING_DONE = {"RESUME", "NOP", "CACHE", "POP_TOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "LOAD_SMALL_INT"}
_MOST_PRINTED = 2000  # characters of what a function prints while it is tried
_NEAR = 1e-6

Close = Callable[[Any, Any], bool]


def near(answer: float, expected: float, tolerance: float = _NEAR) -> bool:
    """Whether two numbers are the same but for the last digits.

    Example:
        near(0.1 + 0.2, 0.3)      # True
    """
    return math.isclose(answer, expected, rel_tol=tolerance, abs_tol=tolerance)


# --- Calling a learner's function ---------------------------------------------------------------------------------


class _Listening(io.StringIO):
    """Hands on what is printed, no more than a few lines of it, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self._out = sys.stdout

    def write(self, text: str) -> int:
        room = _MOST_PRINTED - self.tell()
        if room > 0:
            self._out.write(text[:room])
            super().write(text[:room])
        return len(text)


def called(function: Callable[..., Any], arguments: Sequence[Any], call: str) -> Any:
    """What a learner's function returns for arguments that it may change.

    Args:
        function: the learner's.
        arguments: they are copied.
        call: how the messages name the call.

    Raises:
        NotYet: the function is still the stub.
        TryAgain: it failed, printed its result, or returned nothing.

    Example:
        called(len, ["abc"], "len('abc')")      # 3
    """
    heard = _Listening()
    try:
        with redirect_stdout(heard):
            result = function(*copy.deepcopy(list(arguments)))
    except (NotYet, TryAgain):
        raise
    except Exception as error:
        raise TryAgain(_failed(function, arguments, call, error)) from error
    if result is Ellipsis:
        raise NotYet
    if result is not None:
        return result
    if printed := heard.getvalue().strip():
        raise TryAgain(
            _("{call} printed {printed!r} and returned nothing. Write return in place of print.").format(
                call=call, printed=printed[:40]
            )
        )
    if is_stub(function):
        raise NotYet
    raise TryAgain(
        _("{call} returned nothing (None). A function needs return in front of its result.").format(call=call)
    )


def is_stub(function: Callable[..., Any]) -> bool:
    """Whether the body of a function does nothing: dots, pass, or a docstring.

    Example:
        is_stub(lambda x: ...), is_stub(lambda x: x)      # (True, False)
    """
    code = getattr(function, "__code__", None)
    return code is not None and all(step.opname in _NOTHING_DONE for step in dis.get_instructions(code))


def _failed(function: Callable[..., Any], arguments: Sequence[Any], call: str, error: Exception) -> str:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return _("It is called as {call}, so your function takes {count} arguments, in this order.").format(
            call=call, count=len(arguments)
        )
    except ValueError:  # a function of C that does not say what it takes
        pass
    told = _("{call} raised {error}: {message}.").format(
        call=call, error=type(error).__name__, message=_message(error)[:120]
    )
    if isinstance(error, NameError):
        return " ".join((told, _("Run the cells above, from the top, and check the spelling of that name.")))
    if isinstance(error, RecursionError):
        return " ".join((told, _("The function calls itself without an end.")))
    return told


def _message(error: Exception) -> str:
    try:
        return str.__str__(str(error)).rstrip(".")
    except Exception:  # an error whose text fails as well
        return "?"


# --- Comparing with stored results --------------------------------------------------------------------------------


def judge(
    function: Callable[..., Any],
    tried: Sequence[Case],
    sentences: Mapping[str, str],
    *,
    call: Callable[..., str],
    made: Callable[..., Sequence[Any]] = lambda *arguments: arguments,
    read: Callable[[Any, str], Any] = number,
    close: Close = near,
    unit: str = "",
) -> None:
    """Try a learner's function on stored cases.

    Args:
        function: the learner's.
        tried: the cases.
        sentences: what to say about each mistake, in the order in which they are looked for; the one under "" is said
            where none fits.
        call: how the messages name the call; takes the arguments.
        made: turns stored arguments into those of the learner's function.
        read: turns a result into what is compared.
        close: whether two results count as the same.
        unit: what the numbers count, such as "bytes".

    Raises:
        NotYet: the function is still the stub.
        TryAgain: it is not right; the message names the first case that is not, and the likely mistake.
    """
    shown = [call(*case.arguments) for case in tried]
    answers = [
        read(called(function, made(*case.arguments), text), text) for case, text in zip(tried, shown, strict=True)
    ]
    refuse(answers, tried, sentences, shown=shown, close=close, unit=unit)


def refuse(
    answers: Sequence[Any],
    tried: Sequence[Case],
    sentences: Mapping[str, str],
    *,
    shown: Sequence[str] = (),
    close: Close = near,
    unit: str = "",
) -> None:
    """Compare answers with stored results. Arguments as for `judge`; `shown` names the calls.

    Raises:
        TryAgain: one of them is not right.

    Example:
        refuse([0.5], [Case((), 0.25, {"twice": 0.5})], {"twice": "This is twice the answer.", "": "Divide."})
    """
    first = next((i for i, case in enumerate(tried) if not close(answers[i], case.right)), None)
    if first is None:
        return
    why = _of_stored(answers, tried, sentences, close) or _of_numbers(answers, tried, unit) or sentences[""]
    if not shown:
        raise TryAgain(why)
    raise TryAgain(
        _("{call} returned {answer}. {why}").format(call=shown[first], answer=_short(answers[first]), why=why)
    )


def _of_stored(answers: Sequence[Any], tried: Sequence[Case], sentences: Mapping[str, str], close: Close) -> str:
    for name, sentence in sentences.items():
        if name and all(
            name in case.mistakes and close(answer, case.mistakes[name])
            for answer, case in zip(answers, tried, strict=True)
        ):
            return sentence
    return ""


def _of_numbers(answers: Sequence[Any], tried: Sequence[Case], unit: str) -> str:
    """The mistakes that numbers show by themselves: wrong unit, rounded, one off, upside down."""
    rights = [case.right for case in tried]
    if not all(isinstance(part, (int, float)) for part in (*answers, *rights)):
        return ""

    def all_are(expected: Callable[[float], float]) -> bool:
        try:
            return all(near(answer, expected(right)) for answer, right in zip(answers, rights, strict=True))
        except (ZeroDivisionError, OverflowError):
            return False

    for test, sentence in (*_units(rights, unit), *_shapes(rights)):
        if all_are(test):
            return sentence
    for digits in range(-9, 4):
        if all_are(partial(_rounded, digits)) or all_are(partial(_significant, digits)):
            return _("The number is right, but rounded. Hand it in as it is computed.")
    return ""


def _units(rights: Sequence[float], unit: str) -> list[tuple[Callable[[float], float], str]]:
    """Results in another unit."""
    tests: list[tuple[Callable[[float], float], str]] = []
    # Shares, some of which may be above 1.
    if all(0 <= right <= 5 for right in rights) and not all(float(right).is_integer() for right in rights):
        tests.append((lambda right: 100 * right, _("This is in per cent. Hand in the share: do not multiply by 100.")))
    if unit == _("bytes"):
        tests += [
            (lambda right: 8 * right, _("These are bits. A byte has eight: hand in bytes.")),
            (lambda right: right / 1024, _("This is in KiB. Hand in bytes.")),
            (lambda right: right / 1e3, _("This is in kB. Hand in bytes.")),
            (lambda right: right / 2**20, _("This is in MiB. Hand in bytes.")),
            (lambda right: right / 1e6, _("This is in MB. Hand in bytes.")),
            (lambda right: right / 2**30, _("This is in GiB. Hand in bytes.")),
            (lambda right: right / 1e9, _("This is in GB. Hand in bytes.")),
        ]
    if all(right >= 1000 for right in rights):
        tests += [
            (lambda right: right / 1e9, _("This is in billions. Hand in the number itself.")),
            (lambda right: right / 1e6, _("This is in millions. Hand in the number itself.")),
            (lambda right: right / 1e3, _("This is in thousands. Hand in the number itself.")),
        ]
    return tests


def _shapes(rights: Sequence[float]) -> list[tuple[Callable[[float], float], str]]:
    """Results that differ from the right ones in the same way each time."""
    several = len(rights) > 1
    tests: list[tuple[Callable[[float], float], str]] = []
    if all(float(right).is_integer() for right in rights):
        tests += [
            (lambda right: right + 1, _("This is one too many. Where does your count begin or end?")),
            (lambda right: right - 1, _("This is one too few. Where does your count begin or end?")),
        ]
    tests.append((lambda right: -right, _("The size is right, the sign is not.")))
    if several:
        tests += [
            (lambda right: 1 / right, _("This is upside down: divide the other way round.")),
            (lambda right: 1 - right, _("This is the rest: 1 less the answer.")),
            (lambda right: 2 * right, _("This is twice the answer each time.")),
            (lambda right: right / 2, _("This is half of the answer each time.")),
        ]
    return tests


def _rounded(digits: int, value: float) -> float:
    return round(value, digits)


def _significant(digits: int, value: float) -> float:
    return float(f"{value:.{digits}g}") if digits > 1 else math.nan


def _short(answer: Any) -> str:
    if isinstance(answer, list):
        return f"[{', '.join(map(_short, answer[:20]))}{', ...' if len(answer) > 20 else ''}]"
    if isinstance(answer, float):
        return f"{answer:,.0f}" if abs(answer) >= 1e4 else f"{answer:.4g}"
    return str(answer)[:120]
