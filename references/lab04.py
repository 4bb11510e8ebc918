"""Lab 04: the cases of its exercises, and what common mistakes give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from references import Reference, solution

DIGITS = 12  # the last ones differ between processors

# --- 4.1 Round a row ------------------------------------------------------------------------------------------------

# No weight is half-way between two codes.
ROW = (0.31, -0.42, 0.07, 0.0, 0.9, -0.55, 0.123, 0.61)
POSITIVE = (1.0, 1.37, 2.2, 1.71, 3.0, 2.64)
ROWS = ((ROW, 4), (ROW, 2), (POSITIVE, 3), (ROW, 8))

Rounding = Callable[[np.ndarray, int], np.ndarray]


def _steps(row: np.ndarray, count: int) -> float:
    return float((row.max() - row.min()) / count)


def _codes(row: np.ndarray, bits: int) -> np.ndarray:
    return np.round((row - row.min()) / _steps(row, 2**bits - 1))


def _one_step_too_many(row: np.ndarray, bits: int) -> np.ndarray:
    step = _steps(row, 2**bits)
    return row.min() + np.round((row - row.min()) / step) * step


def _cut_off(row: np.ndarray, bits: int) -> np.ndarray:
    step = _steps(row, 2**bits - 1)
    return row.min() + np.floor((row - row.min()) / step) * step


def _around_zero(row: np.ndarray, bits: int) -> np.ndarray:
    step = np.abs(row).max() / (2 ** (bits - 1) - 1)
    return np.round(row / step) * step


# --- 4.2 Bits of a weight -------------------------------------------------------------------------------------------

SIZES = ((4, 64, 16), (4, 32, 32), (3, 128, 16), (8, 32, 8))

# --- 4.9 Bits for a machine -----------------------------------------------------------------------------------------

MINI = 3_821_079_552  # weights of Phi-3.5-mini
MACHINES = (
    (MINI, 8),
    (MINI, 16),
    (MINI, 2.6),
    (MINI, 1.5),
    (MINI, 6),
    (14_000_000_000, 16),
    (7_000_000_000, 21.1),
    (41_873_153_344, 32),
)
CHOICES = (2, 3, 4, 5, 6, 8, 16)


def _choose(
    size: Callable[[float, int], float],
    share: float = 2 / 3,
    pick: Callable[..., int] = max,
    default: int = 0,
) -> Callable[[float, float], int]:
    """A wrong choice: from the gigabytes that it takes a model for, and the share of the memory."""

    def choose(weights: float, memory: float) -> int:
        return pick((bits for bits in CHOICES if size(weights, bits) <= share * memory), default=default)

    return choose


def _gigabytes(weights: float, bits: int) -> float:
    return weights * (bits + (bits < 16) / 2) / 8e9


def _listed(result: Any) -> list[float]:
    return [round(float(value), DIGITS) + 0.0 for value in result]  # no -0.0


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    rounding: dict[str, Rounding] = {
        "codes": _codes,
        "one step too many": _one_step_too_many,
        "cut off": _cut_off,
        "no smallest": lambda row, bits: _codes(row, bits) * _steps(row, 2**bits - 1),
        "around zero": _around_zero,
        "not rounded": lambda row, bits: row,
    }
    return [
        Reference(
            "4.1",
            solution("04", "round_row"),
            [(list(row), bits) for row, bits in ROWS],
            rounding,
            made=lambda row, bits: (np.array(row), bits),
            kept=_listed,
        ),
        Reference(
            "4.2",
            solution("04", "weight_bits"),
            SIZES,
            {
                "one number a group": lambda bits, group, scale_bits: bits + scale_bits / group,
                "no groups": lambda bits, group, scale_bits: bits,
                "a scale for each weight": lambda bits, group, scale_bits: bits + 2 * scale_bits,
                "always 16": lambda bits, group, scale_bits: bits + 32 / group,
                "bytes": lambda bits, group, scale_bits: (bits + 2 * scale_bits / group) / 8,
            },
        ),
        Reference(
            "4.9",
            solution("04", "most_bits"),
            MACHINES,
            {
                "the whole memory": _choose(_gigabytes, share=1),
                "no scales": _choose(lambda weights, bits: weights * bits / 8e9),
                "the fewest": _choose(_gigabytes, pick=min),
                "bits as bytes": _choose(lambda weights, bits: 8 * _gigabytes(weights, bits)),
                "scales at 16 bits": _choose(lambda weights, bits: weights * (bits + 0.5) / 8e9),
                "never 0": _choose(_gigabytes, default=2),
            },
            given=_given((8, 16, 32)),
        ),
    ]


def _given(memories: Sequence[int]) -> list[tuple[int, int]]:
    return [(MINI, memory) for memory in memories]
