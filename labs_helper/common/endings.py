"""How a command ends that somebody ends from outside."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def by_signal() -> Iterator[None]:
    """Let a closed terminal and `kill` end a program as an error does, so that it takes half-written files away.

    In the main thread; in another nothing changes.

    Example:
        with by_signal(): export("phi-3.5-mini-instruct-4bit", "/Volumes/STICK")
    """
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]  # Windows has one of the two
    # One that is ignored stays so: nohup does that.
    ours = [number for number in signals if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
