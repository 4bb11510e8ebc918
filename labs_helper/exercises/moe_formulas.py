"""The formulas of lab 03, with their sources.

The checks compare a learner's answers with them, and the notebook goes on with them, so that it runs without those
answers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

JITTER = 0.01  # router_jitter_noise of the phimoe models


def parts(shape: Mapping[str, int]) -> dict[str, int]:
    """Parameters of the large parts of a phimoe, over all layers; "expert" is one expert in each layer.

    Source: transformers' PhimoeForCausalLM: a head has hidden_size / num_attention_heads dimensions.

    Example:
        parts(moe_shape("phi-3.5-moe-instruct-4bit"))["expert"]      # 32 * 3 * 4096 * 6400
    """
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    head = hidden // shape["num_attention_heads"]
    return {
        "tables": 2 * shape["vocab_size"] * hidden,
        "attention": layers * (2 * hidden * hidden + 2 * hidden * head * shape["num_key_value_heads"]),
        "router": layers * hidden * shape["num_local_experts"],
        "expert": layers * 3 * hidden * shape["intermediate_size"],
    }


def parameters(shape: Mapping[str, int], experts: int) -> int:
    """Parameters of a phimoe with this many experts in each layer: all of them, or those that one token uses.

    Example:
        round(parameters(moe_shape("phi-3.5-moe-instruct-4bit"), 2) / 1e9, 1)      # 6.6
    """
    part = parts(shape)
    return part["tables"] + part["attention"] + part["router"] + experts * part["expert"]


def route(gates: Sequence[float], jitter: float = JITTER) -> list[tuple[int, float]]:
    """SparseMixer at inference: two experts with their weights, the better first.

    Each time the best expert that is left is taken. Its weight is its share in a softmax over the experts that come
    near it, those with (best - gate) / max(|gate|, best) at most 2 * jitter; the first one no longer counts in the
    second round. Source: Liu et al. 2023 (arXiv:2310.00811), as in transformers' and mlx-lm's phimoe.

    Example:
        route([0.0, 3.0, 1.0, 2.0])      # [(1, 1.0), (3, 1.0)]
    """
    left = dict(enumerate(gates))
    pairs: list[tuple[int, float]] = []
    for _round in range(2):
        best = max(left, key=left.__getitem__)
        near = [e for e, gate in left.items() if (left[best] - gate) / max(abs(gate), left[best]) <= 2 * jitter]
        pairs.append((best, 1 / sum(math.exp(left[e] - left[best]) for e in near)))
        del left[best]
    return pairs


def share_of_full(routing: pd.DataFrame) -> float:
    """Share of (token, layer) places where both experts count fully: both weights above 0.99.

    Example:
        share_of_full(answer.routing)
    """
    return float((routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean())


def weight_bytes(parameters: float, bits: int, group: int) -> float:
    """Bytes of quantized weights: `bits` for each, and a scale and a bias of 16 bits for each group.

    Source: MLX's affine quantization.

    Example:
        weight_bytes(64, 4, 64)      # 36.0
    """
    return parameters * (bits + 32 / group) / 8


def hit_rate(requests: Sequence[Hashable], room: int, *, touch: bool = True) -> float:
    """Share of requests that find their expert in memory, when the one not used for longest has to leave.

    Args:
        requests: the experts, in the order in which they are asked for.
        room: how many experts the memory holds.
        touch: whether a hit counts as use. If not, the expert that came first leaves.

    Example:
        hit_rate("ABAB", 2)      # 0.5
    """
    kept: OrderedDict[Hashable, bool] = OrderedDict()
    hits = 0
    for wanted in requests:
        if wanted in kept:
            hits += 1
            if touch:
                kept.move_to_end(wanted)
            continue
        kept[wanted] = True
        if len(kept) > room:
            kept.popitem(last=False)
    return hits / len(requests)
