"""Watching routers and taking experts away: what is recorded is what happened, and nothing else changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from labs_helper.engines import experts
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, ModelNotHere
from labs_helper.models.load import load

QUESTION = "Where is Changsha? And how much is 47 + 38?"


def ids(answer):
    return [token.id for token in answer.tokens]


def sparsemixer(gates, jitter=0.01):
    """SparseMixer by hand for one token: [(expert, weight), (expert, weight)], in numpy."""
    gates, left, found = np.asarray(gates, dtype=float), np.asarray(gates, dtype=float).copy(), []
    for _ in range(2):
        best = int(left.argmax())
        near = (left[best] - gates) / np.maximum(np.abs(gates), left[best]) <= 2 * jitter
        share = np.where(near, np.exp(left - left[best]), 0)
        found.append((best, share[best] / share.sum()))
        left[best] = -np.inf
    return found


# -- recording -----------------------------------------------------------------------------------------------------


def test_recording_changes_no_token_and_no_probability(moe):
    for sampling in ({}, {"temperature": 0.9, "seed": 4}):
        plain = moe.ask(QUESTION, max_tokens=12, **sampling)
        seen = moe.ask(QUESTION, max_tokens=12, record_experts=True, **sampling)
        assert ids(seen) == ids(plain)
        assert [t.logprob for t in seen.tokens] == pytest.approx([t.logprob for t in plain.tokens], abs=1e-4)
        assert seen == seen and plain.recorded is None


def test_the_frame_has_a_row_for_every_token_layer_and_rank(moe):
    answer = moe.ask(QUESTION, max_tokens=7, record_experts=True)
    frame, total = answer.routing.frame(), answer.prompt_tokens + 7
    assert list(frame) == ["position", "token", "part", "layer", "expert", "rank", "weight", "gate"]
    assert len(frame) == total * 2 * 2 and frame["position"].nunique() == total
    assert set(frame["layer"]) == {0, 1} and set(frame["rank"]) == {1, 2}
    first = frame.query("layer == 0 and rank == 1")
    assert list(first["token"]) == [*answer.prompt.pieces, *(token.piece for token in answer.tokens)]
    assert list(first["part"]) == ["prompt"] * answer.prompt_tokens + ["answer"] * 7
    pairs = frame.pivot(index=["position", "layer"], columns="rank", values=["expert", "gate"])
    assert (pairs["expert"][1] != pairs["expert"][2]).all() and (pairs["gate"][1] >= pairs["gate"][2]).all()
    assert frame["weight"].between(0, 1).all() and (frame["weight"] > 0).all()
    assert answer.routing.gates.shape == (total, 2, 16)


def test_the_record_is_what_sparsemixer_makes_of_the_gates(moe):
    answer = moe.ask(QUESTION, max_tokens=7, record_experts=True)
    for (position, layer), rows in answer.routing.frame().groupby(["position", "layer"]):
        expected = sparsemixer(answer.routing.gates[position, layer])
        assert list(rows["expert"]) == [expert for expert, _ in expected]
        assert list(rows["weight"]) == pytest.approx([weight for _, weight in expected], abs=1e-5)
    sums = answer.routing.weights.sum(-1)
    assert (sums > 1.5).any(), "two experts that are far apart both count fully"


def test_the_record_equals_one_pass_over_all_tokens(moe, tiny_moe):
    answer = moe.ask(QUESTION, max_tokens=9, record_experts=True)
    everything = [*answer.prompt.ids, *ids(answer)]

    def once():
        watch = experts.Watch(moe.engine.config)
        with watch:
            moe.engine.logits(everything)
        return watch.routing()

    whole = WORKER.call(once)
    assert (whole.experts == answer.routing.experts).all() and len(whole) == len(answer.routing)
    assert np.abs(whole.gates - answer.routing.gates).max() < 1e-3


def test_a_prompt_in_many_chunks_is_recorded_whole(tiny_moe, monkeypatch):
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_CPU", 5)
    loaded = load(str(tiny_moe))
    answer = loaded.ask(QUESTION, max_tokens=3, record_experts=True)
    monkeypatch.undo()
    assert (loaded.ask(QUESTION, max_tokens=3, record_experts=True).routing.experts == answer.routing.experts).all()


def test_the_prompt_cache_is_left_aside_while_recording_and_used_again_afterwards(moe):
    moe.ask(QUESTION, max_tokens=4)
    recorded = moe.ask(QUESTION, max_tokens=4, record_experts=True)
    assert recorded.cached_tokens == 0 and len(recorded.routing) == recorded.prompt_tokens + 4
    assert moe.ask(QUESTION, max_tokens=4).cached_tokens == recorded.prompt_tokens - 1


def test_an_answer_that_was_not_recorded_says_so(moe):
    with pytest.raises(BadRequest, match="record_experts=True"):
        _ = moe.ask("Hi", max_tokens=2).routing


def test_a_stream_that_is_left_early_has_the_tokens_that_were_seen(moe):
    stream = moe.stream(QUESTION, max_tokens=200, record_experts=True)
    for count, _ in enumerate(stream, 1):
        if count == 3:
            break
    stream.close()
    last = moe.last
    assert last.finish_reason == "cancelled" and last.generated_tokens == 3
    assert last.routing.frame()["position"].nunique() == last.prompt_tokens + 3
    assert moe.ask("Hi", max_tokens=2).finish_reason == "length", "the model goes on as before"


def test_a_question_asked_between_two_tokens_is_neither_recorded_nor_ablated(moe):
    plain, inner = moe.ask("Hi", max_tokens=4), []

    def on_token(_token):
        if not inner:
            inner.append(moe.ask("Hi", max_tokens=4))

    without = [(layer, expert) for layer in (0, 1) for expert in range(8)]
    job = moe.submit(QUESTION, max_tokens=5, on_token=on_token, record_experts=True, without_experts=without)
    outer = job.wait(60)
    assert ids(inner[0]) == ids(plain) and inner[0].recorded is None
    assert len(outer.routing) == outer.prompt_tokens + 5 and outer.routing.experts.min() >= 8


def test_another_thread_is_not_watched(moe):
    from mlx_lm.models import phimoe

    def with_a_stranger():
        import mlx.core as mx

        watch, gates = experts.Watch(moe.engine.config), mx.array([[[1.0, 2.0] + [0.0] * 14]])
        with watch:
            thread = threading.Thread(target=lambda: phimoe.sparsemixer(gates, top_k=2, jitter_eps=0.01))
            thread.start()
            thread.join()
        return watch.routing()

    before = phimoe.sparsemixer
    assert WORKER.call(with_a_stranger) is None and phimoe.sparsemixer is before


def test_nothing_is_in_the_way_when_nothing_is_recorded(moe, monkeypatch):
    monkeypatch.setattr(experts.Watch, "__init__", lambda *_: pytest.fail("a watch was made"))
    assert moe.ask("Hi", max_tokens=2).generated_tokens == 2


def test_after_a_failure_the_router_is_the_package_s_own(moe):
    from mlx_lm.models import phimoe

    before = phimoe.sparsemixer
    with pytest.raises(ZeroDivisionError), experts.Watch({"num_hidden_layers": 2, "num_local_experts": 16}):
        assert phimoe.sparsemixer is not before
        raise ZeroDivisionError
    assert phimoe.sparsemixer is before


# -- taking experts away -------------------------------------------------------------------------------------------


def test_an_expert_that_is_taken_away_is_never_chosen_and_the_rest_is_routed_as_if_it_had_never_been(moe):
    plain = moe.ask(QUESTION, max_tokens=10, record_experts=True)
    favourite = int(plain.routing.frame().query("layer == 1 and rank == 1")["expert"].mode()[0])
    other = moe.ask(QUESTION, max_tokens=10, record_experts=True, without_experts=[(1, favourite)])
    assert favourite not in set(other.routing.frame().query("layer == 1")["expert"])
    assert ids(other) != ids(plain) or other.tokens[0].logprob != plain.tokens[0].logprob
    rows = plain.prompt_tokens
    assert (other.routing.experts[:rows, 0] == plain.routing.experts[:rows, 0]).all(), "layer 0 saw no difference"
    assert np.abs(other.routing.gates[:rows, 1] - plain.routing.gates[:rows, 1]).max() < 1e-3
    for position in range(rows):
        gates = np.delete(other.routing.gates[position, 1], favourite)
        expected = [(e + (e >= favourite), weight) for e, weight in sparsemixer(gates)]
        assert list(other.routing.experts[position, 1]) == [e for e, _ in expected]
        assert list(other.routing.weights[position, 1]) == pytest.approx([w for _, w in expected], abs=1e-5)


def test_an_expert_nobody_chose_is_not_missed(moe):
    plain = moe.ask("Hi", max_tokens=3, record_experts=True)
    idle = sorted(set(range(16)) - set(plain.routing.experts[:, 0].ravel().tolist()))
    assert ids(moe.ask("Hi", max_tokens=3, without_experts=[(0, idle[0])])) == ids(plain)


def test_what_ablated_experts_made_is_not_kept_for_the_next_question(moe):
    fresh = moe.ask(QUESTION, max_tokens=6, record_experts=True)
    moe.ask(QUESTION, max_tokens=6, without_experts=[(0, expert) for expert in range(12)])
    after = moe.ask(QUESTION, max_tokens=6)
    assert after.cached_tokens == 0 and ids(after) == ids(fresh)


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ([(2, 0)], "There is no layer 2.*layers 0 to 1"),
        ([(0, 16)], "There is no expert 16.*experts 0 to 15"),
        ([(0, -1)], "an expert is -1"),
        ([("a", 1)], "a layer is 'a'"),
        ([(0, True)], "an expert is True"),
        ([(0, 1, 2)], "pairs of"),
        ([0, 1, 2], "pairs of"),
        (7, "pairs of"),
        ("abc", "pairs of"),
        ([(1, expert) for expert in range(15)], "layer 1 has too few left"),
    ],
)
def test_experts_that_are_not_there_are_refused(moe, without, words):
    with pytest.raises(BadRequest, match=words):
        moe.ask("Hi", max_tokens=2, without_experts=without)


def test_one_pair_alone_is_understood(moe):
    answer = moe.ask("Hi", max_tokens=2, without_experts=(0, 3), record_experts=True)
    assert 3 not in answer.routing.experts[:, 0]


def test_a_dense_model_refuses_at_once(model):
    for options in ({"record_experts": True}, {"without_experts": [(0, 1)]}):
        with pytest.raises(BadRequest, match="dense model"):
            model.ask("Hi", **options)
        with pytest.raises(BadRequest, match="dense model"):
            model.submit("Hi", **options)
        with pytest.raises(BadRequest, match="dense model"):
            model.stream("Hi", **options)
    assert not model.loaded


# -- the role ------------------------------------------------------------------------------------------------------


def test_the_role_without_its_folder_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    with pytest.raises(ModelNotHere, match="moe-tiny"):
        load("moe", tier="tiny")


def test_an_unquantized_phimoe_is_served(tmp_path):
    from tiny_checkpoint import make_tiny_moe_checkpoint

    engine = MLXText(make_tiny_moe_checkpoint(tmp_path / "fp32", quantized=False, layers=1))
    assert WORKER.call(engine.logits, [5, 6, 7]).shape[0] == 3
    WORKER.call(engine.close)
