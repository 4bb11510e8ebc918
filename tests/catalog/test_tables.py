"""Tables of published figures as rows."""

from __future__ import annotations

import pytest

from labs_helper.catalog import tables
from labs_helper.errors import BadRequest


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    (tmp_path / "data" / "benchmarks").mkdir(parents=True)
    return tmp_path / "data" / "benchmarks"


def test_only_the_values_are_numbers(course):
    (course / "some.csv").write_text('model,year,value,source\nPhi,2024,40.2,"a, b"\nPhi,2024,n/a,c\n', "utf-8")
    assert tables.names() == ["some"] and tables.folder() == course
    assert tables.read("some") == tables.read("some.csv")
    assert tables.read("some") == [
        {"model": "Phi", "year": "2024", "value": 40.2, "source": "a, b"},
        {"model": "Phi", "year": "2024", "value": "n/a", "source": "c"},
    ]


def test_a_caller_may_change_what_it_gets(course):
    (course / "some.csv").write_text("value\n1\n")
    tables.read("some")[0]["value"] = -1
    tables.read("some").clear()
    assert tables.read("some") == [{"value": 1.0}]


@pytest.mark.parametrize("name", ["other", "", "../some", "some.csv.csv", "/etc/passwd"])
def test_an_unknown_table_lists_the_tables(course, name):
    with pytest.raises(BadRequest, match="The tables are: none"):
        tables.read(name)
    for known in ("some", "another"):
        (course / f"{known}.csv").write_text("value\n1\n")
    with pytest.raises(BadRequest, match="The tables are: another, some"):
        tables.read(name)
