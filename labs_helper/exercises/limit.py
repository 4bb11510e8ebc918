"""A time limit for code of a learner, in the thread that runs it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

SECONDS = 10.0
_AGAIN = 1.0  # seconds after which a function that swallowed the first alarm gets another


class TooLong(BaseException):
    """The time is over. Not an Exception: `except Exception` in a learner's function must not swallow it."""


def can_limit() -> bool:
    """Whether `within` can stop something here: in the main thread, where the system has alarms (not on Windows).

    Example:
        can_limit()      # True in a notebook cell on macOS and Linux
    """
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


def within(seconds: float, function: Callable, *arguments: Any) -> Any:
    """Call a function; raise `TooLong` if it has not returned after so many seconds.

    Where `can_limit` is False the function is called without a limit. An alarm is heard between two steps of Python:
    one call of C code that never ends (`sum(itertools.count())`) cannot be stopped from here, and Stop in
    JupyterLab cannot stop it either. An alarm that somebody else has set is put back afterwards.

    Example:
        within(1, sum, [1, 2])      # 3
    """
    if not can_limit():
        return function(*arguments)
    running = True

    def alarm(_number, _frame):
        if running:
            raise TooLong

    started = time.monotonic()
    before = signal.getsignal(signal.SIGALRM)
    left, interval = 0.0, 0.0
    try:
        signal.signal(signal.SIGALRM, alarm)
        left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        return function(*arguments)
    finally:
        while True:  # the alarm may go off in these very lines: then once more from the top
            try:
                running = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
                if left:
                    signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.001), interval)
                break
            except TooLong:
                continue
