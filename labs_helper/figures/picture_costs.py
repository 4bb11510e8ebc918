"""What pictures cost: tokens for their sizes, and tokens, seconds and memory over `num_crops`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.bars import bars
from labs_helper.figures.base import Figure, Row, records
from labs_helper.figures.canvas import STYLES, annotate, canvas, drawable, grid, plot_line
from labs_helper.figures.text import joined, number, text_table
from labs_helper.pictures.images import layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from labs_helper.figures.base import Table


def token_cost(frame: Table, crops: Sequence[int] = (1, 4, 16), *, context: int | None = None) -> Figure:
    """Draw how many tokens pictures of different sizes cost, for several values of num_crops.

    Args:
        frame: rows with `picture` (a name), `width` and `height` (pixels).
        crops: values of num_crops, at most eight.
        context: tokens that the model can read; then the takeaway says how many of the most expensive picture fit.

    Raises:
        BadRequest: no rows or a column is missing.
        BadImage: a size that cannot be tiled.

    Example:
        >>> token_cost([{"picture": "icon", "width": 20, "height": 20}], [1, 4]).rows[1]["tokens"]
        757
    """
    rows: list[Row] = []
    for row in _with_columns(records(frame), ("picture", "width", "height")):
        for most in crops:
            plan = layout(int(row["width"]), int(row["height"]), most)
            rows.append(
                {
                    "picture": f"{row['picture']} ({row['width']} x {row['height']})",
                    "num_crops": str(most),
                    "tiles": plan.tiles,
                    "tokens": plan.tokens,
                }
            )
    dear, cheap = (choose(rows, key=lambda row: int(row["tokens"])) for choose in (max, min))
    takeaway = _(
        "From {least:,} tokens ({cheap}, num_crops {cheap_crops}) to {most:,} ({dear}, num_crops {dear_crops}): the "
        "number of tiles decides, not the pixels of the file."
    ).format(
        least=cheap["tokens"],
        cheap=cheap["picture"],
        cheap_crops=cheap["num_crops"],
        most=dear["tokens"],
        dear=dear["picture"],
        dear_crops=dear["num_crops"],
    )
    if context:
        fits = _("A context of {context:,} tokens has room for {count} of the most expensive.")
        takeaway += " " + fits.format(context=context, count=context // dear["tokens"])
    drawn = bars(
        [{**row, "num_crops": f"num_crops {row['num_crops']}"} for row in rows],
        x="picture",
        y="tokens",
        group="num_crops",
        title=_("Tokens of a picture"),
        unit=_("tokens"),
        takeaway=takeaway,
    )
    return Figure(html=drawn.html, text=drawn.text, alt=drawn.alt, takeaway=takeaway, rows=tuple(rows))


# -- over num_crops --------------------------------------------------------------------------------------------------


class _Panel(NamedTuple):
    """One chart of several: what it shows, how a value is scaled, and the columns drawn in it."""

    words: str
    factor: float
    columns: list[str]


def _panels(columns: Sequence[str]) -> list[_Panel]:
    """The panels for the columns that there are."""
    every = (
        _Panel(_("tokens of the picture"), 1, ["tokens"]),
        _Panel(_("seconds"), 1, ["first_token_seconds", "seconds"]),
        _Panel(_("peak memory, megabytes"), 1e-6, ["peak_memory"]),
    )
    kept = (panel._replace(columns=[name for name in panel.columns if name in columns]) for panel in every)
    panels = [panel for panel in kept if panel.columns]
    for i, panel in enumerate(panels):
        if len(panel.columns) == 1 and panel.columns[0] in _SECONDS:  # two have a legend, one has the heading alone
            panels[i] = panel._replace(words=_words()[panel.columns[0]])
    return panels


def _words() -> dict[str, str]:
    """The columns in words."""
    return {
        "tokens": _("tokens"),
        "first_token_seconds": _("seconds to the first token"),
        "seconds": _("seconds to the whole answer"),
        "peak_memory": _("peak memory"),
    }


_SECONDS = ("first_token_seconds", "seconds")
_COLUMNS = ("tokens", *_SECONDS, "peak_memory")


@dataclass(frozen=True)
class _Costs:
    """The mean of each column at each place of the axis.

    Attributes:
        x: the column along the axis.
        places: its values, sorted.
        means: column -> one mean for each place.
    """

    x: str
    places: list[float]
    means: dict[str, list[float]]

    @property
    def rows(self) -> list[Row]:
        return [
            {self.x: number(place) if place % 1 else int(place), **{c: values[i] for c, values in self.means.items()}}
            for i, place in enumerate(self.places)
        ]


def crops_cost(frame: Table, *, x: str = "num_crops", title: str = "", takeaway: str = "") -> Figure:
    """Draw what a picture costs over `num_crops`: tokens, seconds and peak memory, each in a panel of its own.

    Args:
        frame: rows with `num_crops` and at least one of `tokens`, `first_token_seconds`, `seconds` (to the whole
            answer) and `peak_memory` (bytes). Several rows for one place are averaged.
        x: the column along the axis; "tokens" shows the seconds over the tokens.
        title: shown above.
        takeaway: shown below; made from the data when left out.

    Raises:
        BadRequest: no rows, no column to draw, or a value that is not a number of at least 0.

    Example:
        >>> crops_cost([{"num_crops": 1, "tokens": 313}, {"num_crops": 4, "tokens": 757}]).takeaway
        'From num_crops 1 to 4: 2.4 times the tokens.'
    """
    costs = _costs(_with_columns(records(frame), (x,)), x)
    panels = _panels(list(costs.means))
    takeaway = takeaway or _costs_takeaway(costs)
    scale = {"peak_memory": 1e-6}
    table = text_table(
        [x, *(_("peak memory (MB)") if column in scale else _words()[column] for column in costs.means)],
        [[row[x], *(_brief(row[column] * scale.get(column, 1)) for column in costs.means)] for row in costs.rows],
        right=range(1 + len(costs.means)),
    )
    return Figure.from_matplotlib(
        _draw_costs(costs, panels, title),
        alt=_("{count} line charts over {x}: {panels}. {takeaway}").format(
            count=len(panels), x=x, panels=", ".join(panel.words for panel in panels), takeaway=takeaway
        ),
        takeaway=takeaway,
        text=joined(title, table, takeaway),
        rows=costs.rows,
    )


def _costs(rows: Sequence[Row], x: str) -> _Costs:
    columns = [column for column in _COLUMNS if column != x and column in rows[0]]
    if not columns:
        raise BadRequest(
            _("There is nothing to draw."),
            _("The rows need one of: {columns}.").format(columns=", ".join(_COLUMNS)),
        )
    values: dict[float, dict[str, list[float]]] = {}
    for row in rows:
        place = values.setdefault(_amount(row, x), {column: [] for column in columns})
        for column in columns:
            place[column].append(_amount(row, column))
    places = sorted(values)
    return _Costs(x, places, {column: [_mean(values[place][column]) for place in places] for column in columns})


def _amount(row: Mapping[str, Any], column: str) -> float:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, SupportsFloat) or not 0 <= float(value) < math.inf:
        raise BadRequest(
            _("{column} is {value!r}.").format(column=column, value=value),
            _("Each row needs numbers of at least 0."),
        )
    return float(value)


def _costs_takeaway(costs: _Costs) -> str:
    told = []
    for column, values in costs.means.items():
        if values[0] > 0:
            words = _("{times:.1f} times the {what}")
            told.append(words.format(times=values[-1] / values[0], what=_words()[column]))
    return _("From {x} {first} to {last}: {changes}.").format(
        x=costs.x,
        first=number(costs.places[0]),
        last=number(costs.places[-1]),
        changes=", ".join(told) or _("no change"),
    )


def _draw_costs(costs: _Costs, panels: Sequence[_Panel], title: str) -> Canvas:
    fig, axes = canvas(max(4.2, 3.1 * len(panels)), 3.0, len(panels))
    for axis, panel in zip(axes, panels):
        _draw_panel(axis, costs, panel)
    if title:
        fig.suptitle(drawable(title), fontsize=11)
    return fig


def _draw_panel(axis: Axes, costs: _Costs, panel: _Panel) -> None:
    names = {"first_token_seconds": _("to the first token"), "seconds": _("to the whole answer")}
    several = len(panel.columns) > 1
    for column, style in zip(panel.columns, STYLES):
        heights = [value * panel.factor for value in costs.means[column]]
        plot_line(axis, costs.places, heights, style, 5, names.get(column, column))
        below = several and column == panel.columns[0]  # the first token always comes before the end
        for at in zip(costs.places, heights):
            annotate(axis, _brief(at[1]), at, up=-13 if below else 6)
    axis.set(
        title=panel.words,
        xlabel=costs.x,
        xticks=costs.places,
        xticklabels=[number(place) for place in costs.places],
    )
    top = max(max(costs.means[column]) for column in panel.columns) * panel.factor or 1
    axis.set_ylim(-0.12 * top if several else 0, 1.22 * top)
    axis.margins(x=0.12)
    grid(axis)
    if several:
        axis.legend(fontsize=8, loc="upper left")


def _with_columns(rows: list[Row], columns: Sequence[str]) -> list[Row]:
    if not rows:
        raise BadRequest(
            _("There is nothing to draw: the table has no rows."), _("Measure or name at least one picture.")
        )
    missing = [column for row in rows for column in columns if column not in row]
    if missing:
        raise BadRequest(
            _("A row has no {column!r}.").format(column=missing[0]),
            _("Each row needs: {columns}.").format(columns=", ".join(columns)),
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _brief(value: float) -> str:
    return number(round(value, 2)) if value < 100 else f"{value:,.0f}"
