"""Our engine computes what transformers computes for phimoe. Made by make_moe_reference.py, which says how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ways import in_chunks, plain

from labs_helper.corrections import longrope
from labs_helper.engines.experts import Watch
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER

HERE = Path(__file__).resolve().parent
REFERENCE = np.load(HERE / "reference_moe.npz")
ORIGINAL = int(REFERENCE["original"])
LENGTHS = [int(length) for length in REFERENCE["lengths"]]
BEYOND = [length for length in LENGTHS if length > ORIGINAL]


@pytest.fixture(scope="module")
def engine():
    engine = MLXText(HERE / "checkpoint-moe")
    yield engine
    WORKER.call(engine.close)


def difference(ours, name: str) -> float:
    """Largest distance between our logits and the reference."""
    theirs = REFERENCE[name]
    return float(np.abs(ours[-len(theirs) :] - theirs).max())


@pytest.mark.parametrize("length", LENGTHS)
def test_the_engine_equals_transformers_below_and_at_the_original_length_and_the_corrected_one_beyond(engine, length):
    ours = WORKER.call(engine.logits, REFERENCE["ids"][:length].tolist())
    assert difference(ours, f"logits_{length}") <= 1e-3


@pytest.mark.parametrize("length", BEYOND)
def test_transformers_as_it_is_uses_the_wrong_table_beyond_the_original_length(engine, length):
    ours = WORKER.call(engine.logits, REFERENCE["ids"][:length].tolist())
    assert difference(ours, f"uncorrected_{length}") > 0.1


@pytest.mark.parametrize("length", [length for length in LENGTHS if length <= ORIGINAL])
def test_the_routers_choose_the_experts_that_transformers_chooses(engine, length):
    def choose():
        engine.load()
        watch = Watch(engine.config)
        with watch:
            engine.logits(REFERENCE["ids"][:length].tolist())
        return watch.routing().experts

    assert (WORKER.call(choose) == REFERENCE[f"experts_{length}"]).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_plain_mlx_lm_is_wrong_up_to_the_original_length(length):
    """The bug that corrections/longrope.py repairs, in phimoe. If this fails below, mlx-lm is right now."""

    wrong = difference(plain(HERE / "checkpoint-moe", REFERENCE["ids"][:length]), f"logits_{length}")
    if length <= ORIGINAL:
        assert wrong > 0.5
    else:
        assert wrong <= 1e-3


@pytest.mark.parametrize("chunk", [7, 64])
def test_a_prefill_in_chunks_and_steps_equals_one_pass(engine, chunk):
    length = max(LENGTHS)
    assert difference(in_chunks(engine, REFERENCE["ids"][:length], chunk), f"logits_{length}") <= 1e-3


def test_phi_mini_moe_s_config_without_longrope_takes_no_table():
    assert longrope.table_for({"rope_scaling": None, "max_position_embeddings": 4096}, 5000) is None
