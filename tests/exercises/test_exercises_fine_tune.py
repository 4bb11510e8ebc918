"""The checks of lab 05: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from labs_helper.exercises import check, lab05
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
    ("value", "words"),
    [
        ({"train": [*TRAIN, TRAIN[0]], "held_out": HELD_OUT}, "twice"),
        ({"train": [*TRAIN, HELD_OUT[0]], "held_out": HELD_OUT}, "held-out set"),
        ({"train": TRAIN[:20], "held_out": HELD_OUT[:4]}, "at least 40"),
        ({"train": TRAIN, "held_out": HELD_OUT[:3]}, "at least 8"),
        ({"train": TRAIN, "held_out": [*HELD_OUT, talk("Where is z?", "99")]}, "cannot be learned"),
        ({"train": [{"prompt": "a", "completion": "b"}], "held_out": HELD_OUT}, "another template"),
        ({"train": [*TRAIN, talk("Where now?<|end|>", "a is in room 12.")], "held_out": HELD_OUT}, "chat template"),
        (
            {"train": fill(["Where is {x}?"], "{x} is in room {y}.", MANY),
             "held_out": fill(["Room of {x}?"], "{y}", MANY[:8])},
            "fewer than 3 ways",
        ),
        ({"train": [*TRAIN, talk("Where is a?", "a is in room 13.")], "held_out": HELD_OUT}, "different answers"),
        ({"lessons": TRAIN}, '"held_out"'),
        (7, "list"),
    ],
)  # fmt: skip
def test_a_textbook_that_is_wrong(value, words):
    assert words in message("5.1", value, passed=False)


@pytest.mark.parametrize(
    "value",
    [
        {"train": TRAIN, "held_out": HELD_OUT},
        (tuple(TRAIN), iter(HELD_OUT)),
        [
            [{"messages": [{"role": "system", "content": "Short."}, *each["messages"]]} for each in TRAIN],
            HELD_OUT,
        ],
    ],
)
def test_a_textbook_that_is_right(value):
    assert "8 facts" in message("5.1", value, passed=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda p, n: [int(place >= p) for place in range(n)], "never predicted"),
        (lambda p, n: [int(place < p) for place in range(1, n)], "other way round"),
        (lambda p, n: [int(place > p) for place in range(1, n)], "first token of the answer"),
        (lambda p, n: [int(place >= p - 1) for place in range(1, n)], "last token of the prompt"),
        (lambda p, n: [*[int(place >= p) for place in range(1, n - 1)], 0], "<|end|>"),
        (lambda p, n: [1] * (n - 1), "the prompt too"),
        (lambda p, n: [1], "one number for each"),
        (lambda p, n: 3, "list"),
        ([0, 1], "function itself"),
    ],
)
def test_a_mask_that_is_wrong(function, words):
    assert words in message("5.2", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda p, n: [place >= p for place in range(1, n)],  # True and False... are refused as numbers below
        lambda p, n: np.arange(1, n) >= p,
        lambda p, n: ([0] * (p - 1)) + [1] * (n - p),
        lambda p, n: (float(place >= p) for place in range(1, n)),
    ],
)
def test_a_mask_that_is_right(function):
    assert message("5.2", function, passed=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda shapes, rank: sum(a * b for a, b in shapes), "full matrices"),
        (lambda shapes, rank: rank * sum(a * b for a, b in shapes), "Do not multiply"),
        (lambda shapes, rank: rank * sum(a for a, b in shapes), "That is A alone"),
        (lambda shapes, rank: rank * sum(b for a, b in shapes), "That is B alone"),
        (lambda shapes, rank: sum(a + b for a, b in shapes), "rank is missing"),
        (lambda shapes, rank: 4 * rank * sum(a + b for a, b in shapes), "bytes"),
        (lambda shapes, rank: "many", "number"),
    ],
)
def test_a_size_that_is_wrong(function, words):
    assert words in message("5.3", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda shapes, rank: sum(rank * (a + b) for a, b in shapes),
        lambda shapes, rank: float(rank * np.array(shapes).sum()),
        lambda shapes, rank: np.int64(rank * np.array(shapes).sum()),
    ],
)
def test_a_size_that_is_right(function):
    assert "28,672" in message("5.3", function, passed=True)


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
    return Scored((True,) * right + (False,) * (count - right), (True,) * (count if stopped is None else stopped)
                  + (False,) * (0 if stopped is None else count - stopped))  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"new": scored(30), "old": scored(40), "taught": Lesson()}, "Train longer"),
        ({"new": scored(40), "old": scored(30), "taught": Lesson()}, "Mix in more old"),
        ({"new": scored(40), "old": scored(40), "taught": Lesson(Made(300_000))}, "smaller rank"),
        ({"new": scored(40, stopped=38), "old": scored(40), "taught": Lesson()}, "stop token"),
        ({"new": scored(5, 5), "old": scored(40), "taught": Lesson()}, "at least 20"),
        ({"new": 1.0, "old": scored(40), "taught": Lesson()}, "score()"),
        ({"new": scored(40), "old": scored(40), "taught": "done"}, "wait()"),
        ([1.0, 1.0], "dict"),
    ],
)
def test_a_lesson_that_is_wrong(value, words):
    assert words in message("5.4", value, passed=False)


@pytest.mark.parametrize(
    "value",
    [
        {"new": scored(36), "old": scored(38), "taught": Lesson()},
        {"new": scored(40), "old": scored(40), "taught": Made(250_000)},
        {
            "taught": Lesson(),
            "old": scored(91, 91),
            "new": Scored(np.ones(32, bool), np.ones(32, bool)),
            "note": "mine",
        },
    ],
)
def test_a_lesson_that_is_right(value):
    assert "kB" in message("5.4", value, passed=True)


def test_a_lesson_that_is_not_there_yet():
    assert check("5.4", {"new": ..., "old": ..., "taught": ...}).status == "not yet"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda answer, wanted: wanted in answer, "among others"),
        (lambda answer, wanted: answer == wanted, "white space"),
        (lambda answer, wanted: sorted(answer.strip(" .\n").split()) == sorted(wanted.split()), "another order"),
        (lambda answer, wanted: True, "another order"),
        (lambda answer, wanted: answer.strip(" .\n") in wanted, "all digits"),
        (lambda answer, wanted: answer.strip(" .\n").startswith(wanted), "among others"),
        ("3 2 1", "function itself"),
    ],
)
def test_a_judge_that_is_wrong(function, words):
    assert words in message("5.5", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lab05.backwards,
        lambda answer, wanted: [c for c in answer if c.isdigit()] == [c for c in wanted if c.isdigit()],
        lambda answer, wanted: int(answer.strip(" .\n") == wanted),
    ],
)
def test_a_judge_that_is_right(function):
    assert message("5.5", function, passed=True)


def margin(c, r, c0, r0, beta):
    return beta * ((c - c0) - (r - r0))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda *a: float(np.logaddexp(0, margin(*a))), "sign is turned"),
        (lambda c, r, c0, r0, b: float(np.logaddexp(0, -b * (c - r))), "model before"),
        (lambda c, r, c0, r0, b: float(np.logaddexp(0, -margin(c, r, c0, r0, 1)))
         if (c, r) != (c0, r0) else math.log(2), "beta is missing"),
        (lambda *a: margin(*a), "That is the margin"),
        (lambda *a: 1 / (1 + math.exp(-max(-700, margin(*a)))), "minus its logarithm"),
        (lambda *a: -float(np.logaddexp(0, -margin(*a))), "minus before"),
        (lambda *a: math.log(1 + math.exp(-margin(*a))), "overflows"),
    ],
)  # fmt: skip
def test_a_preference_loss_that_is_wrong(function, words):
    assert words in message("5.6", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lab05.dpo_loss,
        lambda *a: np.logaddexp(0.0, -margin(*a)),
        lambda *a: -margin(*a) if margin(*a) < -30 else -math.log(1 / (1 + math.exp(-margin(*a)))),
    ],
)
def test_a_preference_loss_that_is_right(function):
    assert "ln 2" in message("5.6", function, passed=True)


def log_shares(rows):
    rows = np.asarray(rows, float)
    rows = rows - rows.max(axis=-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


def apart(a, b):
    p, q = log_shares(a), log_shares(b)
    return np.exp(p) * (p - q)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda a, b: apart(b, a).sum(-1).mean(), "exchanged"),
        (lambda a, b: apart(a, b).sum(), "mean"),
        (lambda a, b: apart(a, b).sum(-1).mean() / np.log(2), "bits"),
        (lambda a, b: -apart(a, b).sum(-1).mean(), "never negative"),
        (lambda a, b: apart(a, b).mean(), "mean over the rows only"),
        (lambda a, b: apart(a, b).sum(-1), "Return one"),
        (lambda a, b: ((a - b) ** 2).mean(), "softmax"),
    ],
)
def test_a_divergence_that_is_wrong(function, words):
    assert words in message("5.7", function, passed=False)


def test_a_divergence_that_overflows():
    def unguarded(a, b):
        with np.errstate(all="ignore"):
            p, q = np.exp(a) / np.exp(a).sum(-1, keepdims=True), np.exp(b) / np.exp(b).sum(-1, keepdims=True)
            return (p * (np.log(p) - np.log(q))).sum(-1).mean()

    assert "maximum" in message("5.7", unguarded, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lab05.divergence,
        lambda a, b: float(apart(a, b).sum(-1).mean()),
        lambda a, b: np.array([apart(a, b).sum(-1).mean()]),
    ],
)
def test_a_divergence_that_is_right(function):
    assert message("5.7", function, passed=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda n: n, "4 bytes"),
        (lambda n: 4 * n, "on top"),
        (lambda n: 8 * n, "four in all"),
        (lambda n: 12 * n, "One of four"),
        (lambda n: 2 * n, "Four arrays"),
        (lambda n: None, "hint"),
        (16, "function itself"),
    ],
)
def test_training_bytes_that_are_wrong(function, words):
    assert words in message("5.8", function, passed=False)


@pytest.mark.parametrize("function", [lambda n: 16 * n, lambda n: float(n) * 16, lambda n: sum([4 * n] * 4)])
def test_training_bytes_that_are_right(function):
    assert "61 GB" in message("5.8", function, passed=True)
