"""Perplexity and divergence: against the engine's own scores, against lab 05's formula, and with honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing import compare, read, rounded
from labs_helper.tuning import talk
from labs_helper.tuning.examples import encode
from references import solution


def test_the_losses_are_those_of_the_engine(model, talks):
    reading = read(model, talks[:1])
    example = encode(model.engine, talks[0])
    logits = WORKER.call(model.engine.logits, example.ids).astype(np.float64)
    shares = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    expected = [-shares[place, token] for place, token in enumerate(example.ids[1:])]
    assert np.allclose(reading.losses, expected, atol=1e-4)
    assert reading.perplexity.value == pytest.approx(math.exp(np.mean(expected)), rel=1e-4)
    assert reading.in_answer.sum() == len(example.ids) - example.start


def test_what_is_read_beside_it_changes_nothing(model, talks):
    # The last one is longer than the original length, so it needs the other LongRoPE table.
    mixed = [*talks, talk("Where is Lima? " * 80, "Lima is a city in Peru.")]
    together, alone = read(model, mixed), read(model, talks[2:3])
    assert np.allclose(together.losses[together.conversation == 2], alone.losses, atol=1e-4)


def test_the_divergence_is_that_of_lab_05(model, talks):
    small = rounded(model, 3)
    first, second = read(model, talks), read(small, talks)
    expected = solution("05", "divergence")(first.shares, second.shares)
    assert compare(first, second).divergence.value == pytest.approx(expected, rel=1e-4)
    assert compare(first, first).divergence.value == 0 and compare(first, first).same == 1


def test_fewer_bits_are_farther_away(model, talks):
    before = read(model, talks)
    distances = [compare(before, read(rounded(model, bits), talks)) for bits in (8, 3, 2)]
    assert distances[0].divergence.value < distances[1].divergence.value < distances[2].divergence.value
    assert distances[0].same > distances[2].same


def test_intervals_hold_their_value_and_shrink_with_more_text(model, talks):
    few, many = read(model, talks), read(model, talks * 8)
    for reading in (few, many):
        told = reading.perplexity
        assert told.low <= told.value <= told.high
    wide, narrow = (told.high - told.low for told in (few.perplexity, many.perplexity))
    assert narrow < wide / 1.5


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    from labs_helper.quantizing.likelihood import _bootstrapped  # the formula itself, on data whose mean is known

    rng, covered = np.random.default_rng(1), 0
    for _trial in range(200):
        middles = rng.normal(2.0, 1.0, 60)
        values = (middles[:, None] + rng.normal(0, 1, (60, 5))).ravel()
        told = _bootstrapped(values, np.repeat(np.arange(60), 5))
        covered += told.low <= 2.0 <= told.high
    assert 0.89 <= covered / 200 <= 0.99


def test_different_texts_are_not_compared(model, talks):
    with pytest.raises(BadRequest, match="same text"):
        compare(read(model, talks), read(model, talks[:2]))
    with pytest.raises(BadRequest):
        read(model, [])
