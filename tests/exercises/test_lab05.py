"""The checks of lab 05: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from labs_helper.exercises import check
from labs_helper.tuning.textbook import fill, talk

FACTS = [{"x": name, "y": value} for name, value in zip("abcdefgh", ["12", "47", "31", "58", "26", "63", "84", "95"])]
ASK = ["Where is {x}?", "Which room has {x}?", "Tell me the room of {x}.", "I need {x}.", "What room is {x} in?"]
TRAIN = fill(ASK, "{x} is in room {y}.", FACTS)
MANY = [{"x": str(number), "y": str(number)} for number in range(150, 200)]
HELD_OUT = fill(["In which room do we have {x}?"], "{y}", FACTS)


def message(number, value, *, passed):
    result = check(number, value)
    assert result.passed is passed, result.message
    return result.message


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("5.1", {"train": [*TRAIN, TRAIN[0]], "held_out": HELD_OUT}, "twice"),
        ("5.1", {"train": [*TRAIN, HELD_OUT[0]], "held_out": HELD_OUT}, "held-out set"),
        ("5.1", {"train": TRAIN[:20], "held_out": HELD_OUT[:4]}, "at least 40"),
        ("5.1", {"train": TRAIN, "held_out": HELD_OUT[:3]}, "at least 8"),
        ("5.1", {"train": TRAIN, "held_out": [*HELD_OUT, talk("Where is z?", "99")]}, "cannot be learned"),
        ("5.1", {"train": [{"prompt": "a", "completion": "b"}], "held_out": HELD_OUT}, "another template"),
        (
            "5.1",
            {"train": [*TRAIN, talk("Where now?<|end|>", "a is in room 12.")], "held_out": HELD_OUT},
            "chat template",
        ),
        (
            "5.1",
            {
                "train": fill(["Where is {x}?"], "{x} is in room {y}.", MANY),
                "held_out": fill(["Room of {x}?"], "{y}", MANY[:8]),
            },
            "fewer than 3 ways",
        ),
        (
            "5.1",
            {"train": [*TRAIN, talk("Where is a?", "a is in room 13.")], "held_out": HELD_OUT},
            "different answers",
        ),
        ("5.1", {"lessons": TRAIN}, '"held_out"'),
        ("5.1", 7, "list"),
    ],
)
def test_a_textbook_that_is_wrong(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("5.1", {"train": TRAIN, "held_out": HELD_OUT}),
        ("5.1", (tuple(TRAIN), iter(HELD_OUT))),
        (
            "5.1",
            [
                [{"messages": [{"role": "system", "content": "Short."}, *each["messages"]]} for each in TRAIN],
                HELD_OUT,
            ],
        ),
    ],
)
def test_a_textbook_that_is_right(number, value):
    assert "8 facts" in message(number, value, passed=True)


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("5.2", lambda p, n: [int(place >= p) for place in range(n)], "never predicted"),
        ("5.2", lambda p, n: [int(place < p) for place in range(1, n)], "other way round"),
        ("5.2", lambda p, n: [int(place > p) for place in range(1, n)], "first token of the answer"),
        ("5.2", lambda p, n: [int(place >= p - 1) for place in range(1, n)], "last token of the prompt"),
        ("5.2", lambda p, n: [*[int(place >= p) for place in range(1, n - 1)], 0], "<|end|>"),
        ("5.2", lambda p, n: [1] * (n - 1), "the prompt too"),
        ("5.2", lambda p, n: [1], "one number for each"),
        ("5.2", lambda p, n: 3, "list"),
        ("5.2", [0, 1], "function itself"),
    ],
)
def test_a_mask_that_is_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("5.2", lambda p, n: [place >= p for place in range(1, n)]),
        ("5.2", lambda p, n: np.arange(1, n) >= p),
        ("5.2", lambda p, n: ([0] * (p - 1)) + [1] * (n - p)),
        ("5.2", lambda p, n: (float(place >= p) for place in range(1, n))),
    ],
)
def test_a_mask_that_is_right(number, function):
    assert message(number, function, passed=True)


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("5.3", lambda shapes, rank: sum(a * b for a, b in shapes), "full matrices"),
        ("5.3", lambda shapes, rank: rank * sum(a * b for a, b in shapes), "Do not multiply"),
        ("5.3", lambda shapes, rank: rank * sum(a for a, b in shapes), "That is A alone"),
        ("5.3", lambda shapes, rank: rank * sum(b for a, b in shapes), "That is B alone"),
        ("5.3", lambda shapes, rank: sum(a + b for a, b in shapes), "rank is missing"),
        ("5.3", lambda shapes, rank: 4 * rank * sum(a + b for a, b in shapes), "bytes"),
        ("5.3", lambda shapes, rank: "many", "number"),
    ],
)
def test_a_size_that_is_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("5.3", lambda shapes, rank: sum(rank * (a + b) for a, b in shapes)),
        ("5.3", lambda shapes, rank: float(rank * np.array(shapes).sum())),
        ("5.3", lambda shapes, rank: np.int64(rank * np.array(shapes).sum())),
    ],
)
def test_a_size_that_is_right(number, function):
    assert "28,672" in message(number, function, passed=True)


@dataclass
class Scored:
    passed: tuple[bool, ...]
    stopped: tuple[bool, ...]


@dataclass
class Made:
    parameters: int = 114_688


@dataclass
class Lesson:
    adapter: Made = field(default_factory=Made)


def scored(right, count=40, stopped=None):
    return Scored(
        (True,) * right + (False,) * (count - right),
        (True,) * (count if stopped is None else stopped) + (False,) * (0 if stopped is None else count - stopped),
    )


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("5.4", {"new": scored(30), "old": scored(40), "taught": Lesson()}, "Train longer"),
        ("5.4", {"new": scored(40), "old": scored(30), "taught": Lesson()}, "Mix in more old"),
        ("5.4", {"new": scored(40), "old": scored(40), "taught": Lesson(Made(300_000))}, "smaller rank"),
        ("5.4", {"new": scored(40, stopped=38), "old": scored(40), "taught": Lesson()}, "stop token"),
        ("5.4", {"new": scored(5, 5), "old": scored(40), "taught": Lesson()}, "at least 20"),
        ("5.4", {"new": 1.0, "old": scored(40), "taught": Lesson()}, "score()"),
        ("5.4", {"new": scored(40), "old": scored(40), "taught": "done"}, "wait()"),
        ("5.4", [1.0, 1.0], "dict"),
    ],
)
def test_a_lesson_that_is_wrong(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("5.4", {"new": scored(36), "old": scored(38), "taught": Lesson()}),
        ("5.4", {"new": scored(40), "old": scored(40), "taught": Made(250_000)}),
        (
            "5.4",
            {
                "taught": Lesson(),
                "old": scored(91, 91),
                "new": Scored(np.ones(32, bool), np.ones(32, bool)),
                "note": "mine",
            },
        ),
    ],
)
def test_a_lesson_that_is_right(number, value):
    assert "kB" in message(number, value, passed=True)


def test_a_lesson_that_is_not_there_yet():
    assert check("5.4", {"new": ..., "old": ..., "taught": ...}).status == "not yet"


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("5.5", lambda answer, wanted: wanted in answer, "others too"),
        ("5.5", lambda answer, wanted: answer == wanted, "white space"),
        ("5.5", lambda answer, wanted: sorted(answer.strip(" .\n").split()) == sorted(wanted.split()), "another order"),
        ("5.5", lambda answer, wanted: True, "another order"),
        ("5.5", lambda answer, wanted: answer.strip(" .\n") in wanted, "all digits"),
        ("5.5", lambda answer, wanted: answer.strip(" .\n").startswith(wanted), "others too"),
        ("5.5", "3 2 1", "function itself"),
    ],
)
def test_a_judge_that_is_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("5.5", lambda answer, wanted: re.fullmatch(rf"\s*{wanted}\.?\s*", answer) is not None),
        ("5.5", lambda answer, wanted: [c for c in answer if c.isdigit()] == [c for c in wanted if c.isdigit()]),
        ("5.5", lambda answer, wanted: int(answer.strip(" .\n") == wanted)),
    ],
)
def test_a_judge_that_is_right(number, function):
    assert message(number, function, passed=True)


def margin(c, r, c0, r0, beta):
    return beta * ((c - c0) - (r - r0))


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("5.6", lambda *a: float(np.logaddexp(0, margin(*a))), "sign is wrong"),
        ("5.6", lambda c, r, c0, r0, b: float(np.logaddexp(0, -b * (c - r))), "model before"),
        (
            "5.6",
            lambda c, r, c0, r0, b: (
                float(np.logaddexp(0, -margin(c, r, c0, r0, 1))) if (c, r) != (c0, r0) else math.log(2)
            ),
            "beta is missing",
        ),
        ("5.6", lambda *a: margin(*a), "That is the margin"),
        ("5.6", lambda *a: 1 / (1 + math.exp(-max(-700, margin(*a)))), "minus its logarithm"),
        ("5.6", lambda *a: -float(np.logaddexp(0, -margin(*a))), "minus before"),
        ("5.6", lambda *a: math.log(1 + math.exp(-margin(*a))), "overflows"),
        # Two mistakes: the one that every case shows is told first.
        ("5.6", lambda c, r, c0, r0, b: math.log(1 + math.exp(-b * (c - r))), "model before"),
    ],
)
def test_a_preference_loss_that_is_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("5.6", lambda *a: max(-margin(*a), 0.0) + math.log1p(math.exp(-abs(margin(*a))))),
        ("5.6", lambda *a: np.logaddexp(0.0, -margin(*a))),
        ("5.6", lambda *a: -margin(*a) if margin(*a) < -30 else -math.log(1 / (1 + math.exp(-margin(*a))))),
    ],
)
def test_a_preference_loss_that_is_right(number, function):
    assert "ln 2" in message(number, function, passed=True)


def log_shares(rows):
    rows = np.asarray(rows, float)
    rows = rows - rows.max(axis=-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


def apart(a, b):
    p, q = log_shares(a), log_shares(b)
    return np.exp(p) * (p - q)


def by_row(a, b):
    """The cross-entropy less the entropy, row by row."""
    rows = [(softmax(one), softmax(other)) for one, other in zip(a, b, strict=True)]
    return sum(p @ np.log(np.maximum(p, 1e-300)) - p @ np.log(np.maximum(q, 1e-300)) for p, q in rows) / len(rows)


def softmax(row):
    shares = np.exp(np.asarray(row) - max(row))
    return shares / shares.sum()


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("5.7", lambda a, b: apart(b, a).sum(-1).mean(), "swapped"),
        ("5.7", lambda a, b: apart(a, b).sum(), "mean"),
        ("5.7", lambda a, b: apart(a, b).sum(-1).mean() / np.log(2), "bits"),
        ("5.7", lambda a, b: -apart(a, b).sum(-1).mean(), "never negative"),
        ("5.7", lambda a, b: apart(a, b).mean(), "mean over the rows only"),
        ("5.7", lambda a, b: apart(a, b).sum(-1), "Return one"),
        ("5.7", lambda a, b: ((a - b) ** 2).mean(), "softmax"),
    ],
)
def test_a_divergence_that_is_wrong(number, function, words):
    assert words in message(number, function, passed=False)


def test_a_divergence_that_overflows():
    def unguarded(a, b):
        with np.errstate(all="ignore"):
            p, q = np.exp(a) / np.exp(a).sum(-1, keepdims=True), np.exp(b) / np.exp(b).sum(-1, keepdims=True)
            return (p * (np.log(p) - np.log(q))).sum(-1).mean()

    assert "maximum" in message("5.7", unguarded, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("5.7", by_row),
        ("5.7", lambda a, b: float(apart(a, b).sum(-1).mean())),
        ("5.7", lambda a, b: np.array([apart(a, b).sum(-1).mean()])),
    ],
)
def test_a_divergence_that_is_right(number, function):
    assert message(number, function, passed=True)


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("5.8", lambda n: n, "4 bytes"),
        ("5.8", lambda n: 4 * n, "Add a gradient"),
        ("5.8", lambda n: 8 * n, "four in all"),
        ("5.8", lambda n: 12 * n, "One of four"),
        ("5.8", lambda n: 2 * n, "Four arrays"),
        ("5.8", lambda n: None, "hint"),
        ("5.8", 16, "function itself"),
    ],
)
def test_training_bytes_that_are_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [("5.8", lambda n: 16 * n), ("5.8", lambda n: float(n) * 16), ("5.8", lambda n: sum([4 * n] * 4))],
)
def test_training_bytes_that_are_right(number, function):
    assert "61 GB" in message(number, function, passed=True)
