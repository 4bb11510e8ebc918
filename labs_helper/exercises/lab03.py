"""The exercises of lab 03. Every check computes what is right; functions are tried on cases of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from labs_helper.common.information import information
from labs_helper.common.translate import _
from labs_helper.exercises import facts
from labs_helper.exercises.base import Exercise, TryAgain, a_function, as_list, kind, number, returned
from labs_helper.exercises.moe_formulas import hit_rate, parameters, parts, route, share_of_full, weight_bytes

if TYPE_CHECKING:
    import pandas as pd

# --- 3.1 Parameters from the shapes ------------------------------------------------------------------------

BIG, MINI = "phi-3.5-moe-instruct-4bit", "phi-mini-moe-instruct-bf16"
CLOSE = 2e-3  # biases and norms are a thousandth of these models at most: counting them is not the point


def _parameters(value: object) -> str:
    function = a_function(value, "parameters")
    big = facts.moe_shape(BIG)
    other = {**big, "hidden_size": 512, "intermediate_size": 640, "num_hidden_layers": 3, "num_key_value_heads": 32}
    for name, shape, experts in (
        ("phi_35_moe", big, 16),
        ("phi_35_moe", big, 2),
        ("phi_mini_moe", facts.moe_shape(MINI), 16),
        ("another shape", other, 16),
        ("another shape", other, 2),
    ):
        call = f"parameters({name}, {experts})"
        answer = number(returned(function(dict(shape), experts)), call)
        right = parameters(shape, experts)
        if abs(answer - right) <= CLOSE * right:
            continue
        why = _parameters_mistake(answer, shape, experts)
        raise TryAgain(_("{call} returned {answer:,.0f}. {why}").format(call=call, answer=answer, why=why))
    total, active = parameters(big, 16), parameters(big, 2)
    return _("Right: {total:.1f} billion parameters in all, {active:.1f} billion for one token.").format(
        total=total / 1e9, active=active / 1e9
    )


def _parameters_mistake(answer: float, shape: Mapping[str, int], experts: int) -> str:
    """What most likely went wrong in a count of parameters."""
    right, part = parameters(shape, experts), parts(shape)
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]

    def near(wrong: float) -> bool:
        return abs(answer - wrong) <= CLOSE * wrong

    if near(right / 1e9):
        return _("This is in billions. Return the number itself.")
    if near(right - part["tables"] / 2):
        return _("One table is missing: the words are looked up in one, and the head that writes them is another.")
    if near(right - part["tables"]):
        return _("The two tables of the vocabulary are missing: the one for reading, and the head for writing.")
    if near(right - experts * part["expert"] / 3):
        return _("An expert has three matrices: gate, up and down. You counted two.")
    if near(right - experts * part["expert"] * 2 / 3):
        return _("An expert has three matrices: gate, up and down. You counted one.")
    if near(right - part["attention"] + layers * 4 * hidden * hidden):
        return _("Keys and values have fewer heads than queries: num_key_value_heads of them.")
    if near(right - part["attention"]):
        return _("The attention is missing: queries, keys, values and output.")
    if experts == 2 and near(parameters(shape, 16)):
        return _("A token uses two experts in each layer. Use the argument `experts`, not all of them.")
    if near((right - part["tables"]) / layers + part["tables"]):
        return _("That is one layer. There are num_hidden_layers of them.")
    return _("Add up: two tables, and in each layer attention (q, k, v, o), router, and three matrices an expert.")


# --- 3.2 SparseMixer by hand ---------------------------------------------------------------------------------

GATES = (
    [0.0, 3.0, 1.0, 2.0],
    [2.0, 1.99, 1.0, 1.98],
    [1.0, 1.01, 1.005, -4.0],
    [-1.0, -1.01, -3.0, -1.5],
    [0.5, 0.2, 0.499, 0.1, 0.495, 0.2],
    [4.0, 3.95, 3.94, 0.0],
)


def _softmax(gates: Sequence[float]) -> list[float]:
    total = sum(math.exp(gate) for gate in gates)
    return [math.exp(gate) / total for gate in gates]


def _route(value: object) -> str:
    function = a_function(value, "route")
    for gates in GATES:
        call = f"route({gates})"
        experts, weights = _two_pairs(call, returned(function(list(gates))))
        right = [expert for expert, _weight in route(gates)]
        if experts[0] == experts[1]:
            raise TryAgain(
                _("{call}: the same expert twice. Take the first one away before you look for the second.").format(
                    call=call
                )
            )
        if experts == right[::-1]:
            raise TryAgain(_("{call}: these are the two experts, but the better one comes first.").format(call=call))
        if experts != right:
            raise TryAgain(
                _("{call} chose {experts}. The first expert has the largest gate, the second the next.").format(
                    call=call, experts=experts
                )
            )
        if not _close(weights, [weight for _expert, weight in route(gates)]):
            raise TryAgain(
                _("{call} gave the weights {weights}. {why}").format(
                    call=call, weights=[round(w, 3) for w in weights], why=_weights_mistake(weights, gates)
                )
            )
    return _("Right for all {count} sets of gates, close calls and negative values included.").format(count=len(GATES))


def _two_pairs(call: str, answer: object) -> tuple[list[float], list[float]]:
    """The experts and the weights of two pairs. Raises TryAgain for anything else."""
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Iterable):
        raise TryAgain(
            _("{call} must return two pairs of (expert, weight). It returned {kind}.").format(
                call=call, kind=kind(answer)
            )
        )
    pairs = [as_list(p) if isinstance(p, Iterable) and not isinstance(p, str) else [] for p in as_list(answer)]
    if [len(pair) for pair in pairs] != [2, 2]:
        raise TryAgain(_("{call} must return two pairs: [(expert, weight), (expert, weight)].").format(call=call))
    return (
        [number(expert, _("The expert")) for expert, _weight in pairs],
        [number(weight, _("The weight")) for _expert, weight in pairs],
    )


def _close(weights: Sequence[float], others: Sequence[float]) -> bool:
    return all(abs(a - b) < 1e-3 for a, b in zip(weights, others, strict=True))


def _weights_mistake(weights: Sequence[float], gates: Sequence[float]) -> str:
    """What most likely went wrong in the weights of the two right experts."""
    experts, right = zip(*route(gates), strict=True)
    everyone = _softmax(gates)
    if _close(weights, [everyone[expert] for expert in experts]):
        return _("This is a softmax over all experts. SparseMixer takes only those that come near the best.")
    if _close(weights, _softmax([gates[expert] for expert in experts])):
        return _("This is a softmax over the two, as in Mixtral: it sums to 1. Here each weight has its own softmax.")
    if _close(weights[:1], right[:1]):
        return _("The first weight is right. In the second round the first expert must not be in the softmax.")
    return _("Near means: (best - gate) / max(|gate|, best) <= 2 * jitter. Take the softmax over those only.")


# --- 3.3 Weights that do not sum to 1 -----------------------------------------------------------------------


def _records() -> Iterator[pd.DataFrame]:
    """Two made-up records of routing, with the columns that a real one has."""
    import pandas as pd

    for weights in (
        [(1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (1.0, 1.0), (0.999, 0.995), (0.4, 0.6)],
        [(0.5, 0.5), (1.0, 1.0), (0.6, 0.6), (1.0, 0.98)],
    ):
        rows = [
            (place // 2, place % 2, rank, weight, rank)
            for place, pair in enumerate(weights)
            for rank, weight in enumerate(pair, 1)
        ]
        frame = pd.DataFrame(rows, columns=["position", "layer", "rank", "weight", "expert"])
        yield frame.assign(token="a", part="prompt", gate=1.0)


def _full(value: object) -> str:
    function = a_function(value, "share_of_full")
    for frame in _records():
        right = share_of_full(frame)
        answer = number(returned(function(frame.copy())), "share_of_full(routing)")
        if abs(answer - right) < 1e-6:
            continue
        places = len(frame) // 2
        either = float((frame.groupby(["position", "layer"])["weight"].max() > 0.99).mean())
        sums = float((frame.groupby(["position", "layer"])["weight"].sum() > 0.99).mean())
        if abs(answer - right * places) < 1e-6:
            why = _("This is how many. Divide by the number of places.")
        elif abs(answer - 100 * right) < 1e-6:
            why = _("This is in per cent. Return a share between 0 and 1.")
        elif abs(answer - float((frame["weight"] > 0.99).mean())) < 1e-6:
            why = _("This is the share of single weights. Look at both weights of a place together.")
        elif abs(answer - either) < 1e-6:
            why = _("Here one of the two is enough. Both must be above 0.99: the smaller one decides.")
        elif abs(answer - sums) < 1e-6:
            why = _("This looks at their sum. 0.5 and 0.5 sum to 1 as well, and are not full.")
        else:
            why = _("Group by position and layer, take the smaller weight of each group, and count those above 0.99.")
        raise TryAgain(
            _("For a record of {places} places you returned {answer:g}. {why}").format(
                places=places, answer=answer, why=why
            )
        )
    return _("Right. A sum of 2 is no mistake: the two outputs are added, and nothing says that they must be averaged.")


# --- 3.4 Mutual information ------------------------------------------------------------------------------------

TABLES = (
    [[8, 0, 0], [0, 8, 0], [0, 0, 8]],
    [[4, 4], [4, 4]],
    [[9, 1, 2], [3, 7, 4]],
    [[5, 0, 5, 0], [1, 1, 1, 1], [0, 8, 0, 0]],
)


def _information(value: object) -> str:
    import numpy as np

    function = a_function(value, "shared_information")
    for table in TABLES:
        measured = information(table)
        shared, rows, columns = measured
        right, call = measured.normalised, f"shared_information({table})"
        result = returned(function(np.array(table, dtype=float)))
        try:
            answer = number(result, call)
        except TryAgain:
            if isinstance(result, (float, np.floating)) and math.isnan(result):
                raise TryAgain(
                    _("{call} is not a number: 0 * log(0) counts as 0. Leave empty cells out.").format(call=call)
                ) from None
            raise
        if abs(answer - right) < 1e-4:
            continue
        if abs(answer - shared) < 1e-4 or abs(answer - shared / math.log(2)) < 1e-4:
            why = _("This is the information itself. Divide it by the mean of the two entropies.")
        elif abs(answer - shared / (rows + columns)) < 1e-4:
            why = _("Divide by the mean of the two entropies, not by their sum.")
        elif (
            abs(answer - shared / math.sqrt(rows * columns)) < 1e-4 or abs(answer - shared / min(rows, columns)) < 1e-4
        ):
            why = _("This is another way to normalise. Divide by the mean of the two entropies.")
        elif abs(answer - (1 - right)) < 1e-4:
            why = _("You have it the wrong way round: independent rows and columns must give 0.")
        else:
            why = _("Make shares of the counts. Then H(rows) + H(columns) - H(cells), over the mean of the first two.")
        raise TryAgain(_("{call} returned {answer:.4f}. {why}").format(call=call, answer=answer, why=why))
    return _("Right for all {count} tables: 1 where the row tells the column, 0 where it tells nothing.").format(
        count=len(TABLES)
    )


# --- 3.5 Bytes of the weights ------------------------------------------------------------------------------------

CASES = ((41_873_153_344, 4, 64), (41_873_153_344, 8, 64), (7_647_632_704, 4, 32), (1_000_000, 3, 64))


def _bytes(value: object) -> str:
    function = a_function(value, "weight_bytes")
    for count, bits, group in CASES:
        call, right = f"weight_bytes({count}, {bits}, {group})", weight_bytes(count, bits, group)
        answer = number(returned(function(count, bits, group)), call)
        if abs(answer - right) <= 1e-4 * right:
            continue
        ratio = answer / right

        def off_by(factor: float, ratio: float = ratio) -> bool:
            return abs(ratio - factor) <= 1e-4 * factor

        if off_by(bits / (bits + 32 / group)):
            why = _("The scales are missing: each group has a scale and a bias, 16 bits each.")
        elif off_by((bits + 16 / group) / (bits + 32 / group)):
            why = _("Each group has two numbers of 16 bits: a scale and a bias. You counted one.")
        elif off_by(8):
            why = _("These are bits. A byte has eight.")
        elif off_by(1e-9) or off_by(1 / 2**30):
            why = _("This is in GB. Return bytes.")
        else:
            why = _(
                "A weight takes `bits` bits and its part of the 32 bits that its group shares. Then make bytes of it."
            )
        raise TryAgain(_("{call} returned {answer:,.0f}. {why}").format(call=call, answer=answer, why=why))
    size = weight_bytes(*CASES[0]) / 1e9
    return _("Right. Phi-3.5-MoE at 4 bits: {size:.1f} GB; the published files have 23.57.").format(size=size)


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


def _hits(value: object) -> str:
    function = a_function(value, "hit_rate")
    for requests, room in REQUESTS:
        call, right = f"hit_rate({list(requests)}, {room})", hit_rate(requests, room)
        answer = number(returned(function(list(requests), room)), call)
        if abs(answer - right) < 1e-6:
            continue
        if abs(answer - (1 - right)) < 1e-6:
            why = _("This is the share of misses.")
        elif abs(answer - right * len(requests)) < 1e-6:
            why = _("These are the hits. Divide by the number of requests.")
        elif abs(answer - hit_rate(requests, room, touch=False)) < 1e-6:
            why = _(
                "The one that came first left. The one that was not used for longest must leave: a hit counts as use."
            )
        elif abs(answer - hit_rate(requests, room + 1)) < 1e-6:
            why = _("There is room for {room}. You kept one more.").format(room=room)
        elif room > 1 and abs(answer - hit_rate(requests, room - 1)) < 1e-6:
            why = _("There is room for {room}. You kept one fewer.").format(room=room)
        elif abs(answer - hit_rate(requests, len(requests))) < 1e-6:
            why = _("Nothing ever leaves. When there is no room, one has to.")
        else:
            why = _("Go through the requests. In memory: a hit, and just used. If not: load it, and the oldest leaves.")
        raise TryAgain(_("{call} returned {answer:g}. {why}").format(call=call, answer=answer, why=why))
    return _("Right for all {count} lists. With room for one, only a repeated request is a hit.").format(
        count=len(REQUESTS)
    )


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 03, in their order, with titles and hints in the learner's language."""
    # Long because it is a list, as long as the lab has exercises.
    return (
        Exercise(
            "3.1",
            _("Count the parameters from the shapes"),
            _parameters,
            (
                _(
                    "Two tables of vocab_size x hidden_size: one to read tokens, one to write them. All else "
                    "is in the layers."
                ),
                _(
                    "Attention: queries and output are hidden x hidden; keys and values hidden x (their "
                    "heads x head size)."
                ),
                _(
                    "An expert: 3 * hidden * intermediate. The router: hidden * num_local_experts. Times "
                    "num_hidden_layers."
                ),
            ),
        ),
        Exercise(
            "3.2",
            _("Route one token by hand"),
            _route,
            (
                _("Two rounds. In each: find the largest gate that is left, and those that come near it."),
                _(
                    "g is near the best b if (b - g) / max(|g|, b) <= 2 * jitter. The softmax runs over "
                    "the near ones only."
                ),
                _(
                    "weight = exp(b - b) / sum(exp(g - b) for the near ones). Then take the best away for "
                    "the second round."
                ),
            ),
        ),
        Exercise(
            "3.3",
            _("Count the places with two full weights"),
            _full,
            (
                _("A place is one token in one layer: two rows of the table, rank 1 and rank 2."),
                _('routing.groupby(["position", "layer"])["weight"] has the two weights of every place.'),
                _('return (routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean()'),
            ),
        ),
        Exercise(
            "3.4",
            _("Measure what an expert tells about the topic"),
            _information,
            (
                _(
                    "Divide the table by its sum. The sums of its rows and of its columns are the two "
                    "single distributions."
                ),
                _("H(p) = -sum(p * log(p)), over the p above 0. You need it three times: rows, columns, all cells."),
                _("information = H(rows) + H(columns) - H(cells); return 2 * information / (H(rows) + H(columns))."),
            ),
        ),
        Exercise(
            "3.5",
            _("Compute the bytes of quantized weights"),
            _bytes,
            (
                _("A weight takes `bits` bits. A group of weights shares a scale and a bias of 16 bits each."),
                _("That is 32 / group more bits for each weight."),
                _("return parameters * (bits + 32 / group) / 8"),
            ),
        ),
        Exercise(
            "3.6",
            _("Simulate a cache of experts"),
            _hits,
            (
                _("Keep a list of the experts in memory, the one used last at its end."),
                _(
                    "A hit: count it and move that expert to the end. A miss: put it at the end; if too many, "
                    "drop the first."
                ),
                _("kept.remove(e); kept.append(e) moves it. kept.pop(0) drops the first. Return hits / len(requests)."),
            ),
        ),
    )
