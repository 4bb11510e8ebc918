"""The stored results of exercises: made from the solutions, and what a lab goes on with until one is solved."""

from __future__ import annotations

import importlib
import math

import pytest

from labs_helper.exercises import solved, stored
from references import LABS, solution, texts


@pytest.mark.parametrize(("path", "text"), texts().items(), ids=lambda value: getattr(value, "stem", ""))
def test_the_files_are_what_the_solutions_give(path, text):
    assert path.read_text("utf-8") == text, "run `python -m references`"


def every_reference():
    return [one for lab in LABS for one in importlib.import_module(f"references.lab{lab}").references()]


@pytest.mark.parametrize("reference", every_reference(), ids=lambda reference: reference.number)
def test_the_cases_tell_each_mistake_from_the_right_answer(reference):
    """A mistake that gives the right result in every case would pass; two that always agree share a sentence."""
    cases = reference.stored()["cases"]
    for name in reference.mistakes:
        assert name == "norms and biases" or any(case["mistakes"][name] != case["right"] for case in cases), name


def weight_bytes(parameters, bits, group):
    return parameters / 8 * bits + parameters / group * 4


def test_a_lab_goes_on_with_the_learners_function_once_it_passes(capsys):
    assert solved("3.5", weight_bytes) is weight_bytes
    assert "your function is used" in capsys.readouterr().out


@pytest.mark.parametrize("unsolved", [..., None, 5, lambda *a: ..., lambda *a: 1 / 0, lambda p, b, g: p * b / 8])
def test_until_then_stored_results_stand_in(unsolved, capsys):
    look_up = solved("3.5", unsolved)
    assert "stored results are used" in capsys.readouterr().out
    assert look_up(2097152, 8, 64) == 2228224 and math.isnan(look_up(1, 2, 3))


def test_where_nothing_is_stored_nan_or_a_function_of_the_course_stands_in(capsys):
    assert math.isnan(solved("3.6", ...)([1, 2], 1))
    assert "nan" in capsys.readouterr().out
    assert solved("3.2", ..., otherwise=len) is len
    assert "a function of the course" in capsys.readouterr().out


def test_solved_notes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "data"))
    solved("3.5", weight_bytes)
    assert not (tmp_path / "data").exists()


def test_a_solution_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="no solution cell of lab 03 defines nothing_like_this"):
        solution("03", "nothing_like_this")


def test_a_digest_tells_texts_apart_and_holds_none():
    assert stored.digest("a") != stored.digest("a ") and stored.digest("a") == stored.digest(b"a")
    assert len(stored.digest("a" * 1000)) == 32
