"""The exercises of lab 03: what is right passes, what is wrong is told what went wrong."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from mistakes import forgets_return, prints

from labs_helper.exercises import check, facts, stored

# --- Right answers, each written in another way than the notebook's solution ----------------------------------------


def counted(shape, experts, *, tables=2, matrices=3, attention=True, keys=None, routers=1, layers=None):
    """Parameters, matrix by matrix, as transformers' PhimoeForCausalLM has them. Options leave something out."""
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    head = hidden // shape["num_attention_heads"]
    key = (hidden, keys(shape) if keys else head * shape["num_key_value_heads"])
    layer = [*routers * [(hidden, shape["num_local_experts"])], *experts * matrices * [(hidden, wide)]]
    if attention:
        layer += [(hidden, hidden), key, key, (hidden, hidden)]
    depth = layers or shape["num_hidden_layers"]
    whole = [*tables * [(shape["vocab_size"], hidden)], *depth * layer]
    return sum(rows * columns for rows, columns in whole)


def with_biases_and_norms(shape, experts):
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    small = shape["vocab_size"] + 2 * hidden + layers * (2 * hidden + 2 * keys + 4 * hidden)
    return counted(shape, experts) + small


def without(**options):
    return lambda shape, experts: counted(shape, experts, **options)


def softmax(values):
    values = np.exp(values - np.max(values))
    return values / values.sum()


def two_best(gates):
    return [int(e) for e in np.argsort(gates)[::-1][:2]]


def sparse_mixer(gates, jitter=0.01, *, scale=np.maximum, first_stays=False):
    """Two rounds over arrays; an expert that is taken has a gate of minus infinity in the second."""
    left, pairs, gates = np.array(gates), [], np.array(gates)
    for _round in range(2):
        best = left.argmax()
        near = (left[best] - gates) / scale(np.abs(gates), left[best]) <= 2 * jitter
        part = np.where(near, np.exp((gates if first_stays else left) - left[best]), 0)
        pairs.append((int(best), float(part[best] / part.sum())))
        left[best] = -np.inf
    return pairs


def needs_jitter(gates, jitter):
    return sparse_mixer(gates, jitter)


def both_full(routing):
    return (routing.pivot(index=["position", "layer"], columns="rank")["weight"] > 0.99).all(axis=1).mean()


def counted_one_by_one(routing):
    full = [weights.min() > 0.99 for _place, weights in routing.groupby(["layer", "position"])["weight"]]
    return sum(full) / len(full)


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


def last_used(requests, room):
    """A request is a hit if fewer than `room` others were asked for since its expert was."""
    hits = 0
    for i, wanted in enumerate(requests):
        before = [j for j in range(i) if requests[j] == wanted]
        hits += bool(before) and len(set(requests[before[-1] + 1 : i])) < room
    return hits / len(requests)


def changing(requests, room):
    """Takes the list apart that it was given."""
    rate = hit_rate(requests, room)
    requests.clear()
    return rate


RIGHT = [
    ("3.1", counted),
    ("3.1", with_biases_and_norms),
    ("3.1", lambda shape, experts: float(counted(shape, experts))),
    ("3.1", lambda shape, experts: np.int64(counted(shape, experts))),
    ("3.2", sparse_mixer),
    ("3.2", lambda gates: np.array(sparse_mixer(gates))),
    ("3.2", lambda gates: dict(sparse_mixer(gates))),
    ("3.2", needs_jitter),
    ("3.2", lambda gates: sparse_mixer(gates, scale=lambda gate, best: np.maximum(gate, abs(best)))),
    ("3.3", both_full),
    ("3.3", counted_one_by_one),
    ("3.3", lambda r: np.array([both_full(r)])),
    ("3.4", shared_information),
    ("3.4", lambda table: shared_information(table * 7)),
    ("3.4", lambda table: round(float(shared_information(table.T)), 6)),
    ("3.5", ((3, 6, "ja"), (0, 10, "numbers"))),
    ("3.5", [[3, 12, "python"], [1, 4, "ko"]]),
    ("3.5", ((*np.array([3, 10]), "numbers"), (2.0, 9.0, "es"))),
    ("3.6", hit_rate),
    ("3.6", last_used),
    ("3.6", changing),
]  # fmt: skip


@pytest.mark.parametrize(("number", "value"), RIGHT)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


# --- Wrong answers -------------------------------------------------------------------------------------------------


def full(test):
    return lambda r: test(r.pivot(index=["position", "layer"], columns="rank")["weight"])


WRONG = [
    ("3.1", 41.9e9, "without brackets"),
    ("3.1", forgets_return, "return in front"),
    ("3.1", prints, "in place of print"),
    ("3.1", lambda shape: 1, "takes 2 arguments"),
    ("3.1", lambda shape, experts: counted(shape, experts) / 1e9, "billions"),
    ("3.1", lambda shape, experts: round(counted(shape, experts), -6), "rounded"),
    ("3.1", lambda shape, experts: counted(shape, 16), "expert"),
    ("3.1", lambda shape, experts: counted(shape, shape["num_local_experts"]), "two experts"),
    ("3.1", without(tables=1), "One table"),
    ("3.1", without(tables=0), "two tables"),
    ("3.1", without(matrices=2), "You counted two"),
    ("3.1", without(matrices=1), "You counted one"),
    ("3.1", without(attention=False), "attention is missing"),
    ("3.1", without(routers=0), "router is missing"),
    ("3.1", lambda shape, experts: counted(shape, experts, routers=experts), "one router"),
    ("3.1", without(keys=lambda s: s["num_key_value_heads"]), "size of a head"),
    ("3.1", without(keys=lambda s: s["hidden_size"]), "fewer heads"),
    ("3.1", without(layers=1), "one layer"),
    ("3.1", lambda shape, experts: 2 * counted(shape, experts), "twice"),
    ("3.1", lambda shape, experts: shape["hidden"], "KeyError"),
    ("3.2", [(1, 1.0)], "without brackets"),
    ("3.2", forgets_return, "return in front"),
    ("3.2", lambda gates: 3, "two pairs"),
    ("3.2", lambda gates: two_best(gates), "two pairs"),
    ("3.2", lambda gates: [(w, e) for e, w in sparse_mixer(gates)], "(weight, expert)"),
    ("3.2", lambda gates: sparse_mixer(gates)[::-1], "better one comes first"),
    ("3.2", lambda gates: [sparse_mixer(gates)[0]] * 2, "same expert twice"),
    ("3.2", lambda gates: [(e + 1, w) for e, w in sparse_mixer(gates)], "one too large"),
    ("3.2", lambda gates: list(enumerate(gates))[:2], "largest gate"),
    ("3.2", lambda gates: [(e, softmax(np.array(gates))[e]) for e in two_best(gates)], "over all experts"),
    ("3.2", lambda gates: list(zip(two_best(gates), softmax(np.array(gates)[two_best(gates)]))), "Mixtral"),
    ("3.2", lambda gates: sparse_mixer(gates, first_stays=True), "second round"),
    ("3.2", lambda gates: sparse_mixer(gates, 0.5), "Near means"),
    ("3.2", lambda gates: sparse_mixer(gates, 0.005), "took jitter"),
    ("3.2", lambda gates: sparse_mixer(gates, scale=lambda gate, best: abs(best)), "|best|"),
    ("3.2", lambda gates: sparse_mixer(gates, scale=lambda gate, best: 1), "must be divided"),
    ("3.3", 0.5, "without brackets"),
    ("3.3", forgets_return, "return in front"),
    ("3.3", lambda r: r["weight"] > 0.99, "number"),
    ("3.3", lambda r: both_full(r) * len(r) / 2, "how many"),
    ("3.3", lambda r: 100 * both_full(r), "per cent"),
    ("3.3", lambda r: 1 - both_full(r), "the rest"),
    ("3.3", lambda r: (r["weight"] > 0.99).mean(), "single weights"),
    ("3.3", full(lambda w: (w > 0.99).any(axis=1).mean()), "one of the two"),
    ("3.3", full(lambda w: (w.sum(axis=1) > 0.99).mean()), "0.5 and 0.5"),
    ("3.3", full(lambda w: (w.sum(axis=1) > 1.98).mean()), "their mean"),
    ("3.3", full(lambda w: (w.mean(axis=1) > 0.99).mean()), "their mean"),
    ("3.3", full(lambda w: (w[1] > 0.99).mean()), "first expert alone"),
    ("3.4", 0.5, "without brackets"),
    ("3.4", forgets_return, "return in front"),
    ("3.4", lambda table: information(table)[0], "information itself"),
    ("3.4", lambda table: information(table)[0] / np.log(2), "in bits"),
    ("3.4", lambda table: shared_information(table) / 2, "not by their sum"),
    ("3.4", lambda table: 1 - shared_information(table), "wrong way round"),
    ("3.4", no_log_of_zero, "Leave empty cells out"),
    ("3.4", lambda table: information(table)[0] / min(information(table)[1:]), "another way"),
    ("3.4", lambda table: information(table)[0] / max(information(table)[1:]), "another way"),
    ("3.4", lambda table: 100 * shared_information(table), "per cent"),
    ("3.4", lambda table: round(float(shared_information(table)), 2), "rounded"),
    ("3.4", lambda table: table / table.sum(), "number"),
    ("3.5", ((3.5, 6, "ja"), (0, 10, "numbers")), "whole numbers"),
    ("3.5", 3, "two triples"),
    ("3.5", "ja", "two triples"),
    ("3.5", ((3, 6, "ja"),), "I was given 1"),
    ("3.5", (3, 6, "ja"), "I was given 3"),
    ("3.5", ((3, 6), (0, 10, "numbers")), "seen must be (layer, expert, topic)"),
    ("3.5", ((6, 3, "ja"), (0, 10, "numbers")), "The layer comes first"),
    ("3.5", ((3, 6, "Japanese"), (0, 10, "numbers")), "no topic 'Japanese'. The topics are en, zh"),
    ("3.5", ((3, 6, "ko"), (0, 10, "numbers")), "may be luck"),
    ("3.5", ((3, 2, "zh"), (0, 10, "numbers")), "36 of 40 right instead of 40. This loss may be luck"),
    ("3.5", ((3, 6, "ja"), (3, 10, "numbers")), "That is a loss"),
    ("3.5", ((3, 6, "ja"), (3, 6, "ko")), "nothing could be lost"),
    ("3.5", ((3, 6, "ja"), (0, 1, "ko")), "from `favourites`"),
    ("3.6", 0.5, "without brackets"),
    ("3.6", forgets_return, "return in front"),
    ("3.6", lambda requests, room: 1 - hit_rate(requests, room), "misses"),
    ("3.6", lambda requests, room: hit_rate(requests, room) * len(requests), "Divide"),
    ("3.6", lambda requests, room: 100 * hit_rate(requests, room), "per cent"),
    ("3.6", lambda requests, room: hit_rate(requests, room, touch=False), "used for longest"),
    ("3.6", lambda requests, room: hit_rate(requests, room + 1), "one expert more"),
    ("3.6", lambda requests, room: hit_rate(requests, 99), "Nothing ever leaves"),
    ("3.6", lambda requests, room: hit_rate(requests, room - 1) if room > 1 else 0, "one expert fewer"),
    ("3.6", lambda requests, room: np.mean([e in requests[max(0, i - room) : i] for i, e in enumerate(requests)]),
     "repeated one"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "value", "words"), WRONG)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


# --- The stored results, against figures that were worked out by hand or published, and against other programs -------


def test_the_counts_are_the_published_ones():
    """41.9, 6.6 and 7.6 billion: the model cards."""
    look_up = stored.substitute("3.1")
    big, mini = facts.moe_shape("phi-3.5-moe-instruct-4bit"), facts.moe_shape("phi-mini-moe-instruct-bf16")
    counts = [look_up(big, 16), look_up(big, 2), look_up(mini, 16)]
    assert counts == [41_872_261_120, 6_640_107_520, 7_646_740_480]
    assert [round(count / 1e9, 1) for count in counts] == [41.9, 6.6, 7.6]
    assert look_up({**big, "rope_theta": 1}, 16) == counts[0] and math.isnan(look_up(big, 5))


@pytest.mark.parametrize(
    ("gates", "pairs"),
    [
        ([0.0, 3.0, 1.0, 2.0], [(1, 1.0), (3, 1.0)]),  # nothing is near
        ([2.0, 1.99, 1.0, 1.98], [(0, 0.336672), (1, 0.5025)]),  # 1 / (1 + e^-.01 + e^-.02), 1 / (1 + e^-.01)
        ([0.5, 0.2, 0.499, 0.1, 0.495, 0.2], [(0, 0.334000), (2, 0.501000)]),
    ],
)
def test_the_router(gates, pairs):
    (right,) = [case.right for case in stored.cases("3.2") if list(case.arguments) == [gates]]
    assert [expert for expert, _weight in right] == [expert for expert, _weight in pairs]
    assert [weight for _expert, weight in right] == pytest.approx([w for _e, w in pairs], abs=2e-6)


def test_the_hits_and_the_share_of_full_places():
    rates = {case.arguments: case.right for case in stored.cases("3.6")}
    assert rates["ABAB", 1] == 0 and rates["ABAB", 2] == 2 / 4 and rates["AABBAA", 1] == 3 / 6
    assert rates["ABCABC", 2] == 0 and rates["ABACABAD", 2] == 3 / 8
    assert [case.right for case in stored.cases("3.3")] == [3 / 6, 1 / 6, 1 / 4]


def test_the_router_is_mlx_lm_s():
    from labs_helper.engines.worker import WORKER

    cases = stored.cases("3.2")

    def theirs():
        from labs_helper.engines.mlx_text import import_mlx_lm

        import_mlx_lm()
        import mlx.core as mx
        from mlx_lm.models.phimoe import sparsemixer

        pairs = []
        for case in cases:
            chosen, weights = sparsemixer(mx.array([list(case.arguments)]), top_k=2, jitter_eps=0.01)
            pairs.append(list(zip(chosen[0, 0].tolist(), weights[0, 0].tolist())))
        return pairs

    for case, mlx in zip(cases, WORKER.call(theirs)):
        assert [e for e, _w in case.right] == [e for e, _w in mlx]
        assert [w for _e, w in case.right] == pytest.approx([w for _e, w in mlx], abs=1e-5)


def test_a_record_looks_like_a_real_one():
    from labs_helper.exercises.lab03 import record

    frame = record([[1.0, 0.5], [0.3, 0.2]])
    assert isinstance(frame, pd.DataFrame) and len(frame) == 4
    assert {"position", "layer", "rank", "expert", "weight", "token", "part", "gate"} == set(frame.columns)
