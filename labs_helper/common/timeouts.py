"""Time limits for code that nobody has checked: a learner's function, a learner's tool.

There are two, because neither works everywhere. `interrupt_after` stops the code itself, but only in the main thread
of a system with alarms. `wait_at_most` works anywhere, but the code goes on in a thread of its own.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AGAIN = 1.0  # seconds after which a function that swallowed the first alarm gets another


class Interrupted(BaseException):
    """The time is over, raised inside the code that took it.

    Not an Exception: `except Exception` in a learner's function must not swallow it.
    """


class TooLong(Exception):
    """There was no result in time, raised in the thread that waited for it."""


def can_interrupt() -> bool:
    """Whether `interrupt_after` can stop something here: in the main thread, and not on Windows, which has no alarms.

    Example:
        can_interrupt()      # True in a notebook cell on macOS and Linux
    """
    return sys.platform != "win32" and threading.current_thread() is threading.main_thread()


def interrupt_after(seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, and stop it in the middle if it takes too long.

    Where `can_interrupt` is False the function has no limit. Python acts on an alarm between two of its own steps: a
    single call of C code that never ends (`sum(itertools.count())`) cannot be stopped from here, and Stop in
    JupyterLab cannot stop it either. An alarm that was set before is put back afterwards.

    Raises:
        Interrupted: the time was over.

    Example:
        interrupt_after(1, sum, [1, 2])      # 3
    """
    if sys.platform == "win32" or not can_interrupt():
        return function(*args, **kwargs)
    running = True

    def alarm(_number: int, _frame: FrameType | None) -> None:
        if running:
            raise Interrupted

    started = time.monotonic()
    before = signal.getsignal(signal.SIGALRM)
    left, interval = 0.0, 0.0
    try:
        signal.signal(signal.SIGALRM, alarm)
        left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        return function(*args, **kwargs)
    finally:
        while True:  # the alarm may go off in these very lines: then once more from the top
            try:
                running = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
                if left:
                    signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.001), interval)
                break
            except Interrupted:
                continue


def wait_at_most(seconds: float | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, and wait for its result no longer than that. None waits without a limit.

    A function that never ends is left behind in its thread, which does not keep the program alive.

    Raises:
        TooLong: there was no result in time.

    Example:
        wait_at_most(1, sum, [1, 2])      # 3
    """
    if seconds is None:
        return function(*args, **kwargs)
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function(*args, **kwargs))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="labs-with-a-limit", daemon=True)
    thread.start()
    thread.join(max(seconds, 0))
    if errors:
        raise errors[0]
    if not results:
        raise TooLong
    return results[0]


@contextmanager
def cut_after(seconds: float, cut: Callable[[], object]) -> Iterator[None]:
    """Call `cut` if the block takes longer than that, so that what it waits for ends.

    The time limit of a socket counts each piece on its own: a server that sends a byte a second never reaches it.

    Args:
        seconds: for the whole block.
        cut: called in another thread; its errors are ignored.

    Example:
        with cut_after(10, lambda: connection.shutdown(socket.SHUT_RDWR)): ...
    """

    def now() -> None:
        with suppress(Exception):
            cut()

    timer = threading.Timer(seconds, now)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
