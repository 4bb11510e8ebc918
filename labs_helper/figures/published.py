"""The published figures as charts and tables. The rows come from `labs_helper.catalog.tables`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from labs_helper.catalog.tables import names, read
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.bars import bars
from labs_helper.figures.base import Figure, framed_table, source_line
from labs_helper.figures.text import joined, text_table

if TYPE_CHECKING:
    Fact = dict[str, str | float]  # one row of a table

_CHART_COLUMNS = {"model", "benchmark", "setting", "value", "unit", "source"}
_MOE_CARD = "Phi-3.5-MoE-instruct.md"


def titles() -> dict[str, str]:
    """The title of each table, best known first.

    Example:
        >>> titles()["long_context"]
        'Long context'
    """
    return {
        "multilingual_by_language": _("Multilingual tests by language"),
        "multilingual_overview": _("Multilingual tests, averages"),
        "long_context": _("Long context"),
        "korean_benchmarks": _("Korean tests"),
        "phi35_mini_main": _("Phi-3.5-mini: main table"),
        "phi35_moe_main": _("Phi-3.5-MoE: main table"),
        "category_averages": _("Averages by category"),
        "vision_single_image": _("Vision: one image"),
        "vision_blink": _("Vision: several images (BLINK)"),
        "vision_video_mme": _("Vision: video (Video-MME)"),
        "vision_release_deltas": _("Vision: Phi-3 against Phi-3.5"),
        "vision_image_tokens": _("Vision: tokens an image costs"),
        "phi3_mini_128k_azure_evaluation": _("Phi-3-mini: an older table"),
        "model_facts": _("Model facts"),
        "successors": _("Models that came after"),
        "mlx_checkpoints": _("MLX checkpoints"),
        "original_lab_measurements": _("Speeds printed in the original labs"),
    }


def tables() -> dict[str, str]:
    """The tables that are on this machine: name -> title, best known first.

    Example:
        >>> "multilingual_by_language" in tables()
        True
    """
    known, present = titles(), names()
    ordered = [name for name in known if name in present] + [name for name in present if name not in known]
    return {name: known.get(name, name.replace("_", " ")) for name in ordered}


def can_draw(table: str) -> bool:
    """Whether a table holds scores of models on tests, so that a chart makes sense."""
    return set(read(table)[0]) >= _CHART_COLUMNS


def models(table: str, test: str | None = None) -> list[str]:
    """The models of a table in the order of the card; [] for a table that has none."""
    return _distinct(row["model"] for row in read(table) if "model" in row and test in (None, row.get("benchmark")))


def tests(table: str) -> list[str]:
    """The tests (benchmarks) of a table, in the order of the card; [] for a table that has none."""
    return _distinct(row["benchmark"] for row in read(table) if "benchmark" in row)


def by_language(table: str) -> bool:
    """Whether a table has a row for each language."""
    return "language" in read(table)[0]


def usual_models(table: str, test: str | None = None) -> list[str]:
    """The models shown first: up to two of the Phi family, or the first two there are."""
    every = models(table, test)
    phi = [name for name in every if name.lower().startswith("phi-")]
    return (phi + [name for name in every if name not in phi])[:2]


def select(table: str, chosen: Sequence[str] | str | None = None, test: str | None = None) -> list[Fact]:
    """Rows of a table for some models and one test.

    Args:
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
                _("There is no test {test!r} in {table}.").format(test=test, table=table),
                _("The tests are: {names}.").format(names=", ".join(tests(table)) or _("none")),
            )
        rows = [row for row in rows if row["benchmark"] == test]
    if chosen is not None:
        parts = [chosen] if isinstance(chosen, str) else chosen
        wanted = [name for part in parts for name in _matching(part, table, models(table, test))]
        rows = [row for name in dict.fromkeys(wanted) for row in rows if row["model"] == name]
    return rows


def benchmark_chart(
    table: str,
    chosen: Sequence[str] | str | None = None,
    test: str | None = None,
    *,
    takeaway: str = "",
    ranked: bool = False,
) -> Figure:
    """Draw the scores of a table as grouped bars: a group for each row of the card, in it a bar for each model.

    Args:
        table: a name of `tables()`.
        chosen: models, whole names or parts; `usual_models` when left out.
        test: one test; all when left out.
        takeaway: the sentence under the chart, written by hand; none when left out.
        ranked: the highest score of the first model first; otherwise in the order of the card.

    Raises:
        BadRequest: unknown table, model or test; or the table holds no scores (then ask for the table view).

    Example:
        >>> figure = benchmark_chart("multilingual_by_language", test="Multilingual MMLU")
        >>> "lower in 2 (French, Italian)" in figure.alt
        True
    """
    table = table.removesuffix(".csv")
    if not can_draw(table):
        raise BadRequest(
            _("{table} holds no scores that a chart could show.").format(table=table), _("Ask for view='table'.")
        )
    chosen = usual_models(table, test) if chosen is None else chosen
    rows = [{**row, "label": label} for row, label in _labelled(select(table, chosen, test), test)]
    if ranked:
        first = {row["label"]: float(row["value"]) for row in rows if row["model"] == rows[0]["model"]}
        rows.sort(key=lambda row: -first.get(row["label"], 0))
    labels = _distinct(row["label"] for row in rows)
    averages = [label for label in labels if label.startswith(("Average", "Overall"))] if len(labels) > 1 else []
    guessing = {row["label"]: _chance(str(row["benchmark"]), str(row["setting"])) for row in rows}
    return bars(
        [{**row, "guessing": guessing[row["label"]]} for row in rows],
        x="label",
        y="value",
        group="model",
        title=_title(table, test),
        unit=_("score (0 to 100)"),
        source=_sources(rows),
        takeaway=takeaway,
        decimals=1,
        chance={str(label): level for label, level in guessing.items() if level is not None},
        apart=averages,
    )


def benchmark_table(table: str, chosen: Sequence[str] | str | None = None, test: str | None = None) -> Figure:
    """Show a table: a line for each row of the card and a column for each model; other tables as they are.

    Args:
        table: as for `benchmark_chart`, but every table can be shown.
        chosen: models, whole names or parts; all when left out.
        test: one test; all when left out.

    Raises:
        BadRequest: unknown table, model or test.

    Example:
        >>> "40.2" in benchmark_table("vision_release_deltas").text
        True
    """
    table = table.removesuffix(".csv")
    rows = select(table, chosen, test)
    title, source = _title(table, test), _sources(rows)
    if can_draw(table):
        columns, cells = _score_table(rows, test)
        right = range(1, len(columns))
        takeaway = _("{rows} rows, {models} models; scores from 0 to 100, as printed by the source.").format(
            rows=len(cells), models=len(columns) - 1
        )
    else:
        columns = [column for column in rows[0] if column != "source"]
        cells = [[_plain(row[column]) for column in columns] for row in rows]
        right = range(0)
        takeaway = _("{rows} facts, as printed by their sources.").format(rows=len(cells))
    return Figure(
        html=framed_table(columns, cells, takeaway, title=title, source=source, right=right),
        text=joined(title, text_table(columns, cells, right=right), takeaway, source_line(source)),
        alt=_("Table: {title}. {takeaway}").format(title=title, takeaway=takeaway),
        takeaway=takeaway,
        rows=tuple(rows),
    )


# The choices of each part of BLINK (Fu et al. 2024); the mean of what guessing gives is the 38.09 of that paper.
_BLINK = {
    **dict.fromkeys(("Art Style", "Jigsaw", "Multi-View Reasoning", "Object Localization", "Relative Depth"), 2),
    **dict.fromkeys(("Spatial Relation", "Visual Similarity"), 2),
    "Relative Reflectance": 3,
    **dict.fromkeys(("Counting", "Forensic Detection", "IQ Test"), 4),
    **dict.fromkeys(("Functional Correspondence", "Semantic Correspondence", "Visual Correspondence"), 4),
}


def _chance(benchmark: str, setting: str = "") -> float | None:
    """What guessing gives in a test with a fixed number of choices, in per cent; None where answers are written freely.

    MMLU has four choices (Hendrycks et al. 2021) and MMLU-Pro ten (Wang et al. 2024; some questions have fewer);
    XCOPA and XStoryCloze have two (Ponti et al. 2020, Lin et al. 2022). POPE asks for yes or no (Li et al. 2023), AI2D
    and Video-MME have four choices (Kembhavi et al. 2016, Fu et al. 2024).
    """
    if benchmark == "BLINK":
        parts = {part: 100 / choices for part, choices in _BLINK.items()}
        return parts.get(setting, sum(parts.values()) / len(parts) if setting == "Overall" else None)
    four = dict.fromkeys(("Multilingual MMLU", "KMMLU", "AI2D", "Video-MME"), 25.0)
    known = {"MMLU-Pro": 10.0, **four, "XCOPA": 50.0, "XStoryCloze": 50.0, "POPE": 50.0}
    return next((level for part, level in known.items() if part in benchmark), None)


def _score_table(rows: Sequence[Fact], test: str | None) -> tuple[list[str], list[list[str]]]:
    """The columns and cells of a table of scores: a column for each model."""
    every = _distinct(row["model"] for row in rows)
    scores: dict[str, dict[str, str]] = {}
    for row, label in _labelled(rows, test):
        scores.setdefault(label, {})[str(row["model"])] = _plain(row["value"])
    cells = [[label, *(own.get(name, "–") for name in every)] for label, own in scores.items()]
    return [_("row"), *every], cells


def _labelled(rows: Sequence[Fact], test: str | None) -> list[tuple[Fact, str]]:
    """Each row with the label of its line: test, language or category, setting; made different where needed."""
    part = "language" if rows and "language" in rows[0] else "category"
    averages = any(row["benchmark"] == "Category average" for row in rows)
    one = len({row["benchmark"] for row in rows}) == 1 and all(row["setting"] for row in rows)  # the title names it
    result: list[tuple[Fact, str]] = []
    seen: dict[tuple[str, str], str | float] = {}
    for row in rows:
        words = [] if test or averages or one else [str(row["benchmark"])]
        if part == "language" or averages:
            words.append(str(row[part]))
        if row["setting"]:
            words.append(str(row["setting"]))
        model, label = str(row["model"]), ", ".join(words) or str(row["benchmark"])
        # Both text cards print category averages for the same neighbours: name the card where they meet.
        if (model, label) in seen:
            if seen[model, label] == row["value"]:
                continue
            label += " " + (_("(MoE card)") if _MOE_CARD in str(row["source"]) else _("(other source)"))
        seen[model, label] = row["value"]
        result.append((row, label))
    return result


def _title(table: str, test: str | None) -> str:
    title = tables()[table]
    return _("{title}: {test}").format(title=title, test=test) if test else title


def _sources(rows: Sequence[Fact]) -> str:
    """Where the rows were published. The stored source begins with the copy that was read."""
    return "; ".join(map(_original_first, _distinct(row["source"] for row in rows if row.get("source"))))


def _original_first(source: str) -> str:
    copy, found, original = source.removesuffix(")").partition(" (copy of ")
    return _("{original} (read from a copy: {copy})").format(original=original, copy=copy) if found else source


def _matching(part: str, table: str, every: Sequence[str]) -> list[str]:
    if part in every:
        return [part]
    matching = [name for name in every if part.lower() in name.lower()]
    if not matching:
        raise BadRequest(
            _("There is no model {name!r} in {table}.").format(name=part, table=table),
            _("The models are: {names}.").format(names=", ".join(every) or _("none")),
        )
    return matching


def _distinct(values: Iterable[str | float]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))


def _plain(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else value
