"""The experiments of lab 01: right answers in unusual forms pass, and each likely mistake is named."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy
import pytest

from labs_helper.exercises import check
from labs_helper.exercises.instruct_experiments import by_guessing

QUESTION = "<|user|>\nWhat is the capital of Kenya?<|end|>\n"
PROMPT = QUESTION + "<|assistant|>\nThe capital of Peru is"
NO, YES = "no better than guessing", "better than guessing"
HALF = [f"city {n % 10}" for n in range(20)]


def loss(better, worse, better_frozen, worse_frozen, beta=0.1):
    gap = (better - better_frozen) - (worse - worse_frozen)
    return -math.log(1 / (1 + math.exp(-beta * gap)))


def with_gap(make):
    """A wrong loss from a formula over the gap and beta."""
    return lambda b, w, fb, fw, beta=0.1: make((b - fb) - (w - fw), beta)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def array_loss(better, worse, better_frozen, worse_frozen, beta=0.1):
    return numpy.logaddexp(0, -beta * numpy.float32(better - better_frozen - worse + worse_frozen))


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("1.1", PROMPT),
        ("1.1", "".join([QUESTION, "<|assistant|>", "\n", "The capital of Peru is"])),
        (
            "1.1",
            """<|user|>
What is the capital of Kenya?<|end|>
<|assistant|>
The capital of Peru is""",
        ),
        ("1.7", (1, 40, 20, NO)),
        ("1.7", [1, 40, 21, "No better than guessing."]),
        ("1.7", (numpy.int64(3), 20.0, numpy.float64(19), " Better  than guessing ")),
        ("1.7", (1, 40, 2, NO)),
        ("1.8", loss),
        ("1.8", array_loss),
        ("1.8", lambda *pair: round(loss(*pair), 4)),
        ("1.9", (0.3, HALF)),
        ("1.9", [numpy.float32(0.25), tuple(HALF)]),
        ("1.9", (0.3, (name for name in HALF))),
        ("1.9", (0.3, [f"{name}\n" for name in HALF])),
    ],
)
def test_right_answers_pass_in_any_form(number, value):
    result = check(number, value)
    assert result.passed, result


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("1.1", PROMPT + "<|end|>\n", "nothing to continue"),
        ("1.1", PROMPT + " ", "last letter"),
        ("1.1", PROMPT.replace("\n", ""), "one \\n after"),
        ("1.1", PROMPT.replace("\n", "\\n"), "backslash"),
        ("1.1", QUESTION + "The capital of Peru is", "<|assistant|>"),
        ("1.1", QUESTION + "<|assistant|>\n", "the begun answer"),
        ("1.1", QUESTION + "<|assistant|>\nThe capital of Kenya is", "the begun answer"),
        ("1.1", PROMPT.replace("Kenya?", "kenya?"), "the question"),
        ("1.1", PROMPT.replace("<|end|>", ""), "needs <|end|>"),
        ("1.1", "<s>" + PROMPT, "<s>"),
        ("1.1", "<|system|>\nBe brief.<|end|>\n" + PROMPT, "system message"),
        ("1.1", "<|assistant|>\nThe capital of Peru is<|end|>\n" + QUESTION, "order"),
        ("1.1", ["a"], "text"),
        ("1.7", (1, 40, 20, YES), "luck alone explains"),
        ("1.7", (1, 40, 39, NO), "luck is a poor explanation"),
        ("1.7", (1, 5, 5, YES), "at least 20"),
        ("1.7", (0, 40, 40, YES), "at least one"),
        ("1.7", (1, 20, 40, NO), "swap"),
        ("1.7", (1, 40, 0.5, NO), "a share is not enough"),
        ("1.7", (1, 40, 20, "it fails"), "verdict"),
        ("1.7", (1, 40, 20, True), "text"),
        ("1.7", (1, 40, 20), "four things"),
        ("1.7", (1, 10**9, 20, NO), "second number"),
        ("1.7", (-1, 40, 20, NO), "0 or more"),
        ("1.8", with_gap(lambda gap, beta: beta * gap), "beta times the gap"),
        ("1.8", with_gap(lambda gap, beta: sigmoid(beta * gap)), "minus its logarithm"),
        ("1.8", with_gap(lambda gap, beta: math.log(sigmoid(beta * gap))), "sign"),
        ("1.8", with_gap(lambda gap, beta: -math.log(sigmoid(-beta * gap))), "exchanged"),
        ("1.8", with_gap(lambda gap, beta: -math.log(sigmoid(gap))), "beta is missing"),
        ("1.8", with_gap(lambda gap, beta: -beta * math.log(sigmoid(gap))), "outside"),
        ("1.8", with_gap(lambda gap, beta: -math.log(sigmoid(0.1 * gap))), "argument"),
        ("1.8", with_gap(lambda gap, beta: -math.log10(sigmoid(beta * gap))), "base 10"),
        ("1.8", with_gap(lambda gap, beta: -math.log2(sigmoid(beta * gap))), "base 2"),
        ("1.8", lambda b, w, fb, fw, beta=0.1: loss(b, w, 0, 0, beta), "frozen copy is missing"),
        ("1.8", lambda b, w, fb, fw, beta=0.1: loss(b, w, -fb, -fw, beta), "Subtract"),
        ("1.8", lambda b, w, fb, fw, beta=0.1: -math.log(sigmoid(beta * (b - fb + w - fw))), "added the two"),
        ("1.8", lambda b, w, fb, fw, beta=0.1: 7.0, "returned 7"),
        ("1.8", lambda b, w, fb, fw, beta=0.1: "low", "number"),
        ("1.8", loss(-20, -22, -20, -22), "function itself"),
        ("1.9", (0.3, ["Lima"] * 20), "a seed of its own"),
        ("1.9", (1.0, [f"city {n}" for n in range(20)]), "Lower"),
        ("1.9", (0.1, ["Lima"] * 16 + ["a", "b", "c", "d"]), "Raise"),
        ("1.9", (0.3, HALF[:12]), "too few"),
        ("1.9", (0, HALF), "nothing is drawn"),
        ("1.9", (HALF, 0.3), "First the temperature"),
        ("1.9", (0.3, set(HALF)), "A set"),
        ("1.9", (0.3, "Lima"), "one text"),
        ("1.9", (0.3, [SimpleNamespace(text="Lima")] * 20), "answer.text"),
        ("1.9", (0.3, list(range(20))), "text"),
        ("1.9", HALF, "two things"),
        ("1.9", ("warm", HALF), "number"),
    ],
)
def test_wrong_answers_are_told_why(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


@pytest.mark.parametrize(
    ("number", "value"),
    [("1.1", ...), ("1.7", (..., 40, ..., ...)), ("1.8", lambda b, w, fb, fw, beta=0.1: None), ("1.9", (..., []))],
)
def test_a_stub_is_not_wrong(number, value):
    assert check(number, value).status != "passed"
    assert check(number, ...).status == "not yet"


def test_by_guessing_is_the_upper_tail_of_the_binomial():
    assert by_guessing(0, 7, 0.3) == pytest.approx(1)
    assert by_guessing(2, 2, 0.5) == pytest.approx(0.25)
    assert by_guessing(3, 3, 0.25) == pytest.approx(0.25**3)
    # 26 of 40 is the border at one other code: 25 or more comes by luck in 7.7% of tries, 26 or more in 4.0%.
    assert check("1.7", (1, 40, 26, YES)).passed and check("1.7", (1, 40, 25, NO)).passed
