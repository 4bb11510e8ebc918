"""True and False are ints to Python; to a person who asks for a count they are a mistake."""

from __future__ import annotations

import pytest

from labs_helper.common.numbers import is_real, is_whole


@pytest.mark.parametrize(
    ("value", "whole", "real"),
    [
        (2, True, True),
        (-(10**400), True, True),
        (2.0, False, True),
        (float("nan"), False, True),
        (True, False, False),
        (False, False, False),
        ("2", False, False),
        (None, False, False),
        (2j, False, False),
    ],
)
def test_what_counts_as_a_number(value, whole, real):
    assert (is_whole(value), is_real(value)) == (whole, real)
