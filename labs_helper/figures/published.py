"""The published figures in data/benchmarks/: which tables there are, reading them, drawing them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures.bars import bars
from labs_helper.figures.base import Figure, caption
from labs_helper.figures.text import text_table

FOLDER = Path(__file__).resolve().parents[2] / "data" / "benchmarks"

TITLES = {
    "multilingual_by_language": "Multilingual tests by language",
    "multilingual_overview": "Multilingual tests, averages",
    "long_context": "Long context",
    "korean_benchmarks": "Korean tests",
    "phi35_mini_main": "Phi-3.5-mini: main table",
    "phi35_moe_main": "Phi-3.5-MoE: main table",
    "category_averages": "Averages by category",
    "vision_single_image": "Vision: one image",
    "vision_blink": "Vision: several images (BLINK)",
    "vision_video_mme": "Vision: video (Video-MME)",
    "vision_release_deltas": "Vision: Phi-3 against Phi-3.5",
    "vision_image_tokens": "Vision: tokens an image costs",
    "phi3_mini_128k_azure_evaluation": "Phi-3-mini: an older table",
    "model_facts": "Model facts",
    "successors": "Models that came after",
    "mlx_checkpoints": "MLX checkpoints",
    "original_lab_measurements": "Speeds printed in the original labs",
}
_CHART_COLUMNS = {"model", "benchmark", "setting", "value", "unit", "source"}
_MOE_CARD = "Phi-3.5-MoE-instruct.md"


def tables() -> dict[str, str]:
    """The tables that are here: name -> title, best known first.

    Example:
        >>> "multilingual_by_language" in tables()
        True
    """
    here = {path.stem for path in FOLDER.glob("*.csv")}
    ordered = [name for name in TITLES if name in here] + sorted(here - set(TITLES))
    return {name: TITLES.get(name, name.replace("_", " ")) for name in ordered}


@cache
def _read(name: str) -> tuple[dict[str, str], ...]:
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
        return tuple(csv.DictReader(handle))


def read(table: str) -> list[dict]:
    """All rows of one table. Numbers are numbers, everything else is text.

    Arguments:
        table: a name of `tables()`, with or without ".csv".

    Raises:
        BadRequest: there is no such table; the message lists the names.

    Example:
        >>> read("vision_release_deltas")[0]["value"]
        40.2
    """
    name = table.removesuffix(".csv")
    if name not in tables():
        raise BadRequest(f"There is no table {table!r}.", f"The tables are: {', '.join(tables()) or 'none'}.")
    rows = [dict(row) for row in _read(name)]
    for row in rows:
        if "value" in row:
            row["value"] = _as_number(row["value"])
    return rows


def can_draw(table: str) -> bool:
    """Whether a table holds scores of models on tests, so that a chart makes sense."""
    return set(read(table)[0]) >= _CHART_COLUMNS


def models(table: str, test: str | None = None) -> list[str]:
    """The models of a table in the order of the card; [] for a table that has none."""
    return list(
        dict.fromkeys(row["model"] for row in read(table) if "model" in row and test in (None, row.get("benchmark")))
    )


def tests(table: str) -> list[str]:
    """The tests (benchmarks) of a table, in the order of the card; [] for a table that has none."""
    return list(dict.fromkeys(row["benchmark"] for row in read(table) if "benchmark" in row))


def usual_models(table: str, test: str | None = None) -> list[str]:
    """The models shown first: up to two of the Phi family, or the first two there are."""
    names = models(table, test)
    phi = [name for name in names if name.lower().startswith("phi-")]
    return (phi + [name for name in names if name not in phi])[:2]


def select(table: str, chosen: Sequence[str] | None = None, test: str | None = None) -> list[dict]:
    """Rows of a table for some models and one test.

    Arguments:
        table: a name of `tables()`.
        chosen: names of models, whole or in part ("Phi-3.5-mini"); all when left out.
        test: one of `tests(table)`; all when left out.

    Raises:
        BadRequest: a model or a test is not in the table; the message lists what is.

    Example:
        >>> {row["model"] for row in select("vision_release_deltas", ["Phi-3.5"])}
        {'Phi-3.5-vision-instruct'}
    """
    rows = read(table)
    if test is not None:
        if test not in tests(table):
            raise BadRequest(
                f"There is no test {test!r} in {table}.",
                f"The tests are: {', '.join(tests(table)) or 'none'}.",
            )
        rows = [row for row in rows if row["benchmark"] == test]
    if chosen is not None:
        if isinstance(chosen, str):
            chosen = [chosen]
        wanted = [name for word in chosen for name in _matching(word, table, models(table, test))]
        rows = [row for name in dict.fromkeys(wanted) for row in rows if row["model"] == name]
    return rows


def benchmark_chart(table: str, chosen: Sequence[str] | None = None, test: str | None = None) -> Figure:
    """Draw the scores of a table as grouped bars, one group of bars a row of the card, one bar a model.

    Arguments:
        table: a name of `tables()`.
        chosen: models, whole names or parts; `usual_models` when left out.
        test: one test; all when left out.

    Raises:
        BadRequest: unknown table, model or test; or the table holds no scores (then ask for the table view).

    Example:
        >>> figure = benchmark_chart("multilingual_by_language", test="Multilingual MMLU")
        >>> "lower in 2 (French, Italian)" in figure.takeaway
        True
    """
    table = table.removesuffix(".csv")
    if not can_draw(table):
        raise BadRequest(f"{table} holds no scores that a chart could show.", "Ask for view='table'.")
    chosen = usual_models(table, test) if chosen is None else chosen
    rows = [dict(row, label=label) for row, label in _labelled(select(table, chosen, test), test)]
    title = f"{tables()[table]}{': ' + test if test else ''}"
    return bars(rows, x="label", y="value", group="model", title=title, unit="score (0 to 100)", source=_sources(rows))


def benchmark_table(table: str, chosen: Sequence[str] | None = None, test: str | None = None) -> Figure:
    """Show a table: one line a row of the card and one column a model; other tables as they are.

    Arguments and errors: as `benchmark_chart`, but every table can be shown and all models are the default.

    Example:
        >>> "40.2" in benchmark_table("vision_release_deltas").text
        True
    """
    table = table.removesuffix(".csv")
    rows = select(table, chosen, test)
    title = f"{tables()[table]}{': ' + test if test else ''}"
    if can_draw(table):
        names = list(dict.fromkeys(row["model"] for row in rows))
        values: dict[str, dict[str, object]] = {}
        for row, label in _labelled(rows, test):
            values.setdefault(label, {})[row["model"]] = row["value"]
        columns = ["row", *names]
        cells = [[label] + [_plain(found.get(name, "–")) for name in names] for label, found in values.items()]
        right = list(range(1, len(columns)))
        takeaway = f"{len(cells)} rows, {len(names)} models; scores from 0 to 100, as printed by the source."
    else:
        columns = [column for column in rows[0] if column != "source"]
        cells = [[_plain(row[column]) for column in columns] for row in rows]
        right = []
        takeaway = f"{len(cells)} facts, as printed by their sources."
    source = _sources(rows)
    head = "".join(f'<th scope="col" style="text-align:left;padding:2px 8px">{escape(name)}</th>' for name in columns)
    body = ""
    for line in cells:
        first = f'<th scope="row" style="text-align:left;padding:2px 8px">{escape(line[0])}</th>'
        rest = "".join(
            f'<td style="text-align:{"right" if i in right else "left"};padding:2px 8px">{escape(cell)}</td>'
            for i, cell in enumerate(line)
            if i
        )
        body += f"<tr>{first}{rest}</tr>"
    html = (
        f'<figure style="margin:0.5em 0;overflow-x:auto"><table><caption style="text-align:left">'
        f"<strong>{escape(title)}</strong></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{caption(takeaway, source)}</figure>"
    )
    text = "\n".join([title, text_table(columns, cells, right=right), takeaway, f"Source: {source}"])
    return Figure(html=html, text=text, alt=f"Table: {title}. {takeaway}", takeaway=takeaway, rows=tuple(rows))


def _labelled(rows: list[dict], test: str | None) -> list[tuple[dict, str]]:
    """Each row with the label of its line: test, language or category, setting; made different where needed."""
    part = "language" if rows and "language" in rows[0] else "category"
    averages = any(row["benchmark"] == "Category average" for row in rows)
    result, seen = [], {}
    for row in rows:
        words = [] if test or averages else [row["benchmark"]]
        if part == "language" or averages:
            words.append(row[part])
        if row["setting"]:
            words.append(row["setting"])
        label = ", ".join(words) or row["benchmark"]
        # Both text cards print category averages for the same neighbours: name the card where they meet.
        if (row["model"], label) in seen:
            if seen[row["model"], label] == row["value"]:
                continue
            label += " (MoE card)" if _MOE_CARD in row["source"] else " (other source)"
        seen[row["model"], label] = row["value"]
        result.append((row, label))
    return result


def _sources(rows: Sequence[dict]) -> str:
    return "; ".join(dict.fromkeys(str(row["source"]) for row in rows if row.get("source")))


def _matching(word: str, table: str, names: list[str]) -> list[str]:
    if word in names:
        return [word]
    found = [name for name in names if word.lower() in name.lower()]
    if not found:
        raise BadRequest(f"There is no model {word!r} in {table}.", f"The models are: {', '.join(names) or 'none'}.")
    return found


def _as_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
