"""Time limits: code that takes too long is stopped or left behind, and everything else goes on as before."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from labs_helper.common import timeouts


def failing(error):
    raise error


def test_what_is_quick_returns_what_it_returns():
    assert timeouts.interrupt_after(5, sum, [1, 2], start=3) == 6
    assert timeouts.wait_at_most(5, sum, [1, 2], start=3) == 6
    assert timeouts.wait_at_most(None, sum, [1, 2], start=3) == 6
    assert timeouts.wait_at_most(5, lambda: None) is None


@pytest.mark.parametrize("limit", [timeouts.interrupt_after, timeouts.wait_at_most])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_errors_come_through(limit, error):
    with pytest.raises(type(error)) as caught:
        limit(5, failing, error)
    assert caught.value is error


def test_what_takes_too_long_is_interrupted_or_left_behind():
    start = time.monotonic()
    with pytest.raises(timeouts.Interrupted):
        timeouts.interrupt_after(0.1, time.sleep, 5)
    with pytest.raises(timeouts.TooLong):
        timeouts.wait_at_most(0.1, time.sleep, 2)
    with pytest.raises(timeouts.TooLong):
        timeouts.wait_at_most(-1, time.sleep, 2)
    assert time.monotonic() - start < 1.5


def test_a_function_that_waits_in_another_thread_is_no_reason_to_stay():
    before, left = set(threading.enumerate()), threading.Event()
    with pytest.raises(timeouts.TooLong):
        timeouts.wait_at_most(0.05, left.wait, 60)
    assert [thread.daemon for thread in threading.enumerate() if thread not in before] == [True]
    left.set()


def test_an_alarm_of_somebody_else_survives():
    """pytest-timeout stops stuck tests with the same alarm."""
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_args: heard.append(1))
    left = signal.setitimer(signal.ITIMER_REAL, 0.3)[0]
    try:
        assert timeouts.interrupt_after(5, sum, [1, 2]) == 3
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 0.3
        with pytest.raises(timeouts.Interrupted):
            timeouts.interrupt_after(0.5, time.sleep, 5)
        time.sleep(0.1)
        assert heard == [1]
        assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)
