"""`python -m benchmarks serve`: medians over the rounds, and the ratio that the project promises."""

from __future__ import annotations

import sys

import pytest

from benchmarks import bench_serve
from labs_helper.serving import Reply, Run


def run(clients: int, tokens: int, seconds: float, problem: str = "") -> Run:
    whole = Reply("?", "!", 0.0, 0.0, 0.1, seconds, tokens, 7, 0, 1, 0, "")
    lost = Reply("?", "", 0.0, 0.0, float("nan"), seconds, 0, 7, 0, 1, 0, "cut")
    return Run(clients, (whole, lost) if problem else (whole,), seconds)


RUNS = {1: [run(1, 100, 1.0), run(1, 300, 1.0), run(1, 110, 1.0)], 20: [run(20, 440, 1.0, "cut")] * 3}


def test_medians_over_the_rounds():
    few, many = bench_serve.summary(RUNS)
    assert (few["clients"], few["tokens_per_second"], few["first_ms"], few["lost"]) == (1, 110.0, 100.0, 0)
    assert many["lost"] == 3


def test_the_last_line_is_the_ratio(monkeypatch, capsys):
    monkeypatch.setattr(bench_serve, "measure", lambda clients, **options: RUNS)
    monkeypatch.setattr(sys, "argv", ["serve", "--clients", "20", "1"])
    bench_serve.main()
    assert capsys.readouterr().out.splitlines()[-1] == "20 clients over 1: 4.00 times the tokens"


@pytest.mark.slow
def test_it_measures_a_real_server():
    runs = bench_serve.measure((1, 8), rounds=1, answers=8)
    assert {count: len(several[0].whole) for count, several in runs.items()} == {1: 8, 8: 16}
