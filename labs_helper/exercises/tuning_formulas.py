"""What the exercises of lab 05 compute, written once: the checks compare with it, and the notebook goes on with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def counted(prompt: int, length: int) -> list[int]:
    """1 for each target that belongs to the answer, 0 for the others.

    Example:
        counted(3, 5)      # [0, 0, 1, 1]
    """
    return [int(place >= prompt) for place in range(1, length)]


def adapter_size(shapes: Sequence[tuple[int, int]], rank: int) -> int:
    """Numbers in the two matrices of each layer.

    Example:
        adapter_size([(256, 768)], 8)      # 8192
    """
    return sum(rank * (inner + outer) for inner, outer in shapes)


def backwards(answer: str, wanted: str) -> bool:
    """Whether the digits of an answer are those that are wanted, in their order, and no others.

    Example:
        backwards("3 2 1.", "3 2 1")      # True
    """
    return answer.strip().rstrip(".").split() == wanted.split()


def dpo_loss(better: float, worse: float, better_before: float, worse_before: float, beta: float) -> float:
    """-ln sigmoid of the margin.

    Example:
        dpo_loss(-2, -3, -2, -3, 0.1)      # 0.693: nothing has changed yet
    """
    margin = beta * ((better - better_before) - (worse - worse_before))
    return math.log1p(math.exp(-abs(margin))) + max(0.0, -margin)


def divergence(first: Any, second: Any) -> float:
    """The mean over the rows of sum p * (ln p - ln q); p and q are the softmax of two rows of logits.

    Example:
        divergence([[0, 0]], [[0, 0]])      # 0.0
    """
    total = 0.0
    for one, other in zip(first, second):
        p, q = log_softmax(one), log_softmax(other)
        total += sum(math.exp(a) * (a - b) for a, b in zip(p, q))
    return total / len(first)


def log_softmax(row: Sequence[float]) -> list[float]:
    """The logarithm of the softmax of a row.

    Example:
        log_softmax([0.0, 0.0])      # [-0.693..., -0.693...]
    """
    top = max(row)
    total = math.log(sum(math.exp(value - top) for value in row)) + top
    return [value - total for value in row]


def training_bytes(trained: int) -> int:
    """Bytes for numbers that are trained: themselves, a gradient and Adam's two means, each in fp32.

    Example:
        training_bytes(1000)      # 16000
    """
    return 16 * trained
