"""Products with packed weights: what is counted. How fast they are, only a machine can say."""

from __future__ import annotations

import pytest

from labs_helper.errors import BadRequest
from labs_helper.quantizing import products


def test_the_bytes_are_those_that_are_read():
    full, four = products((32, 4), width=256, group=64, times=1)
    scale = full.bytes // 256**2  # 4 bytes a number on a CPU, 2 on a GPU
    assert four.bytes == 256**2 // 2 + 2 * scale * 256**2 // 64
    assert full.seconds > 0 and full.gigabytes_per_second == full.bytes / full.seconds / 1e9
    assert "4 bits" in str(four)


def test_what_mlx_cannot_pack_is_refused():
    with pytest.raises(BadRequest):
        products((7,), width=256)
