"""The published figures: complete, sourced, readable, and odd exactly where the README says so."""

from __future__ import annotations

import csv
import re

import pytest

from labs_helper.catalog import tables
from labs_helper.figures import published

FOLDER = tables.folder()
FILES = sorted(FOLDER.glob("*.csv"))
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def score(table: str, model: str, benchmark: str, **other: str) -> float:
    """The one value that fits; fails when there is none or more than one."""
    rows = [
        row
        for row in tables.read(table)
        if row["model"] == model
        and row["benchmark"] == benchmark
        and all(row[key] == value for key, value in other.items())
    ]
    assert len(rows) == 1, (table, model, benchmark, len(rows))
    return rows[0]["value"]


def mean(table: str, model: str, skip: tuple[str, ...] = ("Average of the table",), **other: str) -> float:
    values = [
        row["value"]
        for row in tables.read(table)
        if row["model"] == model
        and row["benchmark"] not in skip
        and all(row[key] == value for key, value in other.items())
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_tidy_sourced_and_described(path):
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    header, body = rows[0], rows[1:]
    assert header[-1] == "source" and body and {len(row) for row in rows} == {len(header)}
    assert all(row[-1].strip() for row in body), "every fact names its source"
    assert len({tuple(row) for row in body}) == len(body), "no fact twice"
    assert f"`{path.name}`" in README and path.stem in published.titles()
    assert not re.search(r"(^|[\s:(])/(work|tmp|home|Users)\b|look-up", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scores_are_numbers_from_0_to_100_and_belong_to_one_row(path):
    rows = tables.read(path.stem)
    if not published.can_draw(path.stem):
        return
    assert all(isinstance(row["value"], float) and 0 <= row["value"] <= 100 for row in rows)
    assert {row["unit"] for row in rows} == {"score_0_100"}
    keys = [tuple(row[key] for key in row if key != "value") for row in rows]
    assert len(set(keys)) == len(keys)


def test_values_that_the_course_quotes():
    new, old = "Phi-3.5-mini-instruct", "Phi-3-mini-128k-instruct (June 2024)"
    assert score("multilingual_overview", new, "Multilingual MMLU") == 55.4
    assert score("multilingual_overview", old, "Multilingual MMLU") == 51.08
    assert score("multilingual_by_language", new, "Multilingual MMLU", language="Chinese") == 52.6
    assert score("multilingual_by_language", old, "Multilingual MMLU", language="Chinese") == 46.9
    worse = {
        row["language"]
        for row in published.select("multilingual_by_language", [new], "Multilingual MMLU")
        if row["value"] < score("multilingual_by_language", old, "Multilingual MMLU", language=row["language"])
    }
    assert worse == {"French", "Italian"}
    assert score("long_context", new, "RULER", setting="128K") == 63.6
    assert score("korean_benchmarks", new, "Average of the table") == 35.62


def test_the_oddities_are_the_ones_the_readme_names():
    gemma, mini = "Gemma-2-9B-it", "Phi-3.5-mini-instruct"
    assert score("phi35_mini_main", gemma, "MGSM") == 76.4 and score("multilingual_overview", gemma, "MGSM") == 75.1
    assert score("phi35_moe_main", gemma, "MGSM") == 75.1
    printed = score("phi35_mini_main", gemma, "Average of the table")
    assert round(mean("phi35_mini_main", gemma), 1) != printed
    assert round(mean("phi35_mini_main", gemma) - (76.4 - 75.1) / 21, 1) == printed
    assert score("phi35_mini_main", mini, "SQuALITY") == 24.3 and score("long_context", mini, "SQuALITY") == 25.3
    assert round(mean("long_context", mini, category="Long context"), 1) == score(
        "long_context", mini, "Average of the table"
    )
    categories = {
        row["model"]: row["value"]
        for row in tables.read("category_averages")
        if row["category"] == "Long context" and "mini-instruct.md" in row["source"]
    }
    names = ["Mistral-7B-Instruct-v0.3", "Mistral-Nemo-12B-Instruct-2407", "Llama-3.1-8B-Instruct"]
    assert [categories[name] for name in names] == [25.5, 24.4, 24.5]
    assert [score("long_context", name, "Average of the table") for name in names] == [24.4, 24.5, 25.5]


def test_read_takes_names_with_and_without_ending_and_hands_out_copies():
    rows = tables.read("long_context.csv")
    rows[0]["value"] = -1
    assert tables.read("long_context")[0]["value"] != -1
    assert next(iter(published.tables())) == "multilingual_by_language"
    assert set(published.tables()) == {path.stem for path in FILES}


def test_rows_of_two_cards_stay_apart_where_they_differ():
    figure = published.benchmark_table("category_averages", ["Llama-3.1"])
    assert "Long context (MoE card)" in figure.text and figure.text.count("Math") == 1
