"""What is left with fewer and fewer bits: lines with intervals over the bits, and errors over the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, records
from labs_helper.figures.canvas import STYLES, canvas, drawable, grid, plot_line
from labs_helper.figures.text import joined, number, text_table

if TYPE_CHECKING:
    from labs_helper.figures.base import Table


def _groups(table: Table) -> dict[str, list[Row]]:
    rows = records(table)
    if not rows:
        raise BadRequest(_("There is nothing to draw."), _("Give at least one row."))
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row["group"]), []).append(row)
    if len(groups) > len(STYLES):
        raise BadRequest(
            _("{count} groups are too many to tell apart.").format(count=len(groups)),
            _("Choose at most {most}.").format(most=len(STYLES)),
        )
    return groups


def by_bits(table: Table, *, what: str, title: str = "", log: bool = False) -> Figure:
    """Draw values with their intervals over the bits of a weight, most bits first, one line for each group.

    Args:
        table: rows with "group", "bits" and "value", and "low" and "high" where there is an interval.
        what: what the values are, for the axis.
        title: a line above the picture.
        log: a logarithmic axis; values of 0 are then left out of the picture.

    Raises:
        BadRequest: no rows, or more than seven groups.

    Example:
        by_bits([{"group": "sums", "bits": 4, "value": 1.0, "low": 0.94, "high": 1.0}], what="share right")
    """
    groups = _groups(table)
    places = sorted({int(row["bits"]) for rows in groups.values() for row in rows}, reverse=True)
    fig, (axis,) = canvas(7.2, 3.6, 1)
    lines = []
    for index, ((group, rows), style) in enumerate(zip(groups.items(), STYLES)):
        rows = sorted(rows, key=lambda row: -int(row["bits"]))
        shift = (index - (len(groups) - 1) / 2) * 0.09  # points of one number of bits stay beside each other
        drawn = [row for row in rows if not log or float(row["value"]) > 0]
        x = [places.index(int(row["bits"])) + shift for row in drawn]
        plot_line(axis, x, [float(row["value"]) for row in drawn], style, 4, drawable(group))
        for at, row in zip(x, drawn):
            if "low" in row and "high" in row:
                axis.plot([at, at], [float(row["low"]), float(row["high"])], color=style.colour, linewidth=1)
        lines += [[group, row["bits"], *(_shown(row, key) for key in ("value", "low", "high"))] for row in rows]
    axis.set_xticks(range(len(places)), [str(place) for place in places])
    axis.set_xlabel(_("bits of a weight"))
    axis.set_ylabel(drawable(what))
    axis.set_title(drawable(title))
    if log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    if len(groups) > 1:
        axis.legend(fontsize=8, loc="best")
    grid(axis)
    takeaway = _falls(groups, places)
    text = text_table(
        [_("group"), _("bits"), what, _("from"), _("to")],
        lines,
        right=range(1, 5),
    )
    alt = _("Line chart: {what} over the bits of a weight, {count} lines. {takeaway}").format(
        what=what, count=len(groups), takeaway=takeaway
    )
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(text, takeaway), rows=records(table))


def _shown(row: Row, key: str) -> str:
    return f"{float(row[key]):.4g}" if key in row else ""


def _falls(groups: dict[str, list[Row]], places: list[int]) -> str:
    """The values at the most bits and at the fewest, line by line."""
    most, fewest = places[0], places[-1]
    parts = []
    for group, rows in groups.items():
        at = {int(row["bits"]): float(row["value"]) for row in rows}
        if most in at and fewest in at:
            parts.append(
                _("{group}: {first} -> {last}").format(group=group, first=f"{at[most]:.3g}", last=f"{at[fewest]:.3g}")
            )
    return _("From {most} bits to {fewest}: {parts}.").format(most=most, fewest=fewest, parts="; ".join(parts))


def error_by_size(table: Table, *, title: str = "") -> Figure:
    """Draw the relative error of a rounded matrix over the bits that a weight takes, scales included.

    Args:
        table: rows with "group", "bits", "bits per weight" and "error", as from `quantizing.error_table`.
        title: a line above the picture.

    Raises:
        BadRequest: no rows, or more than seven groups.

    Example:
        error_by_size(error_table(matrix))
    """
    groups = _groups(table)
    fig, (axis,) = canvas(7.2, 3.6, 1)
    lines = []
    for (group, rows), style in zip(groups.items(), STYLES):
        rows = sorted(rows, key=lambda row: float(row["bits per weight"]))
        x = [float(row["bits per weight"]) for row in rows]
        plot_line(
            axis, x, [float(row["error"]) for row in rows], style, 5, drawable(_("groups: {name}").format(name=group))
        )
        lines += [
            [group, row["bits"], number(float(row["bits per weight"])), f"{float(row['error']):.4f}"] for row in rows
        ]
    axis.set_yscale("log")
    axis.set_xlabel(_("bits per weight, scales and biases included"))
    axis.set_ylabel(_("relative error"))
    axis.set_title(drawable(title))
    axis.legend(fontsize=8)
    grid(axis)
    first = next(iter(groups.values()))
    errors = [float(row["error"]) for row in sorted(first, key=lambda row: int(row["bits"]))]
    steps = sorted(int(row["bits"]) for row in first)
    ratio = (errors[0] / errors[-1]) ** (1 / max(1, steps[-1] - steps[0])) if errors[-1] else 0.0
    takeaway = _("In groups of {group}, each further bit divides the error by {ratio:.1f}.").format(
        group=next(iter(groups)), ratio=ratio
    )
    text = text_table([_("group"), _("bits"), _("bits per weight"), _("relative error")], lines, right=range(1, 4))
    alt = _("Line chart, logarithmic: the relative error over the bits per weight, {count} lines. {takeaway}").format(
        count=len(groups), takeaway=takeaway
    )
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(text, takeaway), rows=records(table))
