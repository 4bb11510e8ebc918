"""The registry of the labs, and how a lab is named."""

from __future__ import annotations

import importlib.util

import pytest

from labs_helper import catalog
from labs_helper.catalog import find_lab, labs
from labs_helper.catalog.labs import normal, notebooks, pick
from labs_helper.errors import BadRequest


def test_the_registry_agrees_with_the_course():
    assert [lab.stem for lab in labs()] == [path.stem for path in notebooks()]
    for lab in labs():
        assert (catalog.course_folder() / "notebooks" / "src" / f"{lab.stem}.py").is_file()
        module = importlib.util.find_spec(f"labs_helper.exercises.lab{lab.number}")
        assert (module is not None) == lab.exercises
        assert lab.minutes > 0 and lab.title
        assert all(catalog.find(role) for role in lab.roles)


@pytest.mark.parametrize("name", [1, "1", "01", " 01 ", "01-instruct", "01-instruct.ipynb", "01-instruct.py"])
def test_every_way_to_name_a_lab(name):
    assert find_lab(name).stem == "01-instruct"


@pytest.mark.parametrize("name", ["", "1.5", 99, "-1", "instruct", "01-", "x" * 500, "../01-instruct"])
def test_an_unknown_lab_lists_the_labs(name):
    with pytest.raises(BadRequest, match="There is no lab") as caught:
        find_lab(name)
    assert "00, 01, 02" in caught.value.do and len(str(caught.value)) < 200


def test_names_of_files_in_their_normal_form():
    assert [normal(name) for name in (1, "7", "10", "02-vision.ipynb")] == ["01", "07", "10", "02-vision"]


def test_a_learners_copies_are_no_labs(tmp_path):
    for name in ("01-b.ipynb", "00-a.ipynb", "01-b.copy-2026-03-01-141500.ipynb", "notes.ipynb", "02-c.py"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in notebooks(tmp_path)] == ["00-a.ipynb", "01-b.ipynb"]
    assert pick(notebooks(tmp_path), "1") == pick(notebooks(tmp_path), "01-b") == [tmp_path / "01-b.ipynb"]
    with pytest.raises(BadRequest, match="no lab '02'") as caught:
        pick(notebooks(tmp_path), "02")
    assert "00-a, 01-b" in caught.value.do
    with pytest.raises(BadRequest, match="none here"):
        pick([], "02")
