"""What every check does: a stub is not yet, nothing raises, nonsense never passes. Each lab has a file of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from marked_language import mark_sentences
from mistakes import forgets_return, prints

from labs_helper import catalog, exercises
from labs_helper.exercises import all_exercises, check, facts, hint, hints
from labs_helper.exercises.base import is_unfilled

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def stop_tokens(monkeypatch):
    """Fixed stop ids, so the checks are tested without a checkpoint on disk."""
    monkeypatch.setattr(facts, "stop_ids", lambda name: frozenset({1, 4}))
    monkeypatch.setattr(facts, "special_id", lambda name, token: {"<|end|>": 4, "<|endoftext|>": 1}[token])
    hints.forget()


@pytest.mark.parametrize("number", list(all_exercises()))
@pytest.mark.parametrize("value", [..., None, "", "...", [], {}, [...], (..., ...), {"English": ...}])
def test_a_stub_is_not_yet(number, value):
    assert check(number, value).status == "not yet"


@pytest.mark.parametrize("number", list(all_exercises()))
def test_what_print_returns_is_told(number):
    """`answer = print(3)` is None, and dots are nowhere to be seen."""
    result = check(number, None)
    assert result.status == "not yet" and "print shows a value" in result.message and "dots" not in result.message


def wants_a_function(number):
    """Whether a check says that it was given a value in place of a function."""
    message = check(number, 42).message
    return "without brackets" in message or "function itself" in message


@pytest.mark.parametrize(("mistake", "words"), [(forgets_return, "return in front"), (prints, "in place of print")])
def test_a_missing_return_is_named_in_every_exercise_that_asks_for_a_function(mistake, words):
    functions = list(filter(wants_a_function, all_exercises()))
    assert len(functions) > 20
    results = {number: check(number, mistake) for number in functions}
    assert not {number: result for number, result in results.items() if words not in result.message}
    assert {result.status for result in results.values()} == {"try again"}


def test_a_function_that_is_a_stub_is_not_yet():
    assert check("1.6", lambda prompt_tokens, max_tokens, original: ...).status == "not yet"


class Hostile:
    """Everything a check could try to do with it fails."""

    def _fail(self, *args, **kwargs):
        raise RuntimeError("no")

    __float__ = __len__ = __iter__ = __eq__ = __repr__ = __str__ = __call__ = _fail
    __hash__ = None


@pytest.mark.parametrize("number", list(all_exercises()))
@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        1e308,
        float("nan"),
        True,
        "x" * 1000,
        b"x",
        object(),
        Hostile(),
        [Hostile()],
        {"a": Hostile()},
        print,
        lambda *a: 1 / 0,
        [[]],
        [["a", "b", 1]],
        numpy.zeros((2, 2)),
        iter([1, 2]),
        10**400,
        ({}, 1),
        "<script>",
    ],
)
def test_never_raises_and_never_passes_nonsense(number, value):
    result = check(number, value)
    assert result.status in ("try again", "not yet")
    assert result.message
    assert str(result) and "<script>" not in result._repr_html_()


@pytest.mark.parametrize("number", ["9.9", "", None, "<b>", "11.1", "../1.1", "x" * 10_000, float("nan")])
def test_an_unknown_exercise_lists_the_labs_that_have_some(number):
    result = check(number, 1)
    assert result.status == "try again"
    assert len(result.message) < 300 and len(result.number) <= 40
    assert "00, 01, 02, 03, 04, 05, 06, 07" in result.message
    assert "00, 01, 02, 03, 04, 05, 06, 07" in str(hint(number))
    assert "<b>" not in result._repr_html_()


@pytest.mark.parametrize("number", ["1.99", "1.", 1.1j, "01.3", 1, "1", "01"])
def test_an_unknown_exercise_of_a_lab_lists_those_of_the_lab(number):
    listed = "1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9."
    assert check(number, 1).message.endswith(listed)
    assert str(hint(number)).endswith(listed)


def test_one_check_imports_one_lab_and_no_board(tmp_path):
    """What a learner waits for: the module of the lab, and the board's client only after somebody has joined."""
    code = (
        "import json, sys\n"
        "from labs_helper.exercises import check, hint\n"
        "assert check('1.3', [0.878621, 0.118908, 0.002178, 0.000295]).passed\n"
        "hint('1.3'), check('1.99', 1), check('9.9', 1), hint('')\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('labs_helper.')]))"
    )
    environment = {**os.environ, "LABS_PROGRESS": "on", "LABS_DATA_DIR": str(tmp_path)}
    environment.pop("LABS_BOARD", None)

    def imported():
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return json.loads(done.stdout)

    alone = imported()
    assert [name for name in alone if name.startswith("labs_helper.exercises.lab")] == ["labs_helper.exercises.lab01"]
    assert not [name for name in alone if name.split(".")[1] in ("board", "models", "engines", "agent", "widgets")]
    assert (tmp_path / "progress.sqlite").exists()

    (tmp_path / "board.json").write_text('{"left": true}')
    assert "labs_helper.board.client" in imported()


def test_the_registry_says_which_labs_have_exercises():
    folder = Path(exercises.__file__).parent
    assert {f"lab{lab.number}" for lab in catalog.labs() if lab.exercises} == {
        path.stem for path in folder.glob("lab[0-9][0-9].py")
    }


def test_words_are_looked_up_when_they_are_shown(monkeypatch):
    """The language may change after the labs are imported, so nothing that a learner reads is fixed at import."""
    all_exercises()
    mark_sentences(monkeypatch)
    for exercise in all_exercises().values():
        assert all(words[0] + words[-1] == "«»" for words in (exercise.title, *exercise.hints)), exercise
        assert check(exercise.number, ...).message.startswith("«")
        assert check(exercise.number, 17).message.startswith("«"), exercise.number
        assert "«TRY AGAIN»" in check(exercise.number, 17)._repr_html_()
    assert check("1.7", (1, 40, 20, "no better than guessing")).message.startswith("««Other codes: 1")


def test_numbers_work_as_floats_too():
    assert check(1.7, (1, 40, 20, "no better than guessing")).passed


def test_hints_unlock_one_by_one_and_the_last_stays():
    steps = all_exercises()["1.3"].hints
    seen = [hint("1.3") for _ in range(len(steps) + 1)]
    assert [h.message for h in seen] == [*steps, steps[-1]]
    assert [h.step for h in seen] == [1, 2, 3, 3]
    assert "last hint" in str(seen[-1])
    assert "<|" not in hint("1.1")._repr_html_().replace("&lt;|", "")


@pytest.mark.parametrize("exercise", all_exercises().values(), ids=lambda exercise: exercise.number)
def test_every_exercise_is_complete(exercise):
    assert len(exercise.hints) >= 2
    assert exercise.title
    assert not exercise.title.endswith(".")


def test_labs_are_listed_in_order():
    assert list(all_exercises("01")) == [f"1.{n}" for n in range(1, 10)]
    assert list(all_exercises("0")) == ["0.1"]
    assert list(all_exercises("2")) == [f"2.{n}" for n in range(1, 10)]
    assert list(all_exercises("03")) == [f"3.{n}" for n in range(1, 7)]
    assert list(all_exercises("04")) == [f"4.{n}" for n in range(1, 10)]
    assert list(all_exercises("05")) == [f"5.{n}" for n in range(1, 9)]
    assert list(all_exercises("06")) == [f"6.{n}" for n in range(1, 11)]
    assert list(all_exercises("07")) == [f"7.{n}" for n in range(1, 5)]
    assert list(all_exercises("08")) == [f"8.{n}" for n in range(1, 12)]
    labs = ("00", "1", "2", "3", "4", "5", "6", "7", "8")
    assert set(all_exercises()) == {number for lab in labs for number in all_exercises(lab)}
    assert all_exercises("9") == all_exercises("x") == {}


@pytest.mark.parametrize("value", [1, "a", [1], {"a": 1}, 0, False, {1}])
def test_a_filled_value_is_not_a_stub(value):
    assert not is_unfilled(value)
