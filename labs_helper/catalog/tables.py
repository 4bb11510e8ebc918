"""The published figures in `data/benchmarks/`, as rows. Charts and checks both read them here."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from labs_helper.catalog.folder import course_folder
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest


def folder() -> Path:
    """The folder of the tables.

    Example:
        folder() / "phi35_mini_main.csv"
    """
    return course_folder() / "data" / "benchmarks"


def names() -> list[str]:
    """The names of all tables, sorted.

    Example:
        "multilingual_by_language" in names()
    """
    return sorted(path.stem for path in folder().glob("*.csv"))


def read(name: str) -> list[dict[str, str | float]]:
    """All rows of a table. The column "value" holds numbers where they are numbers; everything else is text.

    Args:
        name: the name of the table, with or without ".csv".

    Raises:
        BadRequest: there is no such table; the message lists the names.

    Example:
        read("vision_release_deltas")[0]["value"]      # 40.2
    """
    stem = name.removesuffix(".csv")
    if stem not in names():
        raise BadRequest(
            _("There is no table {name!r}.").format(name=name),
            _("The tables are: {names}.").format(names=", ".join(names()) or _("none")),
        )
    return [dict(row) for row in _rows(folder() / f"{stem}.csv")]


@cache
def _rows(path: Path) -> tuple[dict[str, str | float], ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple({key: _value(key, text) for key, text in row.items()} for row in csv.DictReader(file))


def _value(column: str, text: str) -> str | float:
    if column != "value":
        return text
    try:
        return float(text)
    except ValueError:
        return text
