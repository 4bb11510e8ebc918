"""The checks of lab 03: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labs_helper import catalog
from labs_helper.exercises import check, lab03
from labs_helper.figures import mutual_information


def exact(shape, experts):
    """Every parameter, biases and norms too: still right."""
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    return lab03.parameters(shape, experts) + shape["vocab_size"] + 2 * hidden + layers * 8 * hidden


def without(part, share=1.0):
    def function(shape, experts):
        found = lab03.parts(shape)
        return lab03.parameters(shape, experts) - share * found[part] * (experts if part == "expert" else 1)

    return function


def plain_attention(shape, experts):
    return lab03.parameters({**shape, "num_key_value_heads": shape["num_attention_heads"]}, experts)


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
    (first, weight), (second, _) = lab03.route(gates)
    near = [g for g in gates if (gates[second] - g) / max(abs(g), gates[second]) <= 0.02]
    return [(first, weight), (second, math.exp(gates[second]) / sum(map(math.exp, near)))]


def in_numpy(gates, jitter=0.01):
    left, found, gates = np.array(gates), [], np.array(gates)
    for _ in range(2):
        best = left.argmax()
        near = (left[best] - gates) / np.maximum(np.abs(gates), left[best]) <= 2 * jitter
        part = np.where(near, np.exp(left - left[best]), 0)
        found.append((best, part[best] / part.sum()))
        left[best] = -np.inf
    return np.array(found)


def no_log_of_zero(table):
    table = table / table.sum()
    with np.errstate(all="ignore"):
        return -(table * np.log(table)).sum()


def by_list(requests, room):
    kept, hits = [], 0
    for wanted in requests:
        if wanted in kept:
            hits += 1
            kept.remove(wanted)
        kept.append(wanted)
        if len(kept) > room:
            kept.pop(0)
    return hits / len(requests)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("3.1", lab03.parameters),
        ("3.1", exact),
        ("3.2", lab03.route),
        ("3.2", in_numpy),
        ("3.3", lab03.share_of_full),
        ("3.3", lambda r: (r.pivot(index=["position", "layer"], columns="rank")["weight"] > 0.99).all(axis=1).mean()),
        ("3.4", mutual_information),
        ("3.5", lab03.weight_bytes),
        ("3.6", lab03.hit_rate),
        ("3.6", by_list),
    ],
)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("3.1", 41.9e9, "without brackets"),
        ("3.1", lambda shape, experts: lab03.parameters(shape, experts) / 1e9, "billions"),
        ("3.1", lambda shape, experts: lab03.parameters(shape, 16), "two experts"),
        ("3.1", without("tables", 0.5), "One table"),
        ("3.1", without("tables"), "two tables"),
        ("3.1", without("expert", 1 / 3), "You counted two"),
        ("3.1", without("expert", 2 / 3), "You counted one"),
        ("3.1", without("attention"), "attention is missing"),
        ("3.1", plain_attention, "fewer heads"),
        ("3.1", lambda shape, experts: 7, "Add up"),
        ("3.2", lambda gates: 3, "two pairs"),
        ("3.2", lambda gates: two_best(gates), "two pairs"),
        ("3.2", all_experts, "softmax over all"),
        ("3.2", mixtral, "Mixtral"),
        ("3.2", first_stays, "first expert must not"),
        ("3.2", lambda gates: lab03.route(gates)[::-1], "better one comes first"),
        ("3.2", lambda gates: [lab03.route(gates)[0]] * 2, "same expert twice"),
        ("3.2", lambda gates: [(0, 1.0), (1, 1.0)], "largest gate"),
        ("3.2", lambda gates: lab03.route(gates, 0.5), "Near means"),
        ("3.3", lambda r: lab03.share_of_full(r) * len(r) / 2, "how many"),
        ("3.3", lambda r: 100 * lab03.share_of_full(r), "per cent"),
        ("3.3", lambda r: (r["weight"] > 0.99).mean(), "single weights"),
        ("3.3", lambda r: (r.groupby(["position", "layer"])["weight"].max() > 0.99).mean(), "one of the two"),
        ("3.3", lambda r: (r.groupby(["position", "layer"])["weight"].sum() > 0.99).mean(), "their sum"),
        ("3.4", lambda table: lab03.information(table.tolist())[0], "information itself"),
        ("3.4", lambda table: mutual_information(table) / 2, "not by their sum"),
        ("3.4", lambda table: 1 - mutual_information(table), "wrong way round"),
        ("3.4", no_log_of_zero, "Leave empty cells out"),
        ("3.4", lambda table: lab03.information(table)[0] / min(lab03.information(table)[1:]), "another way"),
        ("3.5", lambda count, bits, group: count * bits / 8, "scales are missing"),
        ("3.5", lambda count, bits, group: count * (bits + 16 / group) / 8, "counted one"),
        ("3.5", lambda count, bits, group: count * (bits + 32 / group), "bits"),
        ("3.5", lambda count, bits, group: lab03.weight_bytes(count, bits, group) / 1e9, "in GB"),
        ("3.6", lambda requests, room: 1 - lab03.hit_rate(requests, room), "misses"),
        ("3.6", lambda requests, room: lab03.hit_rate(requests, room) * len(requests), "Divide"),
        ("3.6", lambda requests, room: lab03.hit_rate(requests, room, touch=False), "used for longest"),
        ("3.6", lambda requests, room: lab03.hit_rate(requests, room + 1), "one more"),
        ("3.6", lambda requests, room: lab03.hit_rate(requests, 99), "one more"),
        ("3.6", lambda requests, room: lab03.hit_rate(requests, max(1, room - 1)), "one fewer"),
    ],
)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


@pytest.mark.parametrize("number", [f"3.{n}" for n in range(1, 7)])
def test_a_stub_is_not_yet_there(number):
    def stub(*_):
        return ...

    assert check(number, stub).status == "not yet"
    assert check(number, ...).status == "not yet"


def test_the_counts_are_the_published_ones():
    assert round(lab03.parameters(lab03.PHI_35_MOE, 16) / 1e9, 1) == 41.9
    assert round(lab03.parameters(lab03.PHI_35_MOE, 2) / 1e9, 1) == 6.6
    names = {"phi-3.5-moe-instruct-4bit": lab03.PHI_35_MOE, "phi-mini-moe-instruct-bf16": lab03.PHI_MINI_MOE}
    for name, shape in names.items():
        config = catalog.find(name)[0].config
        assert {key: config[key] for key in shape} == shape


def test_the_hand_made_router_is_mlx_lm_s():
    from labs_helper.engines.worker import WORKER

    def theirs():
        from labs_helper.engines.mlx_text import import_mlx_lm

        import_mlx_lm()
        import mlx.core as mx
        from mlx_lm.models.phimoe import sparsemixer

        found = []
        for gates in lab03.GATES:
            chosen, weights = sparsemixer(mx.array([[gates]]), top_k=2, jitter_eps=lab03.JITTER)
            found.append(list(zip(chosen[0, 0].tolist(), weights[0, 0].tolist())))
        return found

    for ours, mlx in zip(map(lab03.route, lab03.GATES), WORKER.call(theirs)):
        assert [e for e, _ in ours] == [e for e, _ in mlx]
        assert [w for _, w in ours] == pytest.approx([w for _, w in mlx], abs=1e-5)
