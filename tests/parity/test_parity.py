"""Our engine computes what transformers computes. Arrays and checkpoint are made by make_reference.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ways import in_chunks, plain

from labs_helper.corrections import longrope
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER

HERE = Path(__file__).resolve().parent
REFERENCE = np.load(HERE / "reference.npz")
ORIGINAL = int(REFERENCE["original"])
LENGTHS = [int(length) for length in REFERENCE["lengths"]]


@pytest.fixture(scope="module")
def engine():
    engine = MLXText(HERE / "checkpoint")
    yield engine
    WORKER.call(engine.close)


def difference(ours, length: int) -> float:
    """Largest distance between our logits and the reference."""
    theirs = REFERENCE[f"logits_{length}"]
    return float(np.abs(ours[-len(theirs) :] - theirs).max())


def test_the_lengths_are_below_at_just_above_and_far_above_the_original():
    assert min(LENGTHS) < ORIGINAL and ORIGINAL in LENGTHS and ORIGINAL + 1 in LENGTHS
    assert max(LENGTHS) > 2 * ORIGINAL


@pytest.mark.parametrize("length", LENGTHS)
def test_the_engine_equals_transformers(engine, length):
    ours = WORKER.call(engine.logits, REFERENCE["ids"][:length].tolist())
    assert difference(ours, length) <= 1e-3


@pytest.mark.parametrize("length", LENGTHS)
def test_plain_mlx_lm_is_wrong_up_to_the_original_length(length):
    """The bug that corrections/longrope.py repairs. If this fails below, mlx-lm is right now: remove the file."""

    wrong = difference(plain(HERE / "checkpoint", REFERENCE["ids"][:length]), length)
    if length <= ORIGINAL:
        assert wrong > 1.0  # the logits themselves are of this size
    else:
        assert wrong <= 1e-3


def test_the_probe_sees_that_the_installed_mlx_lm_needs_the_correction():
    assert WORKER.call(longrope.upstream_is_right) is False


def test_the_table_belongs_to_the_whole_request(engine):
    """A short prompt whose answer may cross the original length gets the long table from the start."""
    ids = REFERENCE["ids"][:16].tolist()
    short = WORKER.call(engine.logits, ids)
    long = WORKER.call(lambda: engine.logits(ids, max_tokens=ORIGINAL))
    assert difference(short, 16) <= 1e-3 < difference(long, 16)


@pytest.mark.parametrize("chunk", [7, 64])
def test_a_prefill_in_chunks_and_steps_equals_one_pass(engine, chunk):
    """The way of a real request: prompt in chunks, then token by token, across the original length."""
    length = max(LENGTHS)
    assert difference(in_chunks(engine, REFERENCE["ids"][:length], chunk), length) <= 1e-3
