"""The reference in NumPy computes what MLX and transformers compute; `python -m tests.parity.reference` prints it."""

from __future__ import annotations

import numpy as np
import pytest
from parity import reference as parity

from labs_helper import load
from labs_helper.engines.worker import WORKER
from labs_helper.reference import generate, read
from labs_helper.reference.model import Cache


@pytest.mark.parametrize("role", ["instruct", "moe"])
def test_text_models_equal_mlx_below_at_and_above_the_original_length(role):
    rows = list(parity.to_mlx(role))
    assert [row.table for row in rows] == ["short", "short", "long"]
    assert all(row.distance <= parity.LIMIT < row.largest for row in rows), rows


def test_a_picture_and_a_text_of_the_vision_model_equal_mlx():
    rows = list(parity.picture_to_mlx(room=(128, 2048)))
    assert [row.table for row in rows] == ["short", "long", "short"]
    assert all(row.distance <= parity.LIMIT < row.largest for row in rows), rows


def test_small_random_models_equal_transformers():
    rows = list(parity.to_transformers())
    assert {row.model for row in rows} == {"phi3", "phimoe"} and {row.table for row in rows} == {"short", "long"}
    assert all(row.distance <= parity.LIMIT < row.largest for row in rows), rows


def test_the_table_matters_so_that_parity_could_fail():
    """The same tokens with the other table are far away: a reference with one table only would not pass."""
    reference = read(load("instruct", tier="tiny"))
    ids = list(range(100, 140))
    long = reference.run(ids, total=reference.shape.positions.original + 1).logits
    assert np.abs(reference.run(ids).logits - long).max() > 100 * parity.LIMIT


@pytest.mark.parametrize("question", ["长沙在哪里?", "What is 47 + 38?", "¿Dónde está Lima?"])
def test_greedy_answers_equal_mlx_token_for_token(question):
    model = load("instruct", tier="tiny")
    answer = model.ask(question, max_tokens=40)
    reference = read(model)
    ours = list(generate(reference, answer.prompt.ids, 40, stop=model.engine.stop_ids))
    assert ours == [token.id for token in answer.tokens]
    WORKER.call(model.engine.close)


@pytest.mark.parametrize("role", ["instruct", "moe"])
def test_steps_over_a_cache_equal_one_pass(role):
    reference = read(load(role, tier="tiny"))
    ids = np.random.default_rng(2).integers(3, 2000, 30).tolist()
    cache = Cache()
    parts = [reference.run(ids[a:b], cache=cache, total=30).logits for a, b in ((0, 11), (11, 12), (12, 30))]
    assert np.abs(np.concatenate(parts) - reference.run(ids).logits).max() < 1e-3
