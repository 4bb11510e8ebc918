"""The checks of lab 03: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from labs_helper.exercises import check, facts, lab03, moe_formulas


def counted(shape, experts, *, tables=2, matrices=3, attention=True, kv_heads=None):
    """Parameters, matrix by matrix, as transformers' PhimoeForCausalLM has them. Options leave something out."""
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    head = hidden // shape["num_attention_heads"]
    keys = (hidden, head * (kv_heads or shape["num_key_value_heads"]))
    layer = [(hidden, shape["num_local_experts"]), *experts * matrices * [(hidden, wide)]]
    if attention:
        layer += [(hidden, hidden), keys, keys, (hidden, hidden)]
    whole = [*tables * [(shape["vocab_size"], hidden)], *shape["num_hidden_layers"] * layer]
    return sum(rows * columns for rows, columns in whole)


def with_biases_and_norms(shape, experts):
    """Every parameter, the small ones too: still right."""
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    return counted(shape, experts) + shape["vocab_size"] + 2 * hidden + layers * 8 * hidden


def without(**options):
    return lambda shape, experts: counted(shape, experts, **options)


def plain_attention(shape, experts):
    return counted(shape, experts, kv_heads=shape["num_attention_heads"])


def softmax(values):
    values = np.exp(values - np.max(values))
    return values / values.sum()


def two_best(gates):
    return [int(e) for e in np.argsort(gates)[::-1][:2]]


def all_experts(gates):
    return [(e, softmax(np.array(gates))[e]) for e in two_best(gates)]


def mixtral(gates):
    return list(zip(two_best(gates), softmax(np.array(gates)[two_best(gates)])))


def first_stays(gates):
    """The first expert is still in the second softmax."""
    (first, weight), (second, _weight) = sparse_mixer(gates)
    near = [g for g in gates if (gates[second] - g) / max(abs(g), gates[second]) <= 0.02]
    return [(first, weight), (second, math.exp(gates[second]) / sum(map(math.exp, near)))]


def sparse_mixer(gates, jitter=0.01):
    """Two rounds over arrays; an expert that is taken has a gate of minus infinity in the second."""
    left, pairs, gates = np.array(gates), [], np.array(gates)
    for _round in range(2):
        best = left.argmax()
        near = (left[best] - gates) / np.maximum(np.abs(gates), left[best]) <= 2 * jitter
        part = np.where(near, np.exp(left - left[best]), 0)
        pairs.append((int(best), float(part[best] / part.sum())))
        left[best] = -np.inf
    return pairs


def both_full(routing):
    return (routing.pivot(index=["position", "layer"], columns="rank")["weight"] > 0.99).all(axis=1).mean()


def entropy(shares):
    shares = np.asarray(shares)[np.asarray(shares) > 0]
    return -(shares * np.log(shares)).sum()


def information(table):
    """(mutual information, entropy of the rows, entropy of the columns), as a divergence from independence."""
    cells = table / table.sum()
    rows, columns = cells.sum(axis=1), cells.sum(axis=0)
    some = cells > 0
    shared = (cells[some] * np.log(cells[some] / np.outer(rows, columns)[some])).sum()
    return shared, entropy(rows), entropy(columns)


def shared_information(table):
    shared, rows, columns = information(table)
    return 2 * shared / (rows + columns)


def quantized(count, bits, group):
    """The weights packed, and two numbers of two bytes for each group."""
    return count * bits / 8 + count / group * 2 * 2


def no_log_of_zero(table):
    table = table / table.sum()
    with np.errstate(all="ignore"):
        return -(table * np.log(table)).sum()


def hit_rate(requests, room, *, touch=True):
    kept, hits = [], 0
    for wanted in requests:
        if wanted in kept:
            hits += 1
            if touch:
                kept.remove(wanted)
                kept.append(wanted)
        else:
            kept = [*kept, wanted][-room:]
    return hits / len(requests)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("3.1", counted),
        ("3.1", with_biases_and_norms),
        ("3.2", sparse_mixer),
        ("3.2", lambda gates: np.array(sparse_mixer(gates))),
        ("3.3", both_full),
        ("3.4", shared_information),
        ("3.5", quantized),
        ("3.6", hit_rate),
    ],
)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("3.1", 41.9e9, "without brackets"),
        ("3.1", lambda shape, experts: counted(shape, experts) / 1e9, "billions"),
        ("3.1", lambda shape, experts: counted(shape, 16), "two experts"),
        ("3.1", without(tables=1), "One table"),
        ("3.1", without(tables=0), "two tables"),
        ("3.1", without(matrices=2), "You counted two"),
        ("3.1", without(matrices=1), "You counted one"),
        ("3.1", without(attention=False), "attention is missing"),
        ("3.1", plain_attention, "fewer heads"),
        ("3.1", lambda shape, experts: 7, "Add up"),
        ("3.2", lambda gates: 3, "two pairs"),
        ("3.2", lambda gates: two_best(gates), "two pairs"),
        ("3.2", all_experts, "softmax over all"),
        ("3.2", mixtral, "Mixtral"),
        ("3.2", first_stays, "first expert must not"),
        ("3.2", lambda gates: sparse_mixer(gates)[::-1], "better one comes first"),
        ("3.2", lambda gates: [sparse_mixer(gates)[0]] * 2, "same expert twice"),
        ("3.2", lambda gates: [(0, 1.0), (1, 1.0)], "largest gate"),
        ("3.2", lambda gates: sparse_mixer(gates, 0.5), "Near means"),
        ("3.3", lambda r: both_full(r) * len(r) / 2, "how many"),
        ("3.3", lambda r: 100 * both_full(r), "per cent"),
        ("3.3", lambda r: (r["weight"] > 0.99).mean(), "single weights"),
        ("3.3", lambda r: (r.groupby(["position", "layer"])["weight"].max() > 0.99).mean(), "one of the two"),
        ("3.3", lambda r: (r.groupby(["position", "layer"])["weight"].sum() > 0.99).mean(), "their sum"),
        ("3.4", lambda table: information(table)[0], "information itself"),
        ("3.4", lambda table: shared_information(table) / 2, "not by their sum"),
        ("3.4", lambda table: 1 - shared_information(table), "wrong way round"),
        ("3.4", no_log_of_zero, "Leave empty cells out"),
        ("3.4", lambda table: information(table)[0] / min(information(table)[1:]), "another way"),
        ("3.5", lambda count, bits, group: count * bits / 8, "scales are missing"),
        ("3.5", lambda count, bits, group: count * (bits + 16 / group) / 8, "counted one"),
        ("3.5", lambda count, bits, group: count * (bits + 32 / group), "bits"),
        ("3.5", lambda count, bits, group: quantized(count, bits, group) / 1e9, "in GB"),
        ("3.6", lambda requests, room: 1 - hit_rate(requests, room), "misses"),
        ("3.6", lambda requests, room: hit_rate(requests, room) * len(requests), "Divide"),
        ("3.6", lambda requests, room: hit_rate(requests, room, touch=False), "used for longest"),
        ("3.6", lambda requests, room: hit_rate(requests, room + 1), "one more"),
        ("3.6", lambda requests, room: hit_rate(requests, 99), "one more"),
        ("3.6", lambda requests, room: hit_rate(requests, max(1, room - 1)), "one fewer"),
    ],
)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


@pytest.mark.parametrize("number", [f"3.{n}" for n in range(1, 7)])
def test_a_stub_is_not_yet_there(number):
    def stub(*_args):
        return ...

    assert check(number, stub).status == "not yet"
    assert check(number, ...).status == "not yet"


# The formulas, which the notebook calls so that it runs without the learner's answers, against figures that were
# worked out by hand or published.


def test_the_counts_are_the_published_ones():
    """41.9, 6.6 and 7.6 billion: the model cards."""
    big, mini = facts.moe_shape("phi-3.5-moe-instruct-4bit"), facts.moe_shape("phi-mini-moe-instruct-bf16")
    counts = [
        moe_formulas.parameters(big, 16),
        moe_formulas.parameters(big, 2),
        moe_formulas.parameters(mini, 16),
    ]
    assert counts == [41_872_261_120, 6_640_107_520, 7_646_740_480]
    assert [round(count / 1e9, 1) for count in counts] == [41.9, 6.6, 7.6]


@pytest.mark.parametrize(
    ("gates", "pairs"),
    [
        ([0.0, 3.0, 1.0, 2.0], [(1, 1.0), (3, 1.0)]),  # nothing is near
        ([2.0, 1.99, 1.0, 1.98], [(0, 0.336672), (1, 0.5025)]),  # 1 / (1 + e^-.01 + e^-.02), 1 / (1 + e^-.01)
        ([0.5, 0.2, 0.499, 0.1, 0.495, 0.2], [(0, 0.334000), (2, 0.501000)]),
    ],
)
def test_the_router(gates, pairs):
    assert [expert for expert, _weight in moe_formulas.route(gates)] == [expert for expert, _weight in pairs]
    assert [weight for _expert, weight in moe_formulas.route(gates)] == pytest.approx([w for _e, w in pairs], abs=2e-6)


def test_the_bytes_and_the_hits():
    assert (
        moe_formulas.weight_bytes(64, 4, 64) == 32 + 4
    )  # one group: 64 half bytes, a scale and a bias of two bytes each
    assert moe_formulas.weight_bytes(1000, 8, 32) == 1000 + 125
    rates = {("ABAB", 1): 0, ("ABAB", 2): 2 / 4, ("AABBAA", 1): 3 / 6, ("ABCABC", 2): 0, ("ABACABAD", 2): 3 / 8}
    assert {case: moe_formulas.hit_rate(*case) for case in rates} == rates
    assert moe_formulas.hit_rate("ABACA", 2, touch=False) == 1 / 5 and moe_formulas.hit_rate("ABACA", 2) == 2 / 5


def test_the_share_of_full_places():
    frame = pd.DataFrame(
        [(0, 0, 1.0), (0, 0, 0.995), (0, 1, 1.0), (0, 1, 0.5), (1, 0, 0.5), (1, 0, 0.5), (1, 1, 0.999), (1, 1, 1.0)],
        columns=["position", "layer", "weight"],
    )
    assert moe_formulas.share_of_full(frame) == 2 / 4


def test_the_hand_made_router_is_mlx_lm_s():
    from labs_helper.engines.worker import WORKER

    def theirs():
        from labs_helper.engines.mlx_text import import_mlx_lm

        import_mlx_lm()
        import mlx.core as mx
        from mlx_lm.models.phimoe import sparsemixer

        pairs = []
        for gates in lab03.GATES:
            chosen, weights = sparsemixer(mx.array([[gates]]), top_k=2, jitter_eps=moe_formulas.JITTER)
            pairs.append(list(zip(chosen[0, 0].tolist(), weights[0, 0].tolist())))
        return pairs

    for ours, mlx in zip(map(moe_formulas.route, lab03.GATES), WORKER.call(theirs)):
        assert [e for e, _w in ours] == [e for e, _w in mlx]
        assert [w for _e, w in ours] == pytest.approx([w for _e, w in mlx], abs=1e-5)
