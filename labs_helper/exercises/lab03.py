"""The exercises of lab 03. Every check computes what is right; functions are tried on cases of their own."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from labs_helper.exercises.base import Exercise, TryAgain, a_function, as_list, kind, number, returned

# --- 3.1 Parameters from the shapes ------------------------------------------------------------------------

# The shapes of catalog.toml, where their sources are.
PHI_35_MOE = {
    "hidden_size": 4096,
    "intermediate_size": 6400,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 16,
    "vocab_size": 32064,
}
PHI_MINI_MOE = {**PHI_35_MOE, "intermediate_size": 960}
SMALL = {**PHI_35_MOE, "hidden_size": 512, "intermediate_size": 640, "num_hidden_layers": 3, "num_key_value_heads": 32}
CLOSE = 2e-3  # biases and norms are a thousandth of these models at most: counting them is not the point


def parts(shape: Mapping[str, int]) -> dict[str, int]:
    """The large parts of a phimoe in parameters: of the whole model, experts for one expert in each layer.

    Source: transformers' PhimoeForCausalLM: a head has hidden_size / num_attention_heads dimensions.

    Example: `parts(PHI_35_MOE)["expert"]` is 32 * 3 * 4096 * 6400.
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
    """Parameters of a phimoe, with so many experts a layer: all of them, or those that one token uses.

    Example: `round(parameters(PHI_35_MOE, 2) / 1e9, 1)` is 6.6.
    """
    found = parts(shape)
    return found["tables"] + found["attention"] + found["router"] + experts * found["expert"]


def _parameters(value: object) -> str:
    function = a_function(value, "parameters")
    for name, shape, experts in (
        ("phi_35_moe", PHI_35_MOE, 16),
        ("phi_35_moe", PHI_35_MOE, 2),
        ("phi_mini_moe", PHI_MINI_MOE, 16),
        ("another shape", SMALL, 16),
        ("another shape", SMALL, 2),
    ):
        call, right, part = f"parameters({name}, {experts})", parameters(shape, experts), parts(shape)
        given = number(returned(function(dict(shape), experts)), call)

        def near(wrong: float, given: float = given) -> bool:
            return abs(given - wrong) <= CLOSE * wrong

        if near(right):
            continue
        hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
        if near(right / 1e9):
            why = "This is in billions. Return the number itself."
        elif near(right - part["tables"] / 2):
            why = "One table is missing: the words are looked up in one, and the head that writes them is another."
        elif near(right - part["tables"]):
            why = "The two tables of the vocabulary are missing: the one for reading, and the head for writing."
        elif near(right - experts * part["expert"] / 3):
            why = "An expert has three matrices: gate, up and down. You counted two."
        elif near(right - experts * part["expert"] * 2 / 3):
            why = "An expert has three matrices: gate, up and down. You counted one."
        elif near(right - part["attention"] + layers * 4 * hidden * hidden):
            why = "Keys and values have fewer heads than queries: num_key_value_heads of them."
        elif near(right - part["attention"]):
            why = "The attention is missing: queries, keys, values and output."
        elif experts == 2 and near(parameters(shape, 16)):
            why = "A token uses two experts in each layer. Use the argument `experts`, not all of them."
        elif near((right - part["tables"]) / layers + part["tables"]):
            why = "That is one layer. There are num_hidden_layers of them."
        else:
            why = "Add up: two tables, and in each layer attention (q, k, v, o), router, and three matrices an expert."
        raise TryAgain(f"{call} returned {given:,.0f}. {why}")
    total, active = parameters(PHI_35_MOE, 16), parameters(PHI_35_MOE, 2)
    return f"Right: {total / 1e9:.1f} billion parameters in all, {active / 1e9:.1f} billion for one token."


# --- 3.2 SparseMixer by hand ---------------------------------------------------------------------------------

GATES = (
    [0.0, 3.0, 1.0, 2.0],
    [2.0, 1.99, 1.0, 1.98],
    [1.0, 1.01, 1.005, -4.0],
    [-1.0, -1.01, -3.0, -1.5],
    [0.5, 0.2, 0.499, 0.1, 0.495, 0.2],
    [4.0, 3.95, 3.94, 0.0],
)
JITTER = 0.01


def route(gates: Sequence[float], jitter: float = JITTER) -> list[tuple[int, float]]:
    """SparseMixer at inference: two experts with their weights, the better first.

    Each time the best expert that is left is taken. Its weight is its share in a softmax over the experts that come
    near it, those with (best - gate) / max(|gate|, best) at most 2 * jitter; the first one no longer counts in the
    second round. Source: Liu et al. 2023 (arXiv:2310.00811), as in transformers' and mlx-lm's phimoe.

    Example: `route([0.0, 3.0, 1.0, 2.0])` is `[(1, 1.0), (3, 1.0)]`.
    """
    left, found = dict(enumerate(gates)), []
    for _ in range(2):
        best = max(left, key=left.get)
        near = [e for e, gate in left.items() if (left[best] - gate) / max(abs(gate), left[best]) <= 2 * jitter]
        found.append((best, 1 / sum(math.exp(left[e] - left[best]) for e in near)))
        del left[best]
    return found


def _softmax(gates: Sequence[float]) -> list[float]:
    total = sum(math.exp(gate) for gate in gates)
    return [math.exp(gate) / total for gate in gates]


def _route(value: object) -> str:
    function = a_function(value, "route")
    for gates in GATES:
        call, right = f"route({gates})", route(gates)
        given = returned(function(list(gates)))
        if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
            raise TryAgain(f"{call} must return two pairs of (expert, weight). It returned {kind(given)}.")
        pairs = [as_list(p) if isinstance(p, Iterable) and not isinstance(p, str) else [] for p in as_list(given)]
        if [len(pair) for pair in pairs] != [2, 2]:
            raise TryAgain(f"{call} must return two pairs: [(expert, weight), (expert, weight)].")
        found = [(number(expert, "The expert"), number(weight, "The weight")) for expert, weight in pairs]
        experts, weights = [e for e, _ in found], [w for _, w in found]
        if experts[0] == experts[1]:
            raise TryAgain(f"{call}: the same expert twice. Take the first one away before you look for the second.")
        if experts == [e for e, _ in right][::-1]:
            raise TryAgain(f"{call}: these are the two experts, but the better one comes first.")
        if experts != [e for e, _ in right]:
            raise TryAgain(f"{call} chose {experts}. The first expert has the largest gate, the second the next.")
        if all(abs(a - b) < 1e-3 for a, (_, b) in zip(weights, right, strict=True)):
            continue
        everyone = _softmax(gates)
        top = _softmax([gates[e] for e, _ in right])
        if all(abs(w - everyone[e]) < 1e-3 for e, w in zip([e for e, _ in right], weights, strict=True)):
            why = "This is a softmax over all experts. SparseMixer takes only those that come near the best."
        elif all(abs(w - t) < 1e-3 for w, t in zip(weights, top, strict=True)):
            why = "This is a softmax over the two, as in Mixtral: it sums to 1. Here each weight has its own softmax."
        elif abs(weights[0] - right[0][1]) < 1e-3:
            why = "The first weight is right. In the second round the first expert must not be in the softmax."
        else:
            why = "Near means: (best - gate) / max(|gate|, best) <= 2 * jitter. Take the softmax over those only."
        raise TryAgain(f"{call} gave the weights {[round(w, 3) for w in weights]}. {why}")
    return f"Right for all {len(GATES)} sets of gates, close calls and negative values included."


# --- 3.3 Weights that do not sum to 1 -----------------------------------------------------------------------


def share_of_full(routing) -> float:
    """Share of (token, layer) places where both experts count fully: both weights above 0.99.

    Example: `share_of_full(answer.routing)`
    """
    return float((routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean())


def _records():
    """Two made-up records of routing: (frame, share of places with two full weights)."""
    import pandas as pd

    for weights in (
        [(1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (1.0, 1.0), (0.999, 0.995), (0.4, 0.6)],
        [(0.5, 0.5), (1.0, 1.0), (0.6, 0.6), (1.0, 0.98)],
    ):
        rows = [
            {
                "position": place // 2,
                "layer": place % 2,
                "rank": rank,
                "weight": weight,
                "expert": rank,
                "token": "a",
                "part": "prompt",
                "gate": 1.0,
            }
            for place, pair in enumerate(weights)
            for rank, weight in enumerate(pair, 1)
        ]
        yield pd.DataFrame(rows)


def _full(value: object) -> str:
    function = a_function(value, "share_of_full")
    for frame in _records():
        right = share_of_full(frame)
        given = number(returned(function(frame.copy())), "share_of_full(routing)")
        if abs(given - right) < 1e-6:
            continue
        places = len(frame) // 2
        either = float((frame.groupby(["position", "layer"])["weight"].max() > 0.99).mean())
        sums = float((frame.groupby(["position", "layer"])["weight"].sum() > 0.99).mean())
        if abs(given - right * places) < 1e-6:
            why = "This is how many. Divide by the number of places."
        elif abs(given - 100 * right) < 1e-6:
            why = "This is in per cent. Return a share between 0 and 1."
        elif abs(given - float((frame["weight"] > 0.99).mean())) < 1e-6:
            why = "This is the share of single weights. Look at both weights of a place together."
        elif abs(given - either) < 1e-6:
            why = "Here one of the two is enough. Both must be above 0.99: the smaller one decides."
        elif abs(given - sums) < 1e-6:
            why = "This looks at their sum. 0.5 and 0.5 sum to 1 as well, and are not full."
        else:
            why = "Group by position and layer, take the smaller weight of each group, and count those above 0.99."
        raise TryAgain(f"For a record of {places} places you returned {given:g}. {why}")
    return "Right. A sum of 2 is no mistake: the two outputs are added, and nothing says that they must be averaged."


# --- 3.4 Mutual information ------------------------------------------------------------------------------------

TABLES = (
    [[8, 0, 0], [0, 8, 0], [0, 0, 8]],
    [[4, 4], [4, 4]],
    [[9, 1, 2], [3, 7, 4]],
    [[5, 0, 5, 0], [1, 1, 1, 1], [0, 8, 0, 0]],
)


def _entropy(counts: Iterable[float]) -> float:
    counts = [count for count in counts if count > 0]
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts)


def information(table: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """(mutual information in nats, entropy of the rows, entropy of the columns) of a table of counts.

    I = H(rows) + H(columns) - H(cells). Source: Shannon 1948.

    Example: `information([[4, 4], [4, 4]])[0]` is 0.
    """
    rows = _entropy(map(sum, table))
    columns = _entropy(map(sum, zip(*table, strict=True)))
    return rows + columns - _entropy(count for row in table for count in row), rows, columns


def _information(value: object) -> str:
    import numpy as np

    function = a_function(value, "shared_information")
    for table in TABLES:
        shared, rows, columns = information(table)
        right, call = 2 * shared / (rows + columns), f"shared_information({table})"
        result = returned(function(np.array(table, dtype=float)))
        try:
            given = number(result, call)
        except TryAgain:
            if isinstance(result, (float, np.floating)) and math.isnan(result):
                raise TryAgain(f"{call} is not a number: 0 * log(0) counts as 0. Leave empty cells out.") from None
            raise
        if abs(given - right) < 1e-4:
            continue
        if abs(given - shared) < 1e-4 or abs(given - shared / math.log(2)) < 1e-4:
            why = "This is the information itself. Divide it by the mean of the two entropies."
        elif abs(given - shared / (rows + columns)) < 1e-4:
            why = "Divide by the mean of the two entropies, not by their sum."
        elif abs(given - shared / math.sqrt(rows * columns)) < 1e-4 or abs(given - shared / min(rows, columns)) < 1e-4:
            why = "This is another way to normalise. Divide by the mean of the two entropies."
        elif abs(given - (1 - right)) < 1e-4:
            why = "You have it the wrong way round: independent rows and columns must give 0."
        else:
            why = "Make shares of the counts. Then H(rows) + H(columns) - H(cells), over the mean of the first two."
        raise TryAgain(f"{call} returned {given:.4f}. {why}")
    return f"Right for all {len(TABLES)} tables: 1 where the row tells the column, 0 where it tells nothing."


# --- 3.5 Bytes of the weights ------------------------------------------------------------------------------------

CASES = ((41_873_153_344, 4, 64), (41_873_153_344, 8, 64), (7_647_632_704, 4, 32), (1_000_000, 3, 64))


def weight_bytes(parameters: float, bits: int, group: int) -> float:
    """Bytes of quantized weights: so many bits each, and a scale and a bias of 16 bits for each group.

    Source: MLX's affine quantization.

    Example: `weight_bytes(64, 4, 64)` is 36.0.
    """
    return parameters * (bits + 32 / group) / 8


def _bytes(value: object) -> str:
    function = a_function(value, "weight_bytes")
    for count, bits, group in CASES:
        call, right = f"weight_bytes({count}, {bits}, {group})", weight_bytes(count, bits, group)
        given = number(returned(function(count, bits, group)), call)
        if abs(given - right) <= 1e-4 * right:
            continue
        ratio = given / right

        def is_(wrong: float, ratio: float = ratio) -> bool:
            return abs(ratio - wrong) <= 1e-4 * abs(wrong)

        if is_(bits / (bits + 32 / group)):
            why = "The scales are missing: each group has a scale and a bias, 16 bits each."
        elif is_((bits + 16 / group) / (bits + 32 / group)):
            why = "Each group has two numbers of 16 bits: a scale and a bias. You counted one."
        elif is_(8):
            why = "These are bits. A byte has eight."
        elif is_(1e-9) or is_(1 / 2**30):
            why = "This is in GB. Return bytes."
        else:
            why = "A weight takes `bits` bits and its part of the 32 bits that its group shares. Then make bytes of it."
        raise TryAgain(f"{call} returned {given:,.0f}. {why}")
    size = weight_bytes(*CASES[0]) / 1e9
    return f"Right. Phi-3.5-MoE at 4 bits: {size:.1f} GB; the published files have 23.57."


# --- 3.6 A cache of experts ------------------------------------------------------------------------------------

REQUESTS = (
    ("ABAB", 1),
    ("ABAB", 2),
    ("AABBAA", 1),
    ("ABCABC", 2),
    ("ABACABAD", 2),
    ("ABCDABCD", 4),
    ("AAAA", 3),
    ("ABCBADCBAB", 3),
)


def hit_rate(requests: Sequence, room: int, *, touch: bool = True) -> float:
    """Share of requests that find their expert in memory, when the one not used for longest has to leave.

    touch: False leaves out what makes it "least recently used": then the one that came first leaves.

    Example: `hit_rate("ABAB", 2)` is 0.5.
    """
    kept: OrderedDict = OrderedDict()
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


def _hits(value: object) -> str:
    function = a_function(value, "hit_rate")
    for requests, room in REQUESTS:
        call, right = f"hit_rate({list(requests)}, {room})", hit_rate(requests, room)
        given = number(returned(function(list(requests), room)), call)
        if abs(given - right) < 1e-6:
            continue
        if abs(given - (1 - right)) < 1e-6:
            why = "This is the share of misses."
        elif abs(given - right * len(requests)) < 1e-6:
            why = "These are the hits. Divide by the number of requests."
        elif abs(given - hit_rate(requests, room, touch=False)) < 1e-6:
            why = "The one that came first left. The one that was not used for longest must leave: a hit counts as use."
        elif abs(given - hit_rate(requests, room + 1)) < 1e-6:
            why = f"There is room for {room}. You kept one more."
        elif room > 1 and abs(given - hit_rate(requests, room - 1)) < 1e-6:
            why = f"There is room for {room}. You kept one fewer."
        elif abs(given - hit_rate(requests, len(requests))) < 1e-6:
            why = "Nothing ever leaves. When there is no room, one has to."
        else:
            why = "Go through the requests. In memory: a hit, and just used. If not: load it, and the oldest leaves."
        raise TryAgain(f"{call} returned {given:g}. {why}")
    return f"Right for all {len(REQUESTS)} lists. With room for one, only a repeated request is a hit."


EXERCISES = (
    Exercise(
        "3.1",
        "Count the parameters from the shapes",
        _parameters,
        (
            "Two tables of vocab_size x hidden_size: one to read tokens, one to write them. All else is in the layers.",
            "Attention: queries and output are hidden x hidden; keys and values hidden x (their heads x head size).",
            "An expert: 3 * hidden * intermediate. The router: hidden * num_local_experts. Times num_hidden_layers.",
        ),
    ),
    Exercise(
        "3.2",
        "Route one token by hand",
        _route,
        (
            "Two rounds. In each: find the largest gate that is left, and those that come near it.",
            "g is near the best b if (b - g) / max(|g|, b) <= 2 * jitter. The softmax runs over the near ones only.",
            "weight = exp(b - b) / sum(exp(g - b) for the near ones). Then take the best away for the second round.",
        ),
    ),
    Exercise(
        "3.3",
        "Count the places with two full weights",
        _full,
        (
            "A place is one token in one layer: two rows of the table, rank 1 and rank 2.",
            'routing.groupby(["position", "layer"])["weight"] has the two weights of every place.',
            'return (routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean()',
        ),
    ),
    Exercise(
        "3.4",
        "Measure what an expert tells about the topic",
        _information,
        (
            "Divide the table by its sum. The sums of its rows and of its columns are the two single distributions.",
            "H(p) = -sum(p * log(p)), over the p above 0. You need it three times: rows, columns, all cells.",
            "information = H(rows) + H(columns) - H(cells); return 2 * information / (H(rows) + H(columns)).",
        ),
    ),
    Exercise(
        "3.5",
        "Compute the bytes of quantized weights",
        _bytes,
        (
            "A weight takes `bits` bits. A group of weights shares a scale and a bias of 16 bits each.",
            "That is 32 / group more bits for each weight.",
            "return parameters * (bits + 32 / group) / 8",
        ),
    ),
    Exercise(
        "3.6",
        "Simulate a cache of experts",
        _hits,
        (
            "Keep a list of the experts in memory, the one used last at its end.",
            "A hit: count it and move that expert to the end. A miss: put it at the end; if too many, drop the first.",
            "kept.remove(e); kept.append(e) moves it. kept.pop(0) drops the first. Return hits / len(requests).",
        ),
    ),
)
