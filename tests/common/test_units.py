"""Numbers as people read them."""

from __future__ import annotations

import pytest

from labs_helper.common.units import size


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "unknown"), (12, "12 bytes"), (2_150_000_000, "2.15 GB"), (4_200_000, "4.2 MB"), (1500, "1.5 kB")],
)
def test_sizes_in_words(count, text):
    assert size(count) == text
