"""LABS_HOME is honoured everywhere: whatever belongs to the course comes from one folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from labs_helper import catalog
from labs_helper.catalog import course_folder, tables
from labs_helper.catalog.labs import notebooks
from labs_helper.exercises import facts
from labs_helper.figures import published
from labs_helper.store import places

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Another course folder, with one table of one row, one notebook and half a checkpoint."""
    home = tmp_path / "elsewhere"
    (home / "data" / "benchmarks").mkdir(parents=True)
    rows = (ROOT / "data" / "benchmarks" / "long_context.csv").read_text("utf-8").splitlines()
    (home / "data" / "benchmarks" / "long_context.csv").write_text("\n".join(rows[:2]), "utf-8")
    (home / "data" / "checkpoints" / "instruct-tiny").mkdir(parents=True)
    (home / "data" / "checkpoints" / "instruct-tiny" / "generation_config.json").write_text('{"eos_token_id": 4711}')
    (home / "notebooks" / "src").mkdir(parents=True)
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Elsewhere"}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (home / "notebooks" / "01-instruct.ipynb").write_text(json.dumps(notebook), "utf-8")
    monkeypatch.setenv("LABS_HOME", str(home))
    monkeypatch.delenv("LABS_MODELS_DIR", raising=False)
    return home


def test_everything_of_the_course_comes_from_there(elsewhere):
    assert course_folder() == elsewhere
    assert tables.names() == ["long_context"] == list(published.tables()) and len(tables.read("long_context")) == 1
    assert len(published.select("long_context")) == 1, "the chart and the check read one table"
    assert notebooks() == [elsewhere / "notebooks" / "01-instruct.ipynb"]
    assert catalog.find("instruct-tiny")[0].path == elsewhere / "data" / "checkpoints" / "instruct-tiny"
    assert facts.stop_ids("instruct-tiny") == {4711}
    assert places.models_folders()[0] == elsewhere / "models"
    assert places.destination(places.real_card("instruct")).parent == elsewhere / "models"


def test_no_module_looks_for_the_course_beside_itself():
    """`course_folder` alone may leave the package's folder; others use `__file__` for files that are in the package."""
    leaves = re.compile(r"__file__\).*(parents\[|\.parent\.parent)")
    found = {
        file.relative_to(ROOT).as_posix()
        for file in ROOT.glob("labs_helper/**/*.py")
        if leaves.search(file.read_text("utf-8"))
    }
    # translate: parents[1] is the package itself.
    assert found == {"labs_helper/catalog/folder.py", "labs_helper/common/translate.py"}
