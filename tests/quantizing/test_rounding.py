"""Rounding in NumPy: the same numbers as MLX's, and what follows for errors and sizes."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing import bits_per_weight, error_table, levels, relative_error, round_groups

MATRIX = np.random.default_rng(3).normal(size=(48, 256)).astype(np.float32)


def by_mlx(weights, bits, group):
    import mlx.core as mx

    return np.array(mx.dequantize(*mx.quantize(mx.array(weights), group, bits), group_size=group, bits=bits))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_it_rounds_as_mlx_does(bits, group):
    theirs = WORKER.call(by_mlx, MATRIX, bits, group)
    ours = round_groups(MATRIX, bits, group).values
    # A weight half-way between two codes may fall to either side: the two compute in another order.
    apart = np.abs(ours - theirs) > 1e-5
    assert apart.mean() < 1e-3
    assert relative_error(theirs, ours) < 0.02


def test_every_group_has_few_codes_and_keeps_zero_and_its_far_end():
    weights = MATRIX.copy()
    weights[:, ::7] = 0
    made = round_groups(weights, bits=3, group=32)
    assert set(np.unique(made.codes)) <= set(range(8))
    assert np.abs(made.values[:, ::7]).max() < 1e-6
    groups = weights.reshape(48, 8, 32)
    far = np.abs(groups).argmax(axis=-1)
    kept = np.take_along_axis(made.values.reshape(groups.shape), far[..., None], -1)
    assert np.allclose(kept, np.take_along_axis(groups, far[..., None], -1), atol=1e-6)


@pytest.mark.parametrize("weights", [np.zeros((2, 32)), np.full((2, 32), 0.5), np.eye(32), -np.eye(32)])
def test_groups_without_spread_stay_as_they_are(weights):
    assert np.allclose(round_groups(weights, bits=4, group=32).values, weights, atol=1e-6)


def test_one_bit_more_halves_the_error_and_smaller_groups_make_it_smaller():
    errors = {row["bits"]: row["error"] for row in error_table(MATRIX, bits=(3, 4, 5, 6), groups=(32,))}
    assert all(1.7 < errors[bits] / errors[bits + 1] < 2.6 for bits in (3, 4, 5))
    by_group = [error_table(MATRIX, bits=(4,), groups=(group,))[0]["error"] for group in (16, 32, 64, None)]
    assert by_group == sorted(by_group)


def test_an_outlier_spoils_its_own_group_alone():
    spoiled = MATRIX.copy()
    spoiled[0, 0] = 100.0
    grouped, whole = (round_groups(spoiled, 4, group).values for group in (32, None))
    rest = np.s_[0, 32:]
    assert relative_error(MATRIX[rest], grouped[rest]) < 0.2 < 0.9 < relative_error(MATRIX[rest], whole[rest])


def test_what_a_weight_takes():
    assert bits_per_weight(4, 64) == 4.5
    assert bits_per_weight(4, 32, scale_bits=32) == 6
    assert bits_per_weight(3, 32) == bits_per_weight(3.5, 64) == 4


def test_the_table_leaves_out_groups_that_do_not_divide_the_row():
    rows = error_table(MATRIX[:, :96], bits=(4,), groups=(32, 64, None))
    assert [row["group"] for row in rows] == ["32", "row of 96"]


def test_weights_that_were_rounded_before_have_few_levels():
    assert levels(MATRIX) == 32
    assert levels(round_groups(MATRIX, 4).values) == 16
    assert levels(round_groups(MATRIX, 2).values) == 4


@pytest.mark.parametrize(("bits", "group"), [(0, 32), (9, 32), (4, 0), (4, 33), (4, 512)])
def test_what_cannot_be_rounded_is_refused(bits, group):
    with pytest.raises(BadRequest):
        round_groups(MATRIX, bits, group)
