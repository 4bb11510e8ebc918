"""GGUF's types: their sizes, their errors, and the file that is written in one of them."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper.errors import BadRequest
from labs_helper.quantizing import gguf_error, gguf_types, relative_error, round_groups, write_gguf

MATRIX = np.random.default_rng(5).normal(size=(64, 256)).astype(np.float32)


def test_the_sizes_are_those_of_the_format():
    rows = {row["type"]: row for row in gguf_types()}
    assert rows["Q8_0"]["bits per weight"] == 8.5 and rows["Q4_0"]["bits per weight"] == 4.5
    assert rows["Q4_K"]["bits per weight"] == 4.5 and rows["Q4_K"]["weights in a block"] == 256
    assert rows["F16"]["bits per weight"] == 16 and "fits" in rows["Q4_K"]["what it is"]


def test_more_bits_lose_less():
    errors = [gguf_error(MATRIX, kind) for kind in ("Q8_0", "Q5_1", "Q4_1", "Q4_0")]
    assert errors == sorted(errors) and errors[0] < 0.01 < errors[-1] < 0.15


def test_q4_1_is_nearly_mlx_at_four_bits():
    assert gguf_error(MATRIX, "Q4_1") == pytest.approx(relative_error(MATRIX, round_groups(MATRIX, 4).values), rel=0.15)


def test_what_the_package_cannot_make_is_refused(model, tmp_path):
    for kind in ("Q4_K", "nonsense"):
        with pytest.raises(BadRequest):
            gguf_error(MATRIX, kind)
    with pytest.raises(BadRequest, match="Q4_K"):
        write_gguf(model, tmp_path, "q4_k")
    with pytest.raises(BadRequest):
        gguf_error(MATRIX[:, :40], "Q4_0")


def test_other_architectures_are_refused(tmp_path):
    from labs_helper import load

    with pytest.raises(BadRequest, match="phi3"):
        write_gguf(load("moe", tier="tiny"), tmp_path, "q8_0")


def test_a_file_in_q4_0_is_as_small_as_it_says(model, tmp_path):
    whole, small = (write_gguf(model, tmp_path / kind, kind).stat().st_size for kind in ("f16", "Q4_0"))
    assert small < 0.36 * whole
