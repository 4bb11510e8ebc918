"""The reference: what a run records, what a change does, how weights are unpacked, and what is refused."""

from __future__ import annotations

import shutil
import time
from collections import Counter

import numpy as np
import pytest

from labs_helper.catalog import course_folder
from labs_helper.errors import BadRequest, CheckpointRefused, LabError, NotEnoughMemory
from labs_helper.reference import Change, generate, pick, read, weights
from labs_helper.reference.shape import shape_of

CHECKPOINTS = course_folder() / "data" / "checkpoints"
IDS = list(range(300, 320))


@pytest.fixture(scope="module")
def dense():
    return read(CHECKPOINTS / "instruct-tiny")


@pytest.fixture(scope="module")
def mixed():
    return read(CHECKPOINTS / "moe-tiny")


# --- what a run records -------------------------------------------------------------------------------------


def test_a_record_has_what_a_learner_asks_for(dense):
    run = dense.run(IDS, record=True)
    layers, heads, width = dense.shape.layers, dense.shape.heads, dense.shape.width
    assert run.attention.shape == (layers, heads, 20, 20) and run.residual.shape == (layers + 1, 20, width)
    assert np.allclose(run.attention.sum(axis=-1), 1, atol=1e-5)
    assert np.triu(run.attention, k=1).max() == 0  # nobody looks ahead
    assert np.array_equal(run.residual[0], dense.weights["model.embed_tokens.weight"][IDS])
    assert np.allclose(dense.scores(run.residual[-1]), run.logits)


def test_a_record_of_a_mixture_holds_the_routers(mixed):
    run = mixed.run(IDS, record=True)
    assert run.gates.shape == (4, 20, 16) and run.experts.shape == run.weights.shape == (4, 20, 2)
    gate = mixed.weights["model.layers.1.block_sparse_moe.gate.weight"]
    assert np.allclose(run.router_inputs[1] @ gate.T, run.gates[1], atol=1e-4)
    assert (run.experts[..., 0] == run.gates.argmax(-1)).all()


def test_a_run_without_record_keeps_nothing(dense):
    assert dense.run(IDS).attention is None and dense.run(IDS).residual is None


def test_attention_of_200_tokens_takes_less_than_two_seconds_of_the_processor(dense):
    dense.run(IDS)
    start = time.process_time()
    dense.run([300 + n % 200 for n in range(200)], record=True)
    assert time.process_time() - start < 2


def test_it_decodes_60_tokens_in_a_second_of_the_processor(dense):
    next(generate(dense, IDS, 2))
    start = time.process_time()
    assert len(list(generate(dense, IDS, 60))) == 60
    assert time.process_time() - start < 1


# --- changes ------------------------------------------------------------------------------------------------


def test_a_head_that_is_off_adds_nothing(dense):
    """The same as its columns of the output matrix set to zero, which is computed another way."""
    without = dense.run(IDS, change=Change(heads=[(1, 4)])).logits
    name = "model.layers.1.self_attn.o_proj.weight"
    kept = dense.weights[name]
    dense.weights[name] = kept.copy()
    dense.weights[name][:, 4 * 32 : 5 * 32] = 0
    try:
        cut = dense.run(IDS).logits
    finally:
        dense.weights[name] = kept
    assert np.allclose(without, cut, atol=1e-4) and not np.allclose(without, dense.run(IDS).logits, atol=0.1)


def test_a_layer_that_is_off_passes_on_what_it_gets(dense):
    gone = dense.run(IDS, change=Change(layers=range(4)))
    assert np.allclose(gone.logits, dense.scores(dense.weights["model.embed_tokens.weight"][IDS]))


def test_without_a_layer_steps_still_equal_one_pass(dense):
    change = Change(layers=[1])
    answer = list(generate(dense, IDS, 5, change=change))
    whole = dense.run([*IDS, *answer[:-1]], total=25, change=change).logits
    assert whole[len(IDS) - 1 :].argmax(-1).tolist() == answer
    with pytest.raises(BadRequest, match="no attention to record"):
        dense.run(IDS, record=True, change=change)


def test_an_expert_that_is_off_is_not_chosen(mixed):
    usual = mixed.run(IDS, record=True)
    best = int(Counter(usual.experts[2].ravel().tolist()).most_common(1)[0][0])
    assert not (mixed.run(IDS, record=True, change=Change(experts=[(2, best)])).experts[2] == best).any()


def test_what_is_put_in_counts_from_there_on(dense):
    """With the whole residual stream of another run put in at a stage, the rest is that other run."""
    other = dense.run(IDS[::-1], record=True)
    for stage in (0, 2, 4):
        change = Change(put={(stage, place): other.residual[stage, place] for place in range(20)})
        assert np.allclose(dense.run(IDS, change=change).logits, other.logits, atol=1e-3)


def test_a_change_holds_for_the_answer_too(dense):
    last = len(IDS) + 1
    vector = np.full(dense.shape.width, 3.0, np.float32)
    plain = list(generate(dense, IDS, 6))
    assert list(generate(dense, IDS, 6, change=Change(put={(4, last): vector}))) != plain


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(heads=[(4, 0)]), "no layer 4"),
        (Change(heads=[(0, 8)]), "no head 8"),
        (Change(heads=[(0, -1)]), "no head -1"),
        (Change(layers=[7]), "no layer 7"),
        (Change(experts=[(0, 0)]), "no experts"),
        (Change(put={(5, 0): np.zeros(256)}), "no stage 5"),
        (Change(put={(0, 0): np.zeros(3)}), "shape"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(dense, change, words):
    with pytest.raises(BadRequest, match=words):
        dense.run(IDS, change=change)


def test_experts_out_of_range_or_too_few_are_refused(mixed):
    with pytest.raises(BadRequest, match="no expert 16"):
        mixed.run(IDS, change=Change(experts=[(0, 16)]))
    with pytest.raises(BadRequest, match="too few experts"):
        mixed.run(IDS, change=Change(experts=[(1, n) for n in range(15)]))


# --- picking ------------------------------------------------------------------------------------------------


def test_greedy_takes_the_best_and_top_p_the_nucleus():
    logits = np.log(np.array([0.1, 0.6, 0.25, 0.05]))
    assert pick(logits) == 1
    chance = np.random.default_rng(0)
    drawn = Counter(pick(logits, 1.0, 0.8, chance) for _draw in range(2000))
    assert set(drawn) == {1, 2} and abs(drawn[1] / 2000 - 0.6 / 0.85) < 0.04
    spread = Counter(pick(logits, 1.0, 1.0, chance) for _draw in range(2000))
    assert set(spread) == {0, 1, 2, 3}


def test_a_seed_repeats_an_answer(dense):
    once, again, other = (list(generate(dense, IDS, 12, temperature=2.0, seed=seed)) for seed in (1, 1, 2))
    assert once == again != other


# --- weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_are_unpacked_as_mlx_does_it(bits):
    import mlx.core as mx

    from labs_helper.engines.worker import WORKER

    def packed():
        matrix = mx.sin(mx.arange(8 * 64, dtype=mx.float32)).reshape(8, 64)
        parts = mx.quantize(matrix, group_size=32, bits=bits)
        return [np.array(part) for part in parts], np.array(mx.dequantize(*parts, group_size=32, bits=bits))

    (words, scales, biases), theirs = WORKER.call(packed)
    assert np.allclose(weights.unpack(words, scales, biases, bits), theirs, atol=1e-6)


# --- refusals -----------------------------------------------------------------------------------------------


def test_bad_prompts_are_refused(dense):
    for ids, words in (([], "no tokens"), ([2560], "tokens 0 to 2559"), ([-1], "tokens 0 to"), ([3] * 1025, "context")):
        with pytest.raises(BadRequest, match=words):
            dense.run(ids)


def test_a_checkpoint_of_two_bits_is_refused(tmp_path):
    folder = _copied(tmp_path, '"bits": 4', '"bits": 2')
    with pytest.raises(CheckpointRefused, match="2 bits"):
        read(folder)


def test_a_checkpoint_that_is_too_large_says_what_it_would_cost(monkeypatch):
    monkeypatch.setattr(weights, "MOST_WEIGHTS", 1_000_000)
    with pytest.raises(NotEnoughMemory, match=r"3,9\d\d,\d\d\d weights.*15\.\d MB"):
        weights.read_weights(CHECKPOINTS / "instruct-tiny", read(CHECKPOINTS / "instruct-tiny").config)


def test_a_gguf_file_is_refused(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(64))
    with pytest.raises(LabError):
        read(tmp_path)


def test_a_model_on_a_server_or_with_an_adapter_is_refused():
    from types import SimpleNamespace

    with pytest.raises(BadRequest, match="on a server"):
        read(SimpleNamespace(path=None, name="far", adapter=""))
    with pytest.raises(BadRequest, match="adapter"):
        read(SimpleNamespace(path=CHECKPOINTS / "instruct-tiny", name="near", adapter="taught"))


def test_a_folder_that_is_written_again_is_read_again(tmp_path):
    folder = _copied(tmp_path)
    first = read(folder)
    assert read(folder) is first
    file = folder / "model.safetensors"
    import os

    os.utime(file, ns=(1, 1))
    assert read(folder) is not first


def test_a_model_that_turns_a_part_of_its_heads_is_refused(dense):
    with pytest.raises(CheckpointRefused, match="part of each head"):
        shape_of({**dense.config, "partial_rotary_factor": 0.5})


def _copied(folder, old="", new=""):
    shutil.copytree(CHECKPOINTS / "instruct-tiny", folder / "copied")
    config = folder / "copied" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace(old, new) if old else config.read_text("utf-8"))
    return folder / "copied"
