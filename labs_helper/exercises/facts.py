"""Facts the checks are computed from: the published tables, and the stop tokens of the bundled checkpoint."""

from __future__ import annotations

import csv
import json
from functools import cache

from labs_helper.catalog import course_folder


@cache
def published(table: str) -> tuple[tuple[str, str, str, float], ...]:
    """Read `data/benchmarks/<table>.csv` as rows of (model, benchmark, category, value).

    Example: `published("phi35_mini_main")`. The csv module is used, not pandas, so a check answers at once.
    """
    with (course_folder() / "data" / "benchmarks" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            (row["model"], row["benchmark"], row["category"], float(row["value"])) for row in csv.DictReader(file)
        )


def score(table: str, model: str, benchmark: str, category: str | None = None) -> float:
    """One printed score. Example: `score("phi35_mini_main", "Gemma-2-9B-it", "MGSM")` is 76.4."""
    for row in published(table):
        if row[:2] == (model, benchmark) and category in (None, row[2]):
            return row[3]
    raise KeyError(f"{table}: no {benchmark} for {model}")


@cache
def stop_ids(checkpoint: str) -> frozenset[int]:
    """The stop ids in a bundled checkpoint's generation_config.json. Example: `stop_ids("instruct-tiny")`."""
    path = course_folder() / "data" / "checkpoints" / checkpoint / "generation_config.json"
    found = json.loads(path.read_text(encoding="utf-8"))["eos_token_id"]
    return frozenset(found if isinstance(found, list) else [found])


@cache
def special_id(checkpoint: str, token: str) -> int:
    """The id of a special token of a bundled checkpoint. Example: `special_id("instruct-tiny", "<|end|>")`."""
    path = course_folder() / "data" / "checkpoints" / checkpoint / "tokenizer.json"
    added = json.loads(path.read_text(encoding="utf-8"))["added_tokens"]
    return next(entry["id"] for entry in added if entry["content"] == token)
