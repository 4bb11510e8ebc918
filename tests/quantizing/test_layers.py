"""Layers: one rounded at a time, nothing left behind, and bits spent where they are worth most."""

from __future__ import annotations

import pytest

from labs_helper.errors import BadRequest
from labs_helper.quantizing import compare, read, rounded, sensitivity, spend


def test_each_layer_is_rounded_alone(model, talks):
    full = rounded(model, 16)
    hurts = sensitivity(model, talks[:2], bits=2)
    assert [hurt.layer for hurt in hurts] == list(full.sizes)
    assert {hurt.layer: hurt.weights for hurt in hurts} == full.sizes
    before = read(full, talks[:2])
    for layer in ("lm_head", "model.layers.0.mlp.down_proj"):
        alone = rounded(model, 16, layers={layer: 2})
        (hurt,) = [hurt for hurt in hurts if hurt.layer == layer]
        assert compare(before, read(alone, talks[:2])).divergence.value == pytest.approx(
            hurt.divergence.value, rel=1e-3
        )


def test_it_refuses_what_mlx_cannot_round(model, talks):
    with pytest.raises(BadRequest):
        sensitivity(model, talks, bits=7)


def test_bits_are_spent_where_they_are_worth_most():
    gains, weights = {"a": 6.0, "b": 5.0, "c": 4.0, "d": 0.0}, {"a": 100, "b": 10, "c": 10, "d": 1}
    assert spend(gains, weights, extra=20) == ("b", "c")
    assert spend(gains, weights, extra=110) == ("b", "c")  # what is left does not hold the large one
    assert spend(gains, weights, extra=120) == ("b", "c", "a")
    assert spend(gains, weights, extra=0) == ()
    assert spend(gains, weights, extra=110, worst=True) == ("a", "c")


def test_a_layer_without_a_size_is_refused():
    with pytest.raises(BadRequest, match="'b'"):
        spend({"a": 1.0, "b": 1.0}, {"a": 1}, extra=5)
