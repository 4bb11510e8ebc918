"""Cells that run out of order: one line says what to do, and the error stays what it is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from labs_helper import catalog, check_setup
from labs_helper.exercises import order

ROOT = Path(__file__).resolve().parents[2]
FIRST = "Run the cells above first"
CELLS = [
    "%%time\nimport math as sums\nfrom labs_helper import load\nmodel, (other, *rest) = 1, (2, 3)",
    "def shorter(text):\n    inside = text\n    return [letter for letter in inside if model]",
    "with open('x') as file:\n    pass\nfor row in (later := [1]):\n    pass\nclass Kind:\n    attribute = 1",
    "print(model)",
    "print(afterwards)",
    "afterwards = 1",
]


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A shell in which the lab is open, as JupyterLab opens it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    path = tmp_path / f"{catalog.labs()[1].stem}.ipynb"
    nbformat.write(notebook, path)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    found = InteractiveShell()
    order.load_ipython_extension(found)
    yield found
    order.unload_ipython_extension(found)
    found.history_manager.end_session()


def said(shell, capsys, cell: str) -> str:
    """What a cell that fails shows."""
    result = shell.run_cell(cell, store_history=True)
    assert not result.success
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["sums", "load", "model", "other", "rest", "shorter", "file", "row", "later", "Kind"])
def test_a_name_that_a_cell_makes_is_told_and_the_error_stays(shell, capsys, name):
    shown = said(shell, capsys, f"({name})")  # in brackets: `load` alone is a magic
    assert "NameError" in shown and f"name '{name}' is not defined" in shown
    assert shown.rstrip().splitlines()[-1].startswith(FIRST) and f"`{name}`" in shown


@pytest.mark.parametrize(
    "cell",
    [
        "modle",  # misspelt
        "inside",  # of a function
        "letter",
        "attribute",
        "1 / 0",
        "raise NameError('model')",  # names no name
        "def f():\n    print(model)\n    model = 1\nf()",  # UnboundLocalError
        "import textwrap\nexec('model', {'__name__': 'a package'})",  # not of the notebook
        "model +",
    ],
)
def test_a_learners_own_errors_stay_as_they_are(shell, capsys, cell):
    assert FIRST not in said(shell, capsys, cell)


def test_a_name_that_only_a_cell_below_makes_is_no_matter_of_order(shell, capsys):
    assert FIRST in said(shell, capsys, "print(model)")
    assert FIRST not in said(shell, capsys, "print(afterwards)")


def test_a_cell_that_was_changed_and_not_saved_looks_at_all_cells(shell, capsys):
    assert FIRST in said(shell, capsys, "print(afterwards)  # not saved")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"cells": [{"cell_type": "code"}, 1]}'])
def test_a_notebook_that_cannot_be_read_says_nothing(shell, capsys, content, monkeypatch):
    path = Path(os.environ["JPY_SESSION_NAME"])
    path.write_text(content)
    assert FIRST not in said(shell, capsys, "model")


def test_a_notebook_of_somebody_else_is_left_alone(shell, capsys, monkeypatch, tmp_path):
    path = Path(os.environ["JPY_SESSION_NAME"])
    monkeypatch.setenv("JPY_SESSION_NAME", str(path.rename(tmp_path / "my-own.ipynb")))
    assert FIRST not in said(shell, capsys, "model")


def test_a_kernel_of_the_environment_says_it_in_the_first_cell_and_stops(tmp_path, monkeypatch):
    """The whole way: a kernel with the settings that pyproject.toml installs; nothing of the course was imported."""
    settings = tmp_path / "ipython"
    (settings / "profile_default").mkdir(parents=True)
    shutil.copy(ROOT / "labs_helper/exercises/order.json", settings / "profile_default/ipython_kernel_config.json")
    monkeypatch.setenv("IPYTHONDIR", str(settings))
    path = tmp_path / "01-instruct.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    nbformat.write(notebook, path)
    alone = nbformat.v4.new_notebook(cells=[notebook.cells[3], nbformat.v4.new_code_cell("print('went on')")])
    with pytest.raises(CellExecutionError, match="NameError"):
        NotebookClient(alone, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [output.output_type for output in alone.cells[0].outputs]
    assert kinds == ["error", "stream"] and alone.cells[0].outputs[1].text.startswith(FIRST)
    assert not alone.cells[1].outputs


def test_the_environment_loads_it():
    """What pyproject.toml puts where IPython looks: with an older installation, run `make setup` again."""
    config = json.loads((Path(sys.prefix) / "etc/ipython/ipython_kernel_config.json").read_text("utf-8"))
    assert config == {"IPKernelApp": {"extra_extensions": [order.__name__]}}


def test_check_setup_watches_too(shell, monkeypatch, capsys):
    order.unload_ipython_extension(shell)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.chdir(Path(catalog.course_folder()) / "notebooks")
    check_setup("01")
    assert FIRST in said(shell, capsys, "print(instruct)")
