"""The next hint comes when a person asks for it, and never because a notebook runs again from top to bottom."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labs_helper.common.markup import escape
from labs_helper.exercises import all_exercises, check, hint, hints

BEFORE, ANSWER, CHECK, HINT, AFTER = "import math", "answer = [1]", 'check("1.2", answer)', 'hint("1.2")', "1 + 1"
LAB = (BEFORE, ANSWER, CHECK, HINT, AFTER)


@pytest.fixture(autouse=True)
def fresh():
    hints.forget()
    yield
    hints.forget()


@pytest.fixture
def shell(monkeypatch):
    found = InteractiveShell()
    found.user_ns.update(check=check, hint=hint)
    monkeypatch.setattr("IPython.get_ipython", lambda: found)
    yield found
    found.history_manager.end_session()


def run(shell, *cells):
    """Run cells one after the other; the number of the hint that was shown last."""
    shown = None
    for cell in cells:
        result = shell.run_cell(cell, store_history=True)
        assert result.success
        shown = result.result.step if cell.startswith("hint") else shown
    return shown


def test_run_all_brings_no_hint(shell):
    assert [run(shell, *LAB) for _again in range(3)] == [1, 1, 1]


def test_a_new_answer_brings_one_hint(shell):
    run(shell, *LAB)
    assert [run(shell, BEFORE, "answer = [2]", CHECK, HINT, AFTER) for _again in range(3)] == [2, 2, 2]
    assert run(shell, "answer = [3]", CHECK, AFTER, HINT, AFTER) == 3


def test_a_new_answer_that_was_not_tried_brings_none(shell):
    run(shell, *LAB)
    assert run(shell, "answer = [2]", HINT, AFTER) == 1
    assert run(shell, "other = 3", HINT, AFTER) == 1


def test_the_same_answer_from_a_model_that_draws_is_no_new_try(shell):
    drawn = "import random; answer = [random.random()]"
    cells = (drawn, CHECK, HINT, AFTER)
    assert [run(shell, *cells), run(shell, *cells)] == [1, 1]


def test_a_person_who_runs_the_cell_again_gets_the_next(shell):
    assert run(shell, BEFORE, ANSWER, CHECK, HINT) == 1
    steps = len(all_exercises()["1.2"].hints)
    assert [run(shell, HINT) for _again in range(steps)] == [*range(2, steps + 1), steps]


def test_stubs_are_no_tries(shell):
    stub = (BEFORE, "answer = ...", CHECK, HINT, AFTER)
    assert [run(shell, *stub), run(shell, "answer = ...  # hm", CHECK, HINT, AFTER)] == [1, 1]


def test_earlier_hints_stay_within_reach(shell):
    texts = all_exercises()["1.2"].hints
    run(shell, BEFORE, ANSWER, CHECK, HINT)
    shown = shell.run_cell(HINT, store_history=True).result
    assert (shown.step, shown.earlier) == (2, texts[:1])
    assert texts[0] in str(shown) and texts[1] in str(shown)
    # In a fold, and the new one outside of it.
    page = shown._repr_html_()
    assert page.index(escape(texts[1])) < page.index("<details") < page.index(escape(texts[0]))


def test_without_a_notebook_each_call_is_a_persons():
    steps = len(all_exercises()["1.2"].hints)
    assert [hint("1.2").step for _call in range(steps + 1)] == [*range(1, steps + 1), steps]
