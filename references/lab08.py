"""Lab 08: small cases of the parts of a Phi, and what common mistakes give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from references import Reference, solution

Array = Any


def _numbers(*shape: int, seed: int, size: float = 1.0) -> list[Any]:
    """Random numbers with three digits."""
    drawn = np.random.default_rng(seed).normal(0, size, shape).round(3) + 0.0
    listed: list[Any] = drawn.tolist()
    return listed


def _kept(result: Any) -> Any:
    """An array as lists; digits beyond the sixth differ between processors."""
    return (np.asarray(result, float).round(7) + 0.0).tolist()


def _arrays(*arguments: Any) -> list[Any]:
    return [np.array(part, float) if isinstance(part, list) else part for part in arguments]


# --- 8.1 RMSNorm ----------------------------------------------------------------------------------------------------

WEIGHT = [1.0, 0.5, 2.0, 1.5]
NORMS = (
    (_numbers(3, 4, seed=1), WEIGHT, 1e-5),
    ([[0.002, -0.001, 0.003, 0.0], [4.0, 4.0, 4.0, 5.0]], WEIGHT, 1e-5),
    ([[0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 1.0, -1.0]], WEIGHT, 1e-2),
)


def _norm_by(divisor: Callable[[Array, float], Array]) -> Callable[..., Array]:
    def wrong(x: Array, weight: Array, eps: float) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return x / divisor(x, eps) * weight

    return wrong


def _centred(x: Array, weight: Array, eps: float) -> Array:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


# --- 8.2 RoPE -------------------------------------------------------------------------------------------------------

ANGLES = ([[0.0, 0.0], [1.0, 0.1], [2.0, 0.2]], [[0.5, 3.0]])
TURNS = tuple(
    (_numbers(len(angles), 4, seed=3 + n), np.cos(angles).round(6).tolist(), np.sin(angles).round(6).tolist())
    for n, angles in enumerate(ANGLES)
)


def _turn(halves: Callable[..., tuple[Array, Array]]) -> Callable[..., Array]:
    return lambda x, cos, sin: np.concatenate(halves(*np.split(x, 2, -1), cos, sin), -1)


def _interleaved(x: Array, cos: Array, sin: Array) -> Array:
    turned = np.empty_like(x)
    a, b = x[:, 0::2], x[:, 1::2]
    turned[:, 0::2], turned[:, 1::2] = a * cos - b * sin, b * cos + a * sin
    return turned


def _put_back(x: Array, cos: Array, sin: Array) -> Array:
    turned = np.empty_like(x)
    a, b = np.split(x, 2, -1)
    turned[:, 0::2], turned[:, 1::2] = a * cos - b * sin, b * cos + a * sin
    return turned


def _from_new_first(a: Array, b: Array, cos: Array, sin: Array) -> tuple[Array, Array]:
    a = a * cos - b * sin
    return a, b * cos + a * sin


# --- 8.3 One head ---------------------------------------------------------------------------------------------------

HEADS = tuple(  # queries of the newest tokens, keys and values of all
    tuple(_numbers(count, 4, seed=10 * seen + n) for n, count in enumerate((new, seen, seen)))
    for new, seen in ((3, 3), (5, 5), (2, 6), (1, 4))
)
# Large scores, for which exp alone overflows: 1,000.
LARGE = [[40.0, 0.0, 0.0, 0.0]] * 2, [[50.0, 0.0, 0.0, 0.0], [49.9, 1.0, 0.0, 0.0]]
HEADS += ((*LARGE, [[1.0, 2.0, 0.0, 1.0], [3.0, 4.0, 1.0, 0.0]]),)


def _head(
    scale: Callable[[Array], float] = lambda q: q.shape[-1] ** 0.5,
    hidden: Callable[[Array, int], Array] = lambda ones, old: np.triu(ones, old + 1),
    axis: int = -1,
    after: bool = False,
    soft: bool = True,
    hide_by: float = -np.inf,
    lowered: bool = True,
) -> Callable[..., Array]:
    def attend(q: Array, k: Array, v: Array) -> Array:
        scores = q @ k.T / scale(q)
        hide = hidden(np.ones((len(q), len(k)), bool), len(k) - len(q))
        if not soft:
            return np.where(hide, 0, scores) @ v
        if not after:
            scores = np.where(hide, hide_by, scores)
        with np.errstate(invalid="ignore", over="ignore"):
            e = np.exp(scores - scores.max(axis, keepdims=True) if lowered else scores)
            shares = e / e.sum(axis, keepdims=True)
        return (np.where(hide, 0, shares) if after else shares) @ v

    return attend


# --- 8.4 Heads, 8.5 positions ---------------------------------------------------------------------------------------

TOKENS = ((_numbers(3, 4, seed=40), 2), (_numbers(2, 6, seed=41), 3), (_numbers(1, 4, seed=42), 2))
CACHES = ((0, 4), (7, 1), (5, 3))

# --- 8.6 SwiGLU -----------------------------------------------------------------------------------------------------

MLPS = tuple((_numbers(2, 3, seed=60 + n), _numbers(8, 3, seed=70 + n), _numbers(3, 4, seed=80 + n)) for n in (0, 1))


def _gated(mix: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda x, gate_up, down: mix(*np.split(x @ gate_up.T, 2, -1)) @ down.T


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


# --- 8.7 A layer ----------------------------------------------------------------------------------------------------

LAYERS = ((_numbers(3, 2, seed=90),), (_numbers(2, 4, seed=91),))


def _of_parts(put: Callable[..., Array]) -> Callable[[Array], Array]:
    from labs_helper.exercises.lab08 import _tried_parts

    return lambda x: put(x, *_tried_parts())


def _no_residual(x: Array, look: Any, think: Any, norm_look: Any, norm_think: Any) -> Array:
    return think(norm_think(look(norm_look(x))))


def _norm_after(x: Array, look: Any, think: Any, norm_look: Any, norm_think: Any) -> Array:
    x = norm_look(x + look(x))
    return norm_think(x + think(x))


def _of_normed(x: Array, look: Any, think: Any, norm_look: Any, norm_think: Any) -> Array:
    x = norm_look(x)
    x = x + look(x)
    x = norm_think(x)
    return x + think(x)


def _mlp_first(x: Array, look: Any, think: Any, norm_look: Any, norm_think: Any) -> Array:
    x = x + think(norm_think(x))
    return x + look(norm_look(x))


def _one_residual(x: Array, look: Any, think: Any, norm_look: Any, norm_think: Any) -> Array:
    return think(norm_think(x + look(norm_look(x))))


# --- 8.9 The nucleus ------------------------------------------------------------------------------------------------

CHANCES = (([0.1, 0.5, 0.05, 0.3, 0.05], 0.75), ([0.2, 0.1, 0.6, 0.1], 0.5), ([0.4, 0.35, 0.15, 0.1], 0.8))


def _ranked(chances: Array, keep: Callable[[Array, Array], Array], worst: bool = False) -> list[int]:
    order = np.argsort(chances if worst else -chances, kind="stable")
    return sorted(order[keep(np.cumsum(chances[order]), chances[order])].tolist())


def _one_more(chances: Array, top_p: float) -> list[int]:
    count = len(_ranked(chances, lambda sums, own: sums - own < top_p)) + 1
    return sorted(np.argsort(-chances, kind="stable")[:count].tolist())


# --- 8.10 Which head copies -----------------------------------------------------------------------------------------

_ATTENTION = np.abs(np.random.default_rng(100).normal(size=(2, 3, 5, 5))).round(3)
PAIRS = ((_ATTENTION.tolist(), [3, 4], [1, 0]), (_ATTENTION.tolist(), [4, 2, 3], [2, 1, 0]))


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    return [
        Reference(
            "8.1",
            solution("08", "rms_norm"),
            NORMS,
            {
                "no epsilon": _norm_by(lambda x, eps: np.sqrt((x * x).mean(-1, keepdims=True))),
                "epsilon outside": _norm_by(lambda x, eps: np.sqrt((x * x).mean(-1, keepdims=True)) + eps),
                "mean taken away": _centred,
                "standardized": lambda x, weight, eps: (
                    (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + eps) * weight
                ),
                "no root": _norm_by(lambda x, eps: (x * x).mean(-1, keepdims=True) + eps),
                "sum": _norm_by(lambda x, eps: np.sqrt((x * x).sum(-1, keepdims=True) + eps)),
                "wrong axis": _norm_by(lambda x, eps: np.sqrt((x * x).mean(0, keepdims=True) + eps)),
                "no weight": lambda x, weight, eps: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps),
            },
            made=_arrays,
            kept=_kept,
        ),
        Reference(
            "8.2",
            solution("08", "rotate"),
            TURNS,
            {
                "interleaved": _interleaved,
                "halves put back interleaved": _put_back,
                "backwards": _turn(lambda a, b, cos, sin: (a * cos + b * sin, b * cos - a * sin)),
                "second from new first": _turn(_from_new_first),
                "no turn back": _turn(lambda a, b, cos, sin: (a * cos, b * sin)),
                "reflected": _turn(lambda a, b, cos, sin: (a * cos - b * sin, b * cos - a * sin)),
            },
            made=_arrays,
            kept=_kept,
        ),
        Reference(
            "8.3",
            solution("08", "attend"),
            HEADS,
            {
                "no mask": _head(hidden=lambda ones, old: ~ones),
                "mask the wrong way": _head(hidden=lambda ones, old: np.tril(ones, old - 1)),
                "mask the wrong way, as without a cache": _head(hidden=lambda ones, old: np.tril(ones, -1)),
                "itself hidden": _head(hidden=np.triu),
                "itself hidden by a large number": _head(hidden=np.triu, hide_by=-1e9),
                "new tokens as if they came first": _head(hidden=lambda ones, old: np.triu(ones, 1)),
                "masked after softmax": _head(after=True),
                "no scale": _head(scale=lambda q: 1.0),
                "scale without root": _head(scale=lambda q: q.shape[-1]),
                "scale by tokens": _head(scale=lambda q: len(q) ** 0.5),
                "wrong axis": _head(axis=0),
                "no softmax": _head(soft=False),
                "overflow": _head(lowered=False),
            },
            made=_arrays,
            kept=_kept,
        ),
        Reference(
            "8.4",
            solution("08", "split_heads"),
            TOKENS,
            {
                "no transpose": lambda x, heads: x.reshape(heads, len(x), -1),
                "interleaved": lambda x, heads: x.reshape(len(x), -1, heads).transpose(2, 0, 1),
                "tokens first": lambda x, heads: x.reshape(len(x), heads, -1),
                "turned": lambda x, heads: x.reshape(len(x), heads, -1).transpose(1, 2, 0),
            },
            made=_arrays,
            kept=_kept,
        ),
        Reference(
            "8.5",
            solution("08", "positions"),
            CACHES,
            {
                "from zero": lambda cached, new: np.arange(new),
                "one too far": lambda cached, new: np.arange(cached + 1, cached + new + 1),
                "all tokens": lambda cached, new: np.arange(cached + new),
                "one too early": lambda cached, new: np.arange(cached - 1, cached + new - 1),
            },
            kept=_kept,
        ),
        Reference(
            "8.6",
            solution("08", "swiglu"),
            MLPS,
            {
                "exchanged": _gated(lambda gate, up: gate * _silu(up)),
                "sigmoid alone": _gated(lambda gate, up: up / (1 + np.exp(-gate))),
                "relu": _gated(lambda gate, up: np.maximum(gate, 0) * up),
                "no up": _gated(lambda gate, up: _silu(gate)),
                "added": _gated(lambda gate, up: _silu(gate) + up),
                "no gate": _gated(lambda gate, up: gate * up),
            },
            made=_arrays,
            kept=_kept,
        ),
        Reference(
            "8.7",
            _of_parts(solution("08", "layer")),
            LAYERS,
            {
                "no residual": _of_parts(_no_residual),
                "one residual": _of_parts(_one_residual),
                "norm after": _of_parts(_norm_after),
                "no norms": _of_parts(lambda x, look, think, *norms: x + look(x) + think(x + look(x))),
                "both from the start": _of_parts(
                    lambda x, look, think, norm_look, norm_think: x + look(norm_look(x)) + think(norm_think(x))
                ),
                "residual of the normed": _of_parts(_of_normed),
                "order": _of_parts(_mlp_first),
                "norms exchanged": _of_parts(
                    lambda x, look, think, first, second: solution("08", "layer")(x, look, think, second, first)
                ),
            },
            made=_arrays,
            kept=_kept,
        ),
        Reference(
            "8.9",
            lambda chances, top_p: sorted(np.asarray(solution("08", "nucleus")(chances, top_p)).tolist()),
            CHANCES,
            {
                "one too few": lambda chances, top_p: _ranked(chances, lambda sums, own: sums < top_p),
                "above the threshold": lambda chances, top_p: np.flatnonzero(chances >= top_p).tolist(),
                "one too many": _one_more,
                "first ones": lambda chances, top_p: np.flatnonzero(np.cumsum(chances) - chances < top_p).tolist(),
                "worst": lambda chances, top_p: _ranked(chances, lambda sums, own: sums - own < top_p, worst=True),
            },
            made=_arrays,
        ),
        Reference(
            "8.10",
            solution("08", "copy_scores"),
            PAIRS,
            {
                "exchanged": lambda attention, lookers, sources: attention[:, :, sources, lookers].mean(-1),
                "sum": lambda attention, lookers, sources: attention[:, :, lookers, sources].sum(-1),
                "best": lambda attention, lookers, sources: attention[:, :, lookers, sources].max(-1),
                "layers averaged": lambda attention, lookers, sources: attention[:, :, lookers, sources].mean((-1, -2)),
                "all pairs": lambda attention, lookers, sources: attention[:, :, lookers][:, :, :, sources].mean(
                    (2, 3)
                ),
                "one later": lambda attention, lookers, sources: attention[
                    :, :, [min(place + 1, 4) for place in lookers], sources
                ].mean(-1),
            },
            made=lambda attention, lookers, sources: [np.array(attention), lookers, sources],
            kept=_kept,
        ),
    ]
