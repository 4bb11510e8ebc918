"""What moe-tiny still gets right when experts are taken away: counts that were measured once, drawn as heat maps.

`data/measured/moe_ablation.csv` has the counts; `training/moe/ablation_table.py` makes them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper.catalog import course_folder
from labs_helper.common.numbers import wilson
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure, Row
from labs_helper.figures.canvas import canvas
from labs_helper.figures.text import joined, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    Cells = Sequence[Sequence[Row]]


def ablation_file() -> Path:
    """The file with the counts.

    Example:
        ablation_file().name      # 'moe_ablation.csv'
    """
    return course_folder() / "data" / "measured" / "moe_ablation.csv"


def ablation(*, takeaway: str = "") -> Figure:
    """Draw how many answers stay right without one expert: a row for each expert, a column for each topic asked.

    The first row has all experts. Then comes, for each topic, the expert that prefers it most; the rows below are
    experts drawn at random, for comparison.

    Args:
        takeaway: the sentence below.

    Returns:
        Figure: `rows` has right, asked, low and high (the 95% interval) for each experiment and topic.

    Example:
        ablation().frame().query("kind == 'own' and prefers == topic")
    """
    measured = counts()
    topics = list(dict.fromkeys(row["topic"] for row in measured))
    labels: dict[str, list[Row]] = {}
    for row in measured:
        if row["kind"] == "none":
            label = _("all experts")
        elif row["kind"] == "own":
            label = _("{topic}: expert {experts} of layer {layer}").format(**{**row, "topic": row["prefers"]})
        elif row["kind"] == "random":
            label = _("at random: {experts} of layer {layer}").format(**row)
        else:
            continue
        labels.setdefault(label, []).append(row)
    return _figure(
        labels,
        topics,
        title=_("Right answers of {asked} without one expert").format(asked=measured[0]["asked"]),
        across=_("topic of the questions"),
        takeaway=takeaway,
    )


def pair_ablation(*, takeaway: str = "") -> Figure:
    """Draw how many answers stay right without one and without both of a topic's two experts in each layer.

    Each column asks about the topic that prefers the pair.

    Args:
        takeaway: the sentence below.

    Returns:
        Figure: `rows` as in `ablation`.

    Example:
        pair_ablation().frame().query("kind == 'both of a pair' and layer == '0'")
    """
    measured = counts()
    topics = list(dict.fromkeys(row["topic"] for row in measured))
    labels: dict[str, list[Row]] = {_("all experts"): [row for row in measured if row["kind"] == "none"]}
    for row in measured:
        if row["kind"] == "first of a pair":
            labels.setdefault(_("layer {layer}, without the first").format(**row), []).append(row)
        elif row["kind"] == "second of a pair":
            labels.setdefault(_("layer {layer}, without the second").format(**row), []).append(row)
        elif row["kind"] == "both of a pair":
            labels.setdefault(_("layer {layer}, without both").format(**row), []).append(row)
    return _figure(
        labels,
        topics,
        title=_("Right answers of {asked} without one, and without both, of a topic's two experts").format(
            asked=measured[0]["asked"]
        ),
        across=_("topic of the pair and of the questions"),
        takeaway=takeaway,
    )


def counts() -> list[Row]:
    """The rows of the file, with numbers where they are numbers, and with intervals.

    Example:
        [row for row in counts() if row["kind"] == "own"]
    """
    with ablation_file().open(encoding="utf-8", newline="") as file:
        rows: list[Row] = [
            {**row, "right": int(row["right"]), "asked": int(row["asked"])} for row in csv.DictReader(file)
        ]
    for row in rows:
        row["low"], row["high"] = wilson(row["right"], row["asked"])
    return rows


def _figure(
    labels: Mapping[str, Sequence[Row]], topics: Sequence[str], *, title: str, across: str, takeaway: str
) -> Figure:
    grid = [[{row["topic"]: row for row in rows}[topic] for topic in topics] for rows in labels.values()]
    fewest = min((row for line in grid for row in line), key=lambda row: int(row["right"]))
    summary = _("Fewest right: {right} of {asked} ({low:.0%} to {high:.0%}), for {topic}.").format(**fewest)
    table = text_table(
        ["", *topics],
        [[label, *(row["right"] for row in line)] for label, line in zip(labels, grid, strict=True)],
        right=range(1, len(topics) + 1),
    )
    first = grid[0][0]
    source = _(
        "{file}, seed {seed}; {asked} of {asked} right means {low:.0%} or more, in 95 of 100 such samples"
    ).format(
        file="data/measured/moe_ablation.csv",
        seed=first["seed"],
        asked=first["asked"],
        low=wilson(int(first["asked"]), int(first["asked"]))[0],
    )
    return Figure.from_matplotlib(
        _draw(list(labels), grid, topics, title, across),
        alt=_("Heat map: {title}. {rows} rows by {topics} topics. {summary}").format(
            title=title, rows=len(grid), topics=len(topics), summary=summary
        ),
        takeaway=takeaway,
        source=source,
        text=joined(title, table, summary, takeaway),
        rows=[row for line in grid for row in line],
    )


def _draw(labels: Sequence[str], grid: Cells, topics: Sequence[str], title: str, across: str) -> Canvas:
    fig, (axis,) = canvas(8.0, 1.3 + 0.29 * len(labels), 1)
    shares = [[row["right"] / row["asked"] for row in line] for line in grid]
    axis.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none")
    for i, line in enumerate(grid):
        for j, row in enumerate(line):
            colour = "white" if shares[i][j] < 0.55 else "black"
            axis.text(j, i, str(row["right"]), ha="center", va="center", fontsize=8.5, color=colour)
    axis.set_xticks(range(len(topics)), list(topics), fontsize=9)
    axis.set_yticks(range(len(labels)), list(labels), fontsize=8.5)
    axis.set(title=title, xlabel=across)
    return fig
