"""Lab 05: the cases of its exercises, and what common mistakes give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from references import Reference, solution

DIGITS = 12  # of logarithms: the last ones differ between processors

# --- 5.2 Where the loss counts --------------------------------------------------------------------------------------

SPANS = ((5, 9), (1, 2), (12, 20), (3, 4))  # tokens of the prompt, and of the whole


def _flags(counts: Callable[[int, int, int], bool]) -> Callable[[int, int], list[int]]:
    """A mask of the targets, from the place of each, the length of the prompt and that of the whole."""
    return lambda prompt, length: [int(counts(place, prompt, length)) for place in range(1, length)]


# --- 5.3 Numbers in an adapter --------------------------------------------------------------------------------------

BLOCK = ((256, 768), (256, 256), (256, 1024), (512, 256))
SHAPES = ((BLOCK, 8), (BLOCK, 3), (((10, 30),), 8), (((10, 30),), 3))

Shapes = Sequence[tuple[int, int]]


def _summed(numbers: Callable[[int, int, int], int]) -> Callable[[Shapes, int], int]:
    """The sum over the layers of what a layer has, from its two sizes and the rank."""
    return lambda shapes, rank: sum(numbers(inner, outer, rank) for inner, outer in shapes)


# --- 5.5 Judge strictly ---------------------------------------------------------------------------------------------

ANSWERS = (
    ("3 2 1", "3 2 1"),
    (" 3 2 1\n", "3 2 1"),
    ("3 2 1.", "3 2 1"),
    ("1 2 3", "3 2 1"),
    ("9 3 2 1", "3 2 1"),
    ("3 2 1 0", "3 2 1"),
    ("3 2", "3 2 1"),
    ("", "3 2 1"),
    ("I do not know that.", "3 2 1"),
)

# --- 5.6 The loss of DPO --------------------------------------------------------------------------------------------

# Log-probabilities: better, worse, better before, worse before; and beta. The last one overflows without care.
LIKELIHOODS = (
    (-2.0, -3.0, -2.0, -3.0, 0.1),
    (-2.0, -9.0, -4.0, -5.0, 0.1),
    (-6.0, -1.0, -2.0, -3.0, 0.5),
    (-1.0, -40.0, -2.0, -3.0, 0.1),
    (-900.0, -1.0, -2.0, -3.0, 1.0),
)
Loss = Callable[[float, float, float, float, float], float]


def _of_gap(make: Callable[[float, float], float]) -> Loss:
    """A wrong loss, from beta and how much more the better answer gained."""
    return lambda b, w, before_b, before_w, beta: make(beta, (b - before_b) - (w - before_w))


def _softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(0.0, x)


# --- 5.7 What a fold has lost ---------------------------------------------------------------------------------------

# The last one overflows without care.
LOGITS: tuple[tuple[list[list[float]], list[list[float]]], ...] = (
    ([[0.0, 0.0]], [[0.0, 0.0]]),
    ([[2.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]),
    ([[2.0, 0.0, 1.0], [1.0, 1.0, 5.0]], [[0.0, 1.0, 0.5], [1.0, 0.0, 5.0]]),
    ([[900.0, 0.0]], [[901.0, 2.0]]),
)


def _divergence(first: np.ndarray, second: np.ndarray) -> float:
    return float(solution("05", "divergence")(first, second))


def _times(factor: Callable[[np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """The divergence, too large by a factor that the shape of the logits gives."""
    return lambda first, second: factor(first) * _divergence(first, second)


def _rounded(result: Any) -> float:
    return round(float(result), DIGITS) + 0.0  # no -0.0


# --- 5.8 Bytes of a training ----------------------------------------------------------------------------------------

COUNTS = (114_688, 3_821_079_552)  # of an adapter of rank 8 for instruct-tiny, and of Phi-3.5-mini as a whole


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    return [
        Reference(
            "5.2",
            solution("05", "counted"),
            SPANS,
            {
                "exchanged": _flags(lambda place, prompt, length: place < prompt),
                "first left out": _flags(lambda place, prompt, length: place > prompt),
                "one too early": _flags(lambda place, prompt, length: place >= prompt - 1),
                "end left out": _flags(lambda place, prompt, length: prompt <= place < length - 1),
                "all": _flags(lambda place, prompt, length: True),
            },
        ),
        Reference(
            "5.3",
            solution("05", "adapter_size"),
            SHAPES,
            {
                "full": _summed(lambda inner, outer, rank: inner * outer),
                "full times rank": _summed(lambda inner, outer, rank: rank * inner * outer),
                "A alone": _summed(lambda inner, outer, rank: rank * inner),
                "B alone": _summed(lambda inner, outer, rank: rank * outer),
                "no rank": _summed(lambda inner, outer, rank: inner + outer),
                "bytes": _summed(lambda inner, outer, rank: 4 * rank * (inner + outer)),
            },
            given=((BLOCK, 8),),
        ),
        Reference("5.5", solution("05", "right"), ANSWERS),
        Reference(
            "5.6",
            solution("05", "dpo_loss"),
            LIKELIHOODS,
            {
                "sign": _of_gap(lambda beta, gap: _softplus(beta * gap)),
                "no model before": lambda b, w, before_b, before_w, beta: _softplus(-beta * (b - w)),
                "no beta": _of_gap(lambda beta, gap: _softplus(-gap)),
                "margin": _of_gap(lambda beta, gap: beta * gap),
                "sigmoid": _of_gap(lambda beta, gap: math.exp(-_softplus(-beta * gap))),
                "no minus": _of_gap(lambda beta, gap: -_softplus(-beta * gap)),
            },
            kept=_rounded,
        ),
        Reference(
            "5.7",
            _divergence,
            LOGITS,
            {
                "exchanged": lambda first, second: _divergence(second, first),
                "sum": _times(len),
                "bits": _times(lambda rows: 1 / math.log(2)),
                "sign": _times(lambda rows: -1),
                "over the vocabulary": _times(lambda rows: 1 / rows.shape[-1]),
            },
            made=lambda first, second: (np.array(first), np.array(second)),
            kept=_rounded,
        ),
        Reference(
            "5.8",
            solution("05", "training_bytes"),
            [(count,) for count in COUNTS],
            {
                "count": lambda trained: trained,
                "numbers alone": lambda trained: 4 * trained,
                "two of four": lambda trained: 8 * trained,
                "three of four": lambda trained: 12 * trained,
            },
        ),
    ]
