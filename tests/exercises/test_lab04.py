"""The checks of lab 04: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from labs_helper.exercises import check


def message(number, value, *, passed):
    result = check(number, value)
    assert result.passed is passed, result.message
    return result.message


# --- 4.1 Round a row -------------------------------------------------------------------------------------------------


def steps(row, count):
    return (row.max() - row.min()) / count


def codes(row, bits):
    return np.round((row - row.min()) / steps(row, 2**bits - 1))


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("4.1", codes, "These are the codes"),
        (
            "4.1",
            lambda r, b: r.min() + np.round((r - r.min()) / steps(r, 2**b)) * steps(r, 2**b),
            "2\\*\\*bits - 1 steps",
        ),
        (
            "4.1",
            lambda r, b: r.min() + np.floor((r - r.min()) / steps(r, 2**b - 1)) * steps(r, 2**b - 1),
            "cut the rest",
        ),
        ("4.1", lambda r, b: codes(r, b) * steps(r, 2**b - 1), "smallest weight is missing"),
        (
            "4.1",
            lambda r, b: np.round(r / (abs(r).max() / (2 ** (b - 1) - 1))) * abs(r).max() / (2 ** (b - 1) - 1),
            "centred on zero",
        ),
        ("4.1", lambda r, b: r, "Nothing was rounded"),
        ("4.1", lambda r, b: (r.min() + codes(r, b) * steps(r, 2**b - 1))[:3], "3 values for"),
        ("4.1", lambda r, b: 0.5, "must be a list"),
        ("4.1", np.arange(4.0), "function itself"),
        ("4.1", lambda r: r, "takes 2 arguments"),
    ],
)
def test_a_row_that_is_wrong(number, function, words):
    assert words.replace("\\", "") in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("4.1", lambda r, b: np.linspace(r.min(), r.max(), 2**b)[codes(r, b).astype(int)]),
        ("4.1", lambda r, b: [float(min(np.linspace(min(r), max(r), 2**b), key=lambda v: abs(v - w))) for w in r]),
        ("4.1", lambda r, b: (value for value in r.min() + codes(r, b) * steps(r, 2**b - 1))),
        ("4.1", lambda r, b: (r.min() + codes(r, b) * steps(r, 2**b - 1)).astype(object)),
    ],
)
def test_a_row_that_is_right(number, function):
    assert "both ends" in message(number, function, passed=True)


def test_a_row_that_is_not_written_yet():
    assert check("4.1", lambda row, bits: ...).status == "not yet"


# --- 4.2 Bits of a weight --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("4.2", lambda b, g, s=16: b + s / g, "scale and the bias"),
        ("4.2", lambda b, g, s=16: b, "missing"),
        ("4.2", lambda b, g, s=16: b + 2 * s, "divide"),
        ("4.2", lambda b, g, s=16: b + 32 / g, "is an argument"),
        ("4.2", lambda b, g, s=16: (b + 2 * s / g) / 8, "bytes"),
        ("4.2", lambda b, g, s=16: b * g + 2 * s, "share of a weight"),
        ("4.2", lambda b, g: b + 32 / g, "takes 3 arguments"),
        ("4.2", 4.5, "function itself"),
    ],
)
def test_bits_of_a_weight_that_are_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("4.2", lambda b, g, s=16: (b * g + 2 * s) / g),
        ("4.2", lambda b, g, s: np.float32(b) + np.float32(2 * s) / np.float32(g)),
        ("4.2", lambda *a: np.array([a[0] + sum([a[2], a[2]]) / a[1]])),
    ],
)
def test_bits_of_a_weight_that_are_right(number, function):
    assert "4.5 bits" in message(number, function, passed=True)


# --- 4.3 Carry an outlier --------------------------------------------------------------------------------------------

PLAIN = np.random.default_rng(2).normal(size=512)


def spoiled(times, place=7):
    row = PLAIN.copy()
    row[place] = times * np.abs(row).max()
    return row


def carried(row):
    from labs_helper.quantizing import relative_error, round_groups

    others = np.arange(512) != np.abs(row).argmax()
    errors = {g: relative_error(row[others], round_groups(row, 4, g).values[others]) for g in (32, 64, 128, 256, 512)}
    return max(g for g, error in errors.items() if error <= 0.4), errors


TEN = spoiled(10)
BEST, ERRORS = carried(TEN)


def test_the_outlier_of_these_tests_has_an_answer_in_the_middle():
    assert BEST in (64, 128, 256)


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("4.3", (TEN, BEST * 2), "more than 0.4"),
        ("4.3", (TEN, BEST // 2), "larger ones do too"),
        ("4.3", (TEN, 48), "one of 32, 64"),
        ("4.3", (PLAIN, 32), "at least 10 times"),
        ("4.3", (spoiled(10)[:256], 32), "a whole row"),
        ("4.3", (spoiled(1000), 128), "more than 0.4"),
        ("4.3", TEN, "two things"),
        ("4.3", (BEST, TEN), "must be a list"),
        ("4.3", (["a"] * 512, 32), "must be a number"),
    ],
)
def test_an_outlier_that_is_wrong(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("4.3", (TEN, BEST)),
        ("4.3", [list(TEN), float(BEST)]),
        ("4.3", (-TEN, np.int64(BEST))),
        ("4.3", (spoiled(10, 500).astype(np.float16), carried(spoiled(10, 500))[0])),
    ],
)
def test_an_outlier_that_is_right(number, value):
    assert "largest that carry it" in message(number, value, passed=True)


# --- 4.4 Which skill breaks first ------------------------------------------------------------------------------------


@dataclass
class Scored:
    passed: tuple[bool, ...]


def scores(count=40, **right):
    return {skill: Scored((True,) * n + (False,) * (count - n)) for skill, n in right.items()}


WHOLE = scores(sums=40, JSON=40, list=39, needle=40)
CLEAR = scores(sums=4, JSON=30, list=28, needle=33)
UNCLEAR = scores(sums=10, JSON=14, list=9, needle=20)
FINE = scores(sums=39, JSON=40, list=38, needle=40)


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("4.4", (WHOLE, CLEAR, "JSON"), "The lowest is sums"),
        ("4.4", (WHOLE, CLEAR, "cannot tell"), "Another verdict"),
        ("4.4", (WHOLE, UNCLEAR, "list"), "Another verdict"),
        ("4.4", (WHOLE, FINE, "list"), "They overlap"),
        ("4.4", (WHOLE, CLEAR, "arithmetic"), "The skills: sums"),
        ("4.4", (WHOLE, scores(sums=4, JSON=30, list=28), "sums"), "different skills"),
        ("4.4", (WHOLE, scores(count=20, sums=4, JSON=10, list=9, needle=9), "sums"), "different numbers"),
        (
            "4.4",
            (scores(count=8, sums=8, JSON=8, list=8), scores(count=8, sums=1, JSON=8, list=8), "sums"),
            "at least 20",
        ),
        ("4.4", (scores(sums=40, JSON=40), scores(sums=4, JSON=40), "sums"), "at least 3 skills"),
        ("4.4", (WHOLE, CLEAR), "three things"),
        ("4.4", ({"sums": 0.9, "JSON": 1.0, "list": 1.0}, CLEAR, "sums"), "must be a score"),
        ("4.4", (0.98, 0.2, "sums"), "score_skills"),
        ("4.4", (WHOLE, CLEAR, 1), "must be a text"),
    ],
)
def test_a_verdict_that_does_not_follow(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value", "told"),
    [
        ("4.4", (WHOLE, CLEAR, "sums"), "sums"),
        ("4.4", [WHOLE, UNCLEAR, " Cannot  tell. "], "cannot tell"),
        ("4.4", (WHOLE, FINE, "nothing broke"), "nothing broke"),
        ("4.4", (WHOLE, {k: Scored(np.array(v.passed)) for k, v in CLEAR.items()}, "SUMS"), "sums"),
    ],
)
def test_a_verdict_that_is_right(number, value, told):
    assert told in message(number, value, passed=True)


# --- 4.5 Beat three bits ---------------------------------------------------------------------------------------------


@dataclass
class Copy:
    bits_per_weight: float


@dataclass
class Apart:
    by_place: np.ndarray
    losses: tuple[float, ...] = field(default=())


rng = np.random.default_rng(4)
PLACES = rng.gamma(1.0, 0.1, 2000)
THREE = (Copy(4.01), Apart(PLACES))


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("4.5", {"mine": (Copy(4.3), Apart(PLACES * 0.5)), "three": THREE}, "Take bits away"),
        ("4.5", {"mine": (Copy(4.0), Apart(PLACES * 1.5)), "three": THREE}, "It is worse"),
        ("4.5", {"mine": (Copy(4.0), Apart(rng.permutation(PLACES))), "three": THREE}, "may be chance"),
        ("4.5", {"mine": THREE, "three": THREE}, "may be chance"),
        ("4.5", {"mine": (Copy(4.0), Apart(PLACES[:900])), "three": THREE}, "same text"),
        ("4.5", {"mine": (Copy(4.0), Apart(PLACES[:90])), "three": THREE}, "section 3"),
        ("4.5", {"mine": (Copy(4.0), 0.05), "three": THREE}, "compare()"),
        ("4.5", {"mine": (4.0, Apart(PLACES)), "three": THREE}, "rounded()"),
        ("4.5", {"mine": Copy(4.0), "three": THREE}, "a pair"),
        ("4.5", (THREE, THREE), "dict"),
    ],
)
def test_a_mixture_that_is_not_better(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("4.5", {"mine": (Copy(4.015), Apart(PLACES * 0.8)), "three": THREE}),
        ("4.5", {"three": list(THREE), "mine": [Copy(np.float64(3.2)), Apart(list(PLACES * 0.9))], "note": "mine"}),
        ("4.5", {"mine": (Copy(3), Apart(PLACES - 0.01)), "three": THREE}),
    ],
)
def test_a_mixture_that_is_right(number, value):
    assert "not chance" in message(number, value, passed=True)


def test_the_interval_of_the_difference_covers_no_difference():
    """Two models that are equally good are told apart in about one of 20 cases."""
    from labs_helper.exercises.rounding_experiments import _paired  # the judge of chance itself

    trials = [_paired(*np.random.default_rng(seed).gamma(1.0, 0.1, (2, 1000)).tolist()) for seed in range(300)]
    assert 0.01 <= np.mean([low > 0 or high < 0 for low, high in trials]) <= 0.12


# --- 4.6 Distil better -----------------------------------------------------------------------------------------------


@dataclass
class Distilled:
    losses: tuple[float, ...] = (1.0,) * 40


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("4.6", {"before": Apart(PLACES), "distilled": Distilled(), "after": Apart(PLACES * 1.2)}, "smaller rate"),
        ("4.6", {"before": Apart(PLACES), "distilled": Distilled(), "after": Apart(PLACES * 0.7)}, "more steps"),
        ("4.6", {"before": Apart(PLACES), "distilled": Distilled(), "after": Apart(PLACES[:800])}, "same text"),
        ("4.6", {"before": 0.8, "distilled": Distilled(), "after": Apart(PLACES)}, "compare()"),
        ("4.6", {"before": Apart(PLACES), "distilled": "done", "after": Apart(PLACES)}, "distil()"),
        ("4.6", {"before": Apart(PLACES), "after": Apart(PLACES)}, "dict"),
        ("4.6", 0.3, "dict"),
    ],
)
def test_a_distillation_that_is_not_enough(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("4.6", {"before": Apart(PLACES), "distilled": Distilled(), "after": Apart(PLACES * 0.4)}),
        ("4.6", {"after": Apart(list(PLACES * 0.5)), "before": Apart(list(PLACES)), "distilled": Distilled((0.5,))}),
        (
            "4.6",
            {"before": Apart(PLACES), "distilled": Distilled([0.2] * 200), "after": Apart(PLACES * 0), "at": "3 bits"},
        ),
    ],
)
def test_a_distillation_that_is_right(number, value):
    assert "same size" in message(number, value, passed=True)


# --- 4.7 Bits for the cache ------------------------------------------------------------------------------------------

CACHE = {bits: Scored((True,) * n + (False,) * (30 - n)) for bits, n in ((16, 30), (8, 30), (4, 28), (3, 26), (2, 9))}
SMALLEST = 3  # of 30 questions, 26 may still be luck, 9 is below


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("4.7", (CACHE, 2), "do not overlap"),
        ("4.7", (CACHE, 8), "A smaller number"),
        ("4.7", (CACHE, 16), "A smaller number"),
        ("4.7", (CACHE, 6), "did not measure 6"),
        ("4.7", ({4: CACHE[4], 2: CACHE[2], 8: CACHE[8]}, 4), "with 16"),
        ("4.7", (dict.fromkeys(CACHE, 0.9), 4), "must be a score"),
        ("4.7", CACHE, "two things"),
        ("4.7", (CACHE, "four"), "must be a number"),
    ],
)
def test_bits_of_a_cache_that_do_not_follow(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("4.7", (CACHE, SMALLEST)),
        ("4.7", [CACHE, float(SMALLEST)]),
        ("4.7", (dict(reversed(CACHE.items())), np.int64(SMALLEST))),
    ],
)
def test_bits_of_a_cache_that_are_right(number, value):
    assert "all that can be said" in message(number, value, passed=True)


# --- 4.8 What takes the time -----------------------------------------------------------------------------------------


@dataclass
class Product:
    gigabytes_per_second: float


ALIKE = [Product(speed) for speed in (90, 85, 80, 70)]
APART = [Product(speed) for speed in (20, 4, 2, 1.2)]


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("4.8", (APART, "reading"), "other one"),
        ("4.8", (ALIKE, "computing"), "other one"),
        ("4.8", (ALIKE, "memory"), 'is "reading" or'),
        ("4.8", (ALIKE[:2], "reading"), "at least three"),
        ("4.8", ([90, 85, 80], "reading"), "products()"),
        ("4.8", ALIKE, "two things"),
        ("4.8", (ALIKE, 1.3), "must be a text"),
    ],
)
def test_a_verdict_about_time_that_does_not_follow(number, value, words):
    assert words in message(number, value, passed=False)


@pytest.mark.parametrize(
    ("number", "value", "told"),
    [
        ("4.8", (ALIKE, "reading"), "So reading"),
        ("4.8", [tuple(APART), " Computing. "], "So computing"),
        ("4.8", (iter(ALIKE[:3]), "READING"), "So reading"),
    ],
)
def test_a_verdict_about_time_that_is_right(number, value, told):
    assert told in message(number, value, passed=True)


# --- 4.9 Bits for a machine ------------------------------------------------------------------------------------------

CHOICES = (2, 3, 4, 5, 6, 8, 16)


def choice(size, share=2 / 3, pick=max, default=0):
    return lambda weights, memory: pick((b for b in CHOICES if size(weights, b) <= share * memory), default=default)


def gigabytes(weights, bits):
    return weights * (bits + (0.5 if bits < 16 else 0)) / 8e9


@pytest.mark.parametrize(
    ("number", "function", "words"),
    [
        ("4.9", choice(gigabytes, share=1), "two thirds"),
        ("4.9", choice(lambda w, b: w * b / 8e9), "half a bit"),
        ("4.9", choice(gigabytes, pick=min), "fewest"),
        ("4.9", choice(lambda w, b: 8 * gigabytes(w, b)), "eight bits"),
        ("4.9", choice(lambda w, b: w * (b + 0.5) / 8e9), "not rounded"),
        ("4.9", choice(gigabytes, default=2), "return 0"),
        ("4.9", lambda weights, memory: "4", "must be a number"),
        ("4.9", 4, "function itself"),
    ],
)
def test_bits_for_a_machine_that_are_wrong(number, function, words):
    assert words in message(number, function, passed=False)


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("4.9", choice(gigabytes)),
        ("4.9", lambda w, m: float(choice(gigabytes)(w, m))),
        (
            "4.9",
            lambda w, m: next(
                (
                    np.int64(b)
                    for b in sorted(CHOICES, reverse=True)
                    if w * (b * 64 + 32 * (b != 16)) / 64 / 8 <= m * 1e9 / 1.5
                ),
                0,
            ),
        ),
    ],
)
def test_bits_for_a_machine_that_are_right(number, function):
    assert "8 machines" in message(number, function, passed=True)
