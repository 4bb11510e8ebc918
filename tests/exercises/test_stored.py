"""The stored results of exercises: made from the solutions, and what a lab goes on with until one is solved."""

from __future__ import annotations

import importlib
import math

import numpy
import pytest

from labs_helper.exercises import facts, solved, stored
from references import LABS, alike, solution, texts


@pytest.mark.parametrize(("path", "text"), texts().items(), ids=lambda value: getattr(value, "stem", ""))
def test_the_files_are_what_the_solutions_give(path, text):
    assert alike(path.read_text("utf-8"), text), "run `python -m references`"


def test_other_results_are_told_from_other_last_digits():
    """Since Python 3.12 `sum` gives other last digits than before."""
    text = '{"1.3": {"cases": [{"arguments": [], "right": [0.1, NaN, 2]}]}}'
    assert alike(text, text.replace("0.1", "0.10000000000000002"))
    for changed in ("0.1000001", "1", '"0.1"', "0.1, 0.1", "null"):
        assert not alike(text, text.replace("0.1", changed))


def every_reference():
    return [one for lab in LABS for one in importlib.import_module(f"references.lab{lab}").references()]


@pytest.mark.parametrize("reference", every_reference(), ids=lambda reference: reference.number)
def test_the_cases_tell_each_mistake_from_the_right_answer(reference):
    """A mistake that gives the right result in every case would pass; two that always agree share a sentence."""
    cases = reference.stored()["cases"]
    for name in reference.mistakes:
        assert name == "norms and biases" or any(case["mistakes"][name] != case["right"] for case in cases), name


BIG = facts.moe_shape("phi-3.5-moe-instruct-4bit")


def parameters(shape, experts):
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    layer = 2 * hidden * (hidden + keys) + hidden * (shape["num_local_experts"] + 3 * wide * experts)
    return 2 * shape["vocab_size"] * hidden + shape["num_hidden_layers"] * layer


def test_a_lab_goes_on_with_the_learners_function_once_it_passes(capsys):
    assert solved("3.1", parameters) is parameters
    assert "your function is used" in capsys.readouterr().out


@pytest.mark.parametrize("unsolved", [..., None, 5, lambda *a: ..., lambda *a: 1 / 0, lambda s, e: 3 * e])
def test_until_then_stored_results_stand_in(unsolved, capsys):
    look_up = solved("3.1", unsolved)
    assert "stored results are used" in capsys.readouterr().out
    assert look_up(BIG, 16) == look_up(BIG, numpy.int64(16)) == 41_872_261_120
    assert look_up({**BIG, "rope_theta": 10_000}, 16) == 41_872_261_120
    for unknown in ((BIG, 5), (BIG,), ({}, 16), (BIG, numpy.zeros(2)), (BIG, [16])):
        assert math.isnan(look_up(*unknown))


@pytest.mark.parametrize(
    "block", [[(256, 768), (256, 256), (256, 1024), (512, 256)], ([256, 768], [256, 256], [256, 1024], [512, 256])]
)
def test_stored_results_are_found_by_lists_too(block, capsys):
    look_up = solved("5.3", ...)
    assert "stored results are used" in capsys.readouterr().out
    assert look_up(block, 8) == 8 * sum(map(sum, block))
    for unknown in ((block, 4), (block[:3], 8), (block[::-1], 8), ([], 8), ([7, *block[1:]], 8), (7, 8)):
        assert math.isnan(look_up(*unknown))


def test_where_nothing_is_stored_nan_or_a_function_of_the_course_stands_in(capsys):
    assert math.isnan(solved("3.6", ...)([1, 2], 1))
    assert "nan" in capsys.readouterr().out
    assert solved("3.2", ..., otherwise=len) is len
    assert "a function of the course" in capsys.readouterr().out


def test_solved_notes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "data"))
    solved("3.1", parameters)
    assert not (tmp_path / "data").exists()


def test_a_solution_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="no solution cell of lab 03 defines nothing_like_this"):
        solution("03", "nothing_like_this")


def test_a_digest_tells_texts_apart_and_holds_none():
    assert stored.digest("a") != stored.digest("a ") and stored.digest("a") == stored.digest(b"a")
    assert len(stored.digest("a" * 1000)) == 32
