"""Distilling: scales learn, codes stay, and what comes out is nearer to the teacher."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing import compare, distil, levels, read, rounded
from labs_helper.quantizing.copies import layers_of
from labs_helper.tuning import talk

MORE = [talk(f"What is {a} + {b}?", str(a + b)) for a in range(11, 19) for b in (3, 5)]


def weight_of(model, name="model.layers.1.mlp.down_proj"):
    return WORKER.call(lambda: np.array(layers_of(model.engine.model)[name].weight))


@pytest.fixture(scope="module")
def small(model):
    return rounded(model, 2)


@pytest.fixture(scope="module")
def made(small, model, talks):
    return distil(small, model, [*talks, *MORE], steps=12, rate=2e-4, batch=10)


def test_it_comes_nearer_to_the_teacher(model, small, made, talks):
    texts = [*talks, *MORE]
    before, plain, after = (read(each, texts) for each in (model, small, made.model))
    assert compare(before, after).divergence.value < 0.9 * compare(before, plain).divergence.value
    assert len(made.losses) == 12 and "scales and biases" in str(made)


def test_it_is_as_large_as_before_and_the_codes_stay(small, made):
    assert made.model.bits_per_weight == small.bits_per_weight
    assert made.learned == 2 * sum(small.sizes.values()) // 32
    first, second = weight_of(small), weight_of(made.model)
    assert levels(second) <= 4 and not np.array_equal(first, second)
    for row in range(0, 256, 51):  # where two weights of a group were equal, they still are
        a, b = (each[row].reshape(-1, 32) for each in (first, second))
        same = a[:, :1] == a
        assert (
            np.array_equal(same, np.isclose(b[:, :1], b, atol=1e-7)) or np.isclose(b[:, :1], b, atol=1e-7)[same].all()
        )


def test_the_one_that_it_began_with_is_as_it_was(model, small, made):
    assert np.array_equal(weight_of(small), weight_of(rounded(model, 2)))


def test_released_and_asked_again_it_still_knows(made, talks):
    first = read(made.model, talks).perplexity.value
    made.model.release()
    assert read(made.model, talks).perplexity.value == pytest.approx(first)


@pytest.mark.parametrize(("bits", "how"), [(16, {}), (2, {"steps": 0}), (2, {"rate": -1}), (2, {"batch": 0})])
def test_what_cannot_learn_is_refused(model, talks, bits, how):
    with pytest.raises(BadRequest):
        distil(rounded(model, bits), model, talks, **how)


def test_lengths_that_need_two_tables_are_refused(model, small, talks):
    with pytest.raises(BadRequest, match="different LongRoPE tables"):
        distil(small, model, [*talks, talk("Where is Lima? " * 80, "In Peru.")], steps=1)


def test_stopping_keeps_what_was_learned(model, small, talks):
    """Interrupting the kernel ends the job; here the job is stopped as `distil` would."""
    steps = []

    def stop(number, loss):
        steps.append(number)
        if number == 2:
            WORKER._running.stop()  # the job itself, as the interrupt would

    assert len(distil(small, model, talks, steps=50, on_step=stop).losses) == 2
