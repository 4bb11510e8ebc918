"""The parts of a layer, one function each. Read them from top to bottom: each uses only those above it.

T is the number of tokens, W the width of the model, H the heads, D the numbers of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from labs_helper.reference.shape import Positions
    from labs_helper.reference.weights import Array


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """Bring each token to length 1 on average, then stretch each number by its learned weight.

    Args:
        x: (T, W).
        weight: (W,).
        eps: keeps the square root from 0.

    Returns:
        (T, W).

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    y: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(eps)) * weight
    return y


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """The older norm, which also takes the mean away: the one of phimoe and of the picture tower.

    Args:
        x: (T, W).
        weight, bias: (W,).

    Returns:
        (T, W).
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    y: Array = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(eps)) * weight + bias
    return y


def softmax(x: Array) -> Array:
    """Numbers as shares that sum to 1 along the last axis.

    The largest is subtracted first, so that exp stays finite.
    """
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = e / e.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written with tanh because exp(-x) overflows for very negative x."""
    y: Array = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
    return y


def turns(positions: Positions, first: int, count: int, total: int) -> tuple[Array, Array]:
    """Cosine and sine of the angle by which each pair of a head turns at each position.

    Pair i turns by position / (factor_i * base^(2i / D)): the first pairs quickly, the last slowly. LongRoPE's factors
    slow some of them further. A request takes one table, chosen by its whole length.

    Args:
        positions: the tables.
        first: position of the first token; with a cache it is not 0.
        count: how many tokens.
        total: length of prompt and answer together.

    Returns:
        Two arrays of (count, D / 2), already multiplied by LongRoPE's scale of queries and keys.

    Source: Su et al. 2021, arXiv:2104.09864; Ding et al. 2024, arXiv:2402.13753.
    """
    long = positions.is_long(total)
    factors = np.array(positions.long if long else positions.short, np.float32)
    waves = factors * np.float32(positions.base) ** (np.arange(len(factors), dtype=np.float32) / len(factors))
    angles = np.arange(first, first + count, dtype=np.float32)[:, None] / waves
    scale = np.float32(positions.long_scale if long else positions.short_scale)
    return np.cos(angles) * scale, np.sin(angles) * scale


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Turn each pair of a head. Number i and number i + D/2 are a pair: the halves, not neighbours.

    Args:
        x: (H, T, D).
        cos, sin: (T, D / 2) from `turns`.

    Returns:
        (H, T, D).
    """
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def split_heads(x: Array, heads: int) -> Array:
    """(T, H * D) as (H, T, D)."""
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def attend(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """Each token looks at itself and at those before it, and takes a mixture of their values.

    Args:
        q: (H, T, D) queries of the newest T tokens.
        k, v: (H, S, D) keys and values of all S tokens so far; the last T of them belong to the queries.

    Returns:
        The mixtures (H, T, D), and how much each token looked at each: (H, T, S), rows that sum to 1.

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """
    new, seen = q.shape[1], k.shape[1]
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(q.shape[-1]))
    later = np.arange(seen)[None, :] > np.arange(seen - new, seen)[:, None]
    looked = softmax(np.where(later, np.float32(-np.inf), scores))
    return looked @ v, looked


def swiglu(x: Array, gate_up: Array, down: Array) -> Array:
    """The MLP: one half of the inner numbers opens or closes the other half.

    Args:
        x: (T, W).
        gate_up: (2 * inner, W), the gate first.
        down: (W, inner).

    Returns:
        (T, W).

    Source: Shazeer 2020, arXiv:2002.05202.
    """
    gate, up = np.split(x @ gate_up.T, 2, axis=-1)
    y: Array = (gate * sigmoid(gate) * up) @ down.T
    return y


def sparsemixer(gates: Array, chosen: int, jitter: float) -> tuple[Array, Array]:
    """Choose experts one after the other, as SparseMixer does when nothing is trained.

    Each one's weight is a softmax over the experts that come close to it, within a band of 2 * jitter. So the weights
    of a token need not sum to 1.

    Args:
        gates: (T, E) the router's value for each expert.
        chosen: how many each token takes.
        jitter: half of the band.

    Returns:
        The experts (T, chosen), best first, and their weights (T, chosen).

    Source: Liu et al. 2023, arXiv:2310.00811; the band as in the code published with Phi-3.5-MoE.
    """
    left, experts, weights = gates, [], []
    for _rank in range(chosen):
        top = left.max(axis=-1, keepdims=True)
        best = left.argmax(axis=-1)[:, None]
        size = np.maximum(np.abs(gates), top)
        with np.errstate(divide="ignore", invalid="ignore"):  # an expert that was switched off has a value of -inf
            far = (top - gates) / size > 2 * jitter
        shares = softmax(np.where(far, np.float32(-np.inf), left))
        experts.append(best)
        weights.append(np.take_along_axis(shares, best, axis=-1))
        left = left.copy()
        np.put_along_axis(left, best, np.float32(-np.inf), axis=-1)
    return np.concatenate(experts, axis=-1), np.concatenate(weights, axis=-1)
