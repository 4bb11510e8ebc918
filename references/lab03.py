"""Lab 03: the cases of its exercises, and what common mistakes give."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from labs_helper.exercises import facts
from references import Reference, solution

# --- 3.1 Parameters from the shapes -------------------------------------------------------------------------------

BIG, MINI = facts.moe_shape("phi-3.5-moe-instruct-4bit"), facts.moe_shape("phi-mini-moe-instruct-bf16")
TINY = facts.moe_shape("phi-tiny-moe-instruct-bf16")
WIDE = {**BIG, "hidden_size": 512, "intermediate_size": 640, "num_hidden_layers": 3, "num_key_value_heads": 32}
# Large routers and tiny experts: here a router that was left out shows, and norms and biases still do not.
ROUTERS = {
    "hidden_size": 256,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "num_local_experts": 8192,
    "vocab_size": 1000,
}
SHAPES = ((BIG, 16), (BIG, 2), (MINI, 16), (MINI, 2), (WIDE, 16), (WIDE, 2), (ROUTERS, 2))


def _parameters(
    shape: Mapping[str, int],
    experts: int,
    *,
    tables: int = 2,
    matrices: int = 3,
    attention: bool = True,
    keys: Callable[[Mapping[str, int]], float] = lambda s: (
        s["hidden_size"] / s["num_attention_heads"] * s["num_key_value_heads"]
    ),
    routers: float = 1,
    layers: int | None = None,
    tables_in_layers: bool = False,
    small: bool = False,
) -> float:
    hidden = shape["hidden_size"]
    layer = experts * matrices * hidden * shape["intermediate_size"]
    layer += routers * hidden * shape["num_local_experts"]
    if attention:
        layer += 2 * hidden * hidden + 2 * hidden * keys(shape)
    if small:  # biases of attention and norms
        layer += 2 * hidden + 2 * keys(shape) + 4 * hidden
    table = tables * shape["vocab_size"] * hidden + (shape["vocab_size"] + 2 * hidden if small else 0)
    depth = shape["num_hidden_layers"] if layers is None else layers
    return depth * (layer + table) if tables_in_layers else table + depth * layer


def _routers_times_experts(shape: Mapping[str, int], experts: int) -> float:
    return _parameters(shape, experts, routers=experts)


# --- 3.2 SparseMixer by hand ----------------------------------------------------------------------------------------

GATES = (
    [0.0, 3.0, 1.0, 2.0],
    [2.0, 1.99, 1.0, 1.98],
    [1.0, 1.01, 1.005, -4.0],
    [-1.0, -1.01, -3.0, -1.5],
    [-1.0, -1.0203, -1.03, -5.0],  # near only if the larger of |gate| and best divides
    [0.5, 0.2, 0.499, 0.1, 0.495, 0.2],
    [4.0, 3.95, 3.94, 0.0],
    [0.3, 0.295, 2.0, 1.97, -2.0],
    [1.0, 0.9803, 0.2, 0.961],  # near only if the larger of the two divides, not |gate|
)

Pairs = list[tuple[int, float]]


def _rounds(
    gates: Sequence[float],
    *,
    scale: Callable[[float, float], float] = lambda gate, best: max(abs(gate), best),
    limit: float = 0.02,
    stays: bool = False,
) -> Pairs:
    left = dict(enumerate(gates))
    pairs: Pairs = []
    for _round in range(2):
        best = max(left, key=left.__getitem__)
        among = dict(enumerate(gates)) if stays else left
        near = [g for g in among.values() if (left[best] - g) / scale(g, left[best]) <= limit]
        pairs.append((best, 1 / sum(math.exp(g - left[best]) for g in near)))
        del left[best]
    return pairs


def _softmax_over(gates: Sequence[float], two: bool) -> Pairs:
    ranked = sorted(range(len(gates)), key=lambda e: -gates[e])[:2]
    total = sum(math.exp(gates[e]) for e in (ranked if two else range(len(gates))))
    return [(e, math.exp(gates[e]) / total) for e in ranked]


def _not_shared(gates: Sequence[float]) -> Pairs:
    return [(e, math.exp(gates[e])) for e, _w in _rounds(gates)]


def _one_weight(gates: Sequence[float]) -> Pairs:
    pairs = _rounds(gates)
    return [(e, pairs[0][1]) for e, _w in pairs]


def _sum_to_one(gates: Sequence[float]) -> Pairs:
    pairs = _rounds(gates)
    return [(e, w / sum(w for _e, w in pairs)) for e, w in pairs]


# --- 3.3 Weights that do not sum to 1 -------------------------------------------------------------------------------

RECORDS = (
    [[1.0, 1.0], [1.0, 0.5], [0.5, 1.0], [1.0, 1.0], [0.999, 0.995], [0.4, 0.6]],
    [[0.5, 0.5], [1.0, 1.0], [0.6, 0.6], [1.0, 0.98], [1.0, 0.985], [0.97, 0.96]],
    [[1.0, 0.985], [0.992, 0.991], [0.3, 0.4], [1.0, 0.2]],
)


def _shares(test: Callable[[np.ndarray], np.ndarray]) -> Callable[[Sequence[Sequence[float]]], float]:
    return lambda weights: float(np.mean(test(np.array(weights))))


def _how_many(weights: Sequence[Sequence[float]]) -> float:
    return float((np.array(weights).min(1) > 0.99).sum())


def _of_routing(weights: Sequence[Sequence[float]]) -> float:
    return float(solution("03", "share_of_full")(record(weights)))


def record(weights: Sequence[Sequence[float]]) -> Any:
    """The table that the check of 3.3 makes of weights."""
    from labs_helper.exercises.lab03 import record as made

    return made(weights)


# --- 3.4 Mutual information -------------------------------------------------------------------------------------------

TABLES = (
    [[8, 0, 0], [0, 8, 0], [0, 0, 8]],
    [[4, 4], [4, 4]],
    [[9, 1, 2], [3, 7, 4]],
    [[5, 0, 5, 0], [1, 1, 1, 1], [0, 8, 0, 0]],
    [[30, 2], [1, 5], [4, 40]],
)


def _entropies(table: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    def entropy(shares: np.ndarray) -> float:
        shares = shares[shares > 0]
        return -float((shares * np.log(shares)).sum())

    cells = np.array(table, dtype=float)
    cells = cells / cells.sum()
    return entropy(cells.sum(1)), entropy(cells.sum(0)), entropy(cells.ravel())


def _over(divisor: Callable[[float, float, float], float]) -> Callable[[Sequence[Sequence[float]]], float]:
    def divided(table: Sequence[Sequence[float]]) -> float:
        rows, columns, cells = _entropies(table)
        return (rows + columns - cells) / divisor(rows, columns, cells)

    return divided


# --- 3.6 A cache of experts -------------------------------------------------------------------------------------------

REQUESTS = (
    ("ABAB", 1),
    ("ABAB", 2),
    ("AABBAA", 1),
    ("ABCABC", 2),
    ("ABACABAD", 2),
    ("ABCDABCD", 4),
    ("AAAA", 3),
    ("ABCBADCBAB", 3),
    ("AAAB" * 3, 2),
    ("ABBBA", 2),
    ("ABCDABCD", 2),
    ("ABCABC", 1),
)


def _hits(requests: Sequence[str], room: float, *, leaves: str = "oldest") -> int:
    kept: OrderedDict[str, int] = OrderedDict()
    hits = 0
    for wanted in requests:
        if wanted in kept:
            hits += 1
            kept[wanted] += 1
            if leaves == "oldest":
                kept.move_to_end(wanted)
            continue
        if len(kept) >= room:
            if leaves == "newest":
                kept.popitem()
            elif leaves == "rarest":
                del kept[min(kept, key=kept.__getitem__)]
            else:
                kept.popitem(last=False)
        kept[wanted] = 1
    return hits


def _rate(requests: Sequence[str], room: float, leaves: str = "oldest") -> float:
    return _hits(requests, max(room, 0), leaves=leaves) / len(requests) if room else 0.0


def _window(requests: Sequence[str], room: int) -> float:
    """Looks for an expert among the last requests, however often one of them is repeated there."""
    return sum(e in requests[max(0, i - room) : i] for i, e in enumerate(requests)) / len(requests)


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    return [
        Reference(
            "3.1",
            solution("03", "parameters"),
            SHAPES,
            {
                "norms and biases": partial(_parameters, small=True),
                "one table": partial(_parameters, tables=1),
                "no table": partial(_parameters, tables=0),
                "two matrices": partial(_parameters, matrices=2),
                "one matrix": partial(_parameters, matrices=1),
                "all heads": partial(_parameters, keys=lambda s: s["hidden_size"]),
                "no head size": partial(_parameters, keys=lambda s: s["num_key_value_heads"]),
                "head size alone": partial(_parameters, keys=lambda s: s["hidden_size"] / s["num_attention_heads"]),
                "no attention": partial(_parameters, attention=False),
                "all experts": lambda shape, experts: _parameters(shape, shape["num_local_experts"]),
                "one expert": lambda shape, experts: _parameters(shape, 1),
                "one layer": partial(_parameters, layers=1),
                "tables in each layer": partial(_parameters, tables_in_layers=True),
                "no router": partial(_parameters, routers=0),
                "router times experts": _routers_times_experts,
            },
            given=[(shape, experts) for shape in (BIG, MINI, TINY) for experts in (0, 1, 2, 8, 16, 32, 64)],
        ),
        Reference(
            "3.2",
            solution("03", "route"),
            [(gates,) for gates in GATES],
            {
                "softmax over all": partial(_softmax_over, two=False),
                "softmax over two": partial(_softmax_over, two=True),
                "first stays": partial(_rounds, stays=True),
                "absolute best": partial(_rounds, scale=lambda gate, best: abs(best)),
                "absolute gate": partial(_rounds, scale=lambda gate, best: abs(gate) or 1e-12),
                "no scale": partial(_rounds, scale=lambda gate, best: 1),
                "jitter once": partial(_rounds, limit=0.01),
                "not shared": _not_shared,
                "one weight": _one_weight,
                "sum to one": _sum_to_one,
            },
            kept=lambda pairs: [[int(expert), float(weight)] for expert, weight in pairs],
        ),
        Reference(
            "3.3",
            _of_routing,
            [(weights,) for weights in RECORDS],
            {
                "how many": _how_many,
                "single weights": lambda weights: float((np.array(weights) > 0.99).mean()),
                "one of two": _shares(lambda w: w.max(1) > 0.99),
                "first rank": _shares(lambda w: w[:, 0] > 0.99),
                "second rank": _shares(lambda w: w[:, 1] > 0.99),
                "sum": _shares(lambda w: w.sum(1) > 0.99),
                "sum of two": _shares(lambda w: w.sum(1) > 1.98),
                "exactly one": _shares(lambda w: w.min(1) == 1),
            },
        ),
        Reference(
            "3.4",
            lambda table: float(solution("03", "shared_information")(np.array(table, dtype=float))),
            [(table,) for table in TABLES],
            {
                "information": _over(lambda rows, columns, cells: 1),
                "bits": _over(lambda rows, columns, cells: math.log(2)),
                "sum": _over(lambda rows, columns, cells: rows + columns),
                "root": _over(lambda rows, columns, cells: math.sqrt(rows * columns)),
                "smaller": _over(lambda rows, columns, cells: min(rows, columns)),
                "larger": _over(lambda rows, columns, cells: max(rows, columns)),
                "rows": _over(lambda rows, columns, cells: rows),
                "columns": _over(lambda rows, columns, cells: columns),
                "cells": _over(lambda rows, columns, cells: cells),
                "rest": lambda table: 1 - _over(lambda rows, columns, cells: (rows + columns) / 2)(table),
            },
        ),
        Reference(
            "3.6",
            lambda requests, room: solution("03", "hit_rate")(list(requests), room),
            REQUESTS,
            {
                "misses": lambda requests, room: 1 - _rate(requests, room),
                "hits": _hits,
                "different": lambda requests, room: _hits(requests, room) / len(set(requests)),
                "first in": partial(_rate, leaves="first"),
                "newest": partial(_rate, leaves="newest"),
                "rarest": partial(_rate, leaves="rarest"),
                "window": _window,
                "never": lambda requests, room: _rate(requests, 99),
                "one more": lambda requests, room: _rate(requests, room + 1),
                "one fewer": lambda requests, room: _rate(requests, room - 1),
                "per place": lambda requests, room: _hits(requests, room) / room,
            },
        ),
    ]
