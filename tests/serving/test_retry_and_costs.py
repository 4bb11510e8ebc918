"""When to ask again, and what tokens cost."""

from __future__ import annotations

import pytest

from labs_helper.errors import BadRequest
from labs_helper.serving import Backoff, Prices, bill


@pytest.mark.parametrize("status", [None, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    pauses = [Backoff()(attempts, status, False, None) for attempts in range(1, 9)]
    assert pauses[-1] is None
    for pause, longest in zip(pauses[:-1], (0.5, 1, 2, 4, 4, 4, 4)):
        assert 0.75 * longest <= pause <= longest


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_stays_wrong_is_not(status):
    assert Backoff(repeatable=True)(1, status, False, 1.0) is None


def test_an_answer_that_began_needs_a_word_of_the_caller():
    assert Backoff()(1, None, True, None) is None
    assert Backoff(repeatable=True)(1, None, True, None) > 0


def test_the_server_may_ask_for_more_time_and_not_for_less():
    assert Backoff()(1, 429, False, 20.0) == 20.0
    assert Backoff()(3, 429, False, 0.0) >= 1.5


def test_many_clients_do_not_come_back_at_the_same_moment():
    assert len({Backoff()(1, 503, False, None) for _turn in range(50)}) == 50


def test_a_bill():
    prices = Prices(prompt=0.5, answer=1.5, cached=0.05)
    assert bill(2_000_000, 500_000, prices).total == pytest.approx(1.75)
    cached = bill(2_000_000, 500_000, prices, cached_tokens=1_000_000)
    assert (cached.prompt, cached.cached, cached.answer) == pytest.approx((0.5, 0.05, 0.75))
    assert "1.3000" in str(cached)
    assert bill(10, 10, Prices(0, 0)).total == 0
    assert bill(10, 0, Prices(1e6, 0), cached_tokens=10).total == 10  # no price of its own: as any prompt


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": -1, "answer": 1},
        {"prompt": float("nan"), "answer": 1},
        {"prompt": 1, "answer": "2"},
        {"prompt": 1, "answer": ...},
        {"prompt": True, "answer": 1},
    ],
)
def test_prices_that_are_none(wrong):
    with pytest.raises(BadRequest, match="price"):
        Prices(**wrong)


@pytest.mark.parametrize("counts", [(-1, 0, 0), (0, -1, 0), (5, 0, 6)])
def test_counts_that_cannot_be(counts):
    read, written, cached = counts
    with pytest.raises(BadRequest):
        bill(read, written, Prices(1, 1), cached_tokens=cached)
