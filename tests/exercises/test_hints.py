"""The next hint comes when a person asks for it, and never because a notebook runs again from top to bottom."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labs_helper.common.markup import escape
from labs_helper.exercises import all_exercises, check, hint, hints, order

# A lab, cell by cell: its ids and what they hold.
LAB = {
    "a": "import math",
    "b": "answer = [1]",
    "c": 'check("1.2", answer)',
    "d": 'hint("1.2")',
    "e": "1 + 1",
    "f": 'check("1.7", 3)',
}


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
    order.load_ipython_extension(found)  # as each kernel of the environment does
    yield found
    found.history_manager.end_session()


def run(shell, cells=None, **edited):
    """Run cells by id, all by default, some of them edited; the number of the hint that was shown last."""
    held = {**LAB, **edited}
    shown = None
    for cell in cells or LAB:
        result = shell.run_cell(held[cell], store_history=True, cell_id=cell)
        assert result.success
        shown = result.result.step if cell == "d" else shown
    return shown


def test_run_all_brings_no_hint(shell):
    assert [run(shell) for _again in range(4)] == [1, 1, 1, 1]


def test_a_new_answer_brings_one_hint(shell):
    run(shell)
    assert [run(shell, b="answer = [2]") for _again in range(3)] == [2, 2, 2]
    assert run(shell, "bcfd", b="answer = [3]") == 3


def test_a_new_answer_that_was_not_tried_brings_none(shell):
    run(shell)
    assert run(shell, "bd", b="answer = [2]") == 1


def test_an_edit_without_a_try_counts_once_it_is_tried(shell):
    run(shell)
    assert run(shell, "bcd", b="answer = [2]") == 2


def test_the_same_answer_from_a_model_that_draws_is_no_new_try(shell):
    drawn = "import random; answer = [random.random()]"
    assert [run(shell, b=drawn) for _again in range(3)] == [1, 1, 1]


def test_a_person_who_runs_the_cell_again_gets_the_next(shell):
    assert run(shell, "abcd") == 1
    steps = len(all_exercises()["1.2"].hints)
    assert [run(shell, "d") for _again in range(steps)] == [*range(2, steps + 1), steps]


def test_an_editor_that_names_no_cells_goes_on_by_the_second_run_alone(shell):
    def without(*cells):
        return [shell.run_cell(LAB[cell], store_history=True).result for cell in cells][-1].step

    assert [without(*"abcd"), without(*"fabcd"), without("d")] == [1, 1, 2]


def test_stubs_are_no_tries(shell):
    assert [run(shell, b="answer = ..."), run(shell, b="answer = ...  # hm")] == [1, 1]


def test_earlier_hints_stay_within_reach(shell):
    texts = all_exercises()["1.2"].hints
    run(shell, "abcd")
    shown = shell.run_cell(LAB["d"], store_history=True, cell_id="d").result
    assert (shown.step, shown.earlier) == (2, texts[:1])
    assert texts[0] in str(shown) and texts[1] in str(shown)
    # In a fold, and the new one outside of it.
    page = shown._repr_html_()
    assert page.index(escape(texts[1])) < page.index("<details") < page.index(escape(texts[0]))


def test_without_a_notebook_each_call_is_a_persons():
    steps = len(all_exercises()["1.2"].hints)
    assert [hint("1.2").step for _call in range(steps + 1)] == [*range(1, steps + 1), steps]
