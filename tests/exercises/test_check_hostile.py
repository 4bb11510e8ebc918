"""`check` against everything a cell can hand it: it answers in words, in time, and the kernel lives on."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading

import numpy
import pytest

from labs_helper import exercises
from labs_helper.common import timeouts
from labs_helper.exercises import all_exercises, check, hint
from labs_helper.exercises.base import TryAgain, as_list, numbers

EVERY = list(all_exercises())


class Hiding(type):
    """A class that does not even tell its name."""

    @property
    def __name__(cls):
        raise RuntimeError("no name")

    def __hash__(cls):
        raise RuntimeError("no hash")


class Nameless(metaclass=Hiding):
    pass


class Masked:
    """Says it is anything, and fails when somebody looks."""

    def __getattribute__(self, name):
        raise OSError("leave me alone")


class Text(str):
    def strip(self, *args):
        raise RuntimeError("no")

    casefold = lower = count = index = replace = strip


class LoudError(Exception):
    def __str__(self):
        raise RuntimeError("an error about an error")

    __repr__ = __str__


class Leaving(BaseException):
    pass


def raising(error):
    def function(*_args):
        raise error

    return function


def recursive(*_):
    return recursive()


def endless(*_):
    while True:
        yield 1


deep: list = []
for _ in range(100_000):
    deep = [deep]
itself: list = []
itself.append(itself)


@pytest.mark.parametrize("number", EVERY)
@pytest.mark.parametrize(
    "make",
    [
        lambda: Masked(),
        lambda: Nameless(),
        lambda: Text("Kenya"),
        lambda: deep,
        lambda: itself,
        lambda: {1: itself},
        lambda: endless(),
        lambda: itertools.count(),
        lambda: itertools.repeat("China"),
        lambda: (endless(), "Korean"),
        lambda: [itertools.count()],
        lambda: {"English": itertools.count()},
        lambda: numpy.broadcast_to(numpy.float64(1), 10**12),
        lambda: numpy.broadcast_to(1.5, (10**6, 10**6)),
        lambda: numpy.array(3.5),
        lambda: range(10**12),
        lambda: "x" * 10**7,
        lambda: [0.0] * 10**6,
        pytest.param(
            lambda: recursive,
            # A fault of those interpreters: this function never raises RecursionError there and ends the process.
            marks=pytest.mark.skipif(
                (3, 13, 0) <= sys.version_info[:3] <= (3, 13, 5), reason="seen in CPython 3.13.0 and 3.13.5"
            ),
        ),
        lambda: endless,
        lambda: itertools.count,
        lambda: raising(LoudError()),
        lambda: raising(SystemExit(1)),
        lambda: raising(GeneratorExit()),
        lambda: raising(Leaving("gone")),
        lambda: raising(MemoryError()),
        lambda: lambda *_: Masked(),
        lambda: lambda *_: itself,
        lambda: lambda *_: Text("short"),
        lambda: lambda *_: numpy.broadcast_to(1.0, 10**12),
        lambda: sys.exit,
    ],
)
def test_answers_in_words_and_in_time(number, make):
    result = check(number, make())
    assert result.status in ("try again", "not yet"), result
    assert 0 < len(result.message) <= 1010
    assert type(result.message) is str and str(result) and result._repr_html_()
    assert "No result after" not in result.message  # that is for code which never ends; what is only long is not read


def test_a_number_that_cannot_be_shown():
    class Never:
        def __str__(self):
            while True:
                pass

    for number in (Masked(), Nameless(), Never(), LoudError(), raising(SystemExit)):
        assert check(number, 1).status == "try again"
        assert "Labs with exercises" in str(hint(number))


@pytest.mark.parametrize("swallow", [False, True])
def test_a_function_that_never_returns_is_stopped(monkeypatch, swallow):
    monkeypatch.setattr(exercises, "SECONDS", 0.3)
    monkeypatch.setattr(timeouts, "AGAIN", 0.1)
    caught = []

    def loops(*_):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                caught.append(1)
                if not swallow or len(caught) > 2:
                    raise

    result = check("1.6", loops)
    assert result.status == "try again" and "never ends" in result.message
    assert len(caught) == (3 if swallow else 1)
    assert check("1.7", (1, 40, 20, "no better than guessing")).passed


def test_in_another_thread_there_is_no_limit_and_no_error():
    found = []
    thread = threading.Thread(
        target=lambda: found.extend(
            [timeouts.can_interrupt(), check("1.7", (1, 40, 20, "no better than guessing")).passed]
        )
    )
    thread.start()
    thread.join()
    assert found == [False, True] and timeouts.can_interrupt()


def test_stop_still_stops():
    with pytest.raises(KeyboardInterrupt):
        check("1.6", raising(KeyboardInterrupt()))


def test_a_process_that_was_given_all_this_is_still_there():
    """Endless iterators must not be read into memory: with a limit of 2 GB more than now, the process would die."""
    code = (
        "import itertools, resource\n"
        "from labs_helper.exercises import all_exercises, check\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))\n"
        "for number in all_exercises():\n"
        "    for value in (itertools.count(), [itertools.repeat(1)], lambda *_: itertools.count()):\n"
        "        assert not check(number, value).passed\n"
        "print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "alive", done.stderr


def test_parts_and_numbers_read_no_more_than_they_need():
    assert as_list(iter("abc")) == ["a", "b", "c"]
    with pytest.raises(TryAgain, match="more than"):
        as_list(itertools.count())
    assert numbers(numpy.arange(3), 3) == [0, 1, 2]
    assert numbers({"a": 1, "b": 2}, 2) == [1, 2]
    with pytest.raises(TryAgain, match="I found 2"):
        numbers([1, 2], 3)
