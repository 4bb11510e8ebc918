"""The picture of a server under load."""

from __future__ import annotations

import pytest

from labs_helper.errors import BadRequest
from labs_helper.figures import load_curve

ROWS = [
    {"server": name, "clients": clients, "tokens_per_second": rate, "first": 0.03 * clients, "per_token": 0.005}
    for name, rates in (("expanded", (100, 250, 400)), ("packed", (80, 90, 100)))
    for clients, rate in zip((1, 4, 20), rates)
]


def test_the_takeaway_compares_many_with_few():
    figure = load_curve(reversed(ROWS))
    assert "expanded: 20 clients get 4.0 times the tokens of 1." in figure.takeaway
    assert "packed: 20 clients get 1.2 times the tokens of 1." in figure.takeaway
    assert figure.takeaway in figure.alt and "Three line charts" in figure.alt
    assert [line.split() for line in figure.text.splitlines() if line.startswith("expanded ")][-1] == [
        "expanded", "20", "400", "600", "5.0",
    ]  # fmt: skip


def test_a_server_that_gave_nothing_is_drawn_too():
    rows = [{**ROWS[0], "tokens_per_second": 0.0}, {**ROWS[1], "first": float("nan"), "per_token": float("nan")}]
    assert "0.0 times" in load_curve(rows).takeaway


def test_there_is_nothing_to_draw():
    with pytest.raises(BadRequest, match="nothing to draw"):
        load_curve([])
