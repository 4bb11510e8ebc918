"""Pictures of a training: the loss step by step, and what was learned against what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, records
from labs_helper.figures.canvas import STYLES, Style, annotate, canvas, drawable, grid, plot_line
from labs_helper.figures.text import joined, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from labs_helper.figures.base import Table

_SMOOTH = 5  # steps that the thick line is the mean of


def loss_curve(
    runs: Mapping[str, Sequence[float]],
    *,
    held_out: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    title: str = "",
) -> Figure:
    """Draw the loss of one or more trainings over their steps.

    Args:
        runs: name -> the loss of each step, in nats for a token.
        held_out: name -> the loss of examples that were not trained, as (step, loss); a dashed line.
        title: a line above the picture.

    Raises:
        BadRequest: there is no run with a step.

    Example:
        loss_curve({"narrow": [step.loss for step in taught.history]})
    """
    shown = {name: list(losses) for name, losses in runs.items() if len(losses)}
    if not shown:
        raise BadRequest(_("There is no step to draw yet."), _("Wait for the first step."))
    fig, (axis,) = canvas(7, 2.8, 1)
    rows, lines = [], []
    for (name, losses), style in zip(shown.items(), STYLES * len(shown)):
        smooth = [sum(losses[max(0, n - _SMOOTH + 1) : n + 1]) / min(n + 1, _SMOOTH) for n in range(len(losses))]
        steps = list(range(1, len(losses) + 1))
        axis.plot(steps, losses, color=style.colour, alpha=0.25, linewidth=0.8)
        plot_line(axis, steps, smooth, style, 0, drawable(name))
        rows += [{"run": name, "step": step, "loss": loss} for step, loss in zip(steps, losses)]
        lines.append([name, len(losses), f"{losses[0]:.2f}", f"{smooth[-1]:.2f}"])
    words = [
        _("{name}: {first} at the first of {count} steps, {last} over the last five.").format(
            name=name, count=count, first=first, last=last
        )
        for name, count, first, last in lines
    ]
    for style, (name, points) in zip(STYLES * len(shown), ((name, (held_out or {}).get(name, ())) for name in shown)):
        if len(points):
            words.append(_held_out(axis, name, points, style))
            rows += [{"run": name, "step": step, "held out": loss} for step, loss in points]
    axis.set_xlabel(_("step"))
    axis.set_ylabel(_("loss (nats a token)"))
    axis.set_ylim(bottom=0)
    axis.set_title(drawable(title))
    if len(words) > 1:
        axis.legend(fontsize=8)
    grid(axis)
    takeaway = " ".join(words)
    table = text_table([_("run"), _("steps"), _("first loss"), _("last loss")], lines, right=range(1, 4))
    alt = _("Line chart of the loss over the steps. {takeaway}").format(takeaway=takeaway)
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(table, takeaway), rows=rows)


def _held_out(axis: Axes, name: str, points: Sequence[tuple[int, float]], style: Style) -> str:
    """Draw the held-out loss of one run with a mark at each measurement. Returns what it shows in words."""
    steps, losses = [step for step, _loss in points], [loss for _step, loss in points]
    label = _("{name}, held out").format(name=drawable(name))
    plot_line(axis, steps, losses, style._replace(line=(0, (4, 2))), 4, label)
    return _(
        "{name}, held out: {first:.2f} at first, lowest after step {step} ({least:.2f}), {last:.2f} at last."
    ).format(name=name, first=losses[0], step=steps[losses.index(min(losses))], least=min(losses), last=losses[-1])


def learned_and_kept(table: Table, *, title: str = "") -> Figure:
    """Draw what each training learned (upwards) and what the model kept of the old (to the right).

    Args:
        table: rows with "name" (what is written at the point), "group" (points of one group are joined), "new" and
            "old", both shares from 0 to 1.
        title: a line above the picture.

    Raises:
        BadRequest: there is no row.

    Example:
        learned_and_kept([{"name": "20 steps", "group": "rank 4", "new": 0.4, "old": 0.9}])
    """
    rows = records(table)
    if not rows:
        raise BadRequest(_("There is nothing to draw."), _("Give at least one row."))
    groups: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        groups.setdefault(str(row["group"]), []).append(row)
    fig, (axis,) = canvas(6.4, 4.2, 1)
    for number, ((group, members), style) in enumerate(zip(groups.items(), STYLES * len(groups))):
        old, new = [float(str(row["old"])) for row in members], [float(str(row["new"])) for row in members]
        plot_line(axis, old, new, style, 6, drawable(group))
        for row, x, y in zip(members, old, new):
            # Above the points of one group, below those of the next; at the right edge, to their left.
            side, up = ("right", -6) if x > 0.85 else ("left", 6), -12 if number % 2 else 4
            annotate(axis, drawable(str(row["name"])), (x, y), right=side[1], up=up, align=side[0])
    axis.set_xlabel(_("old facts still right (share)"))
    axis.set_ylabel(_("new facts right (share)"))
    axis.set_xlim(-0.03, 1.12)
    axis.set_ylim(-0.03, 1.08)
    axis.set_title(drawable(title))
    axis.legend(fontsize=8, loc="best")
    grid(axis)
    best = max(rows, key=lambda row: float(row["new"]) + float(row["old"]))
    takeaway = _("Up is learned, right is kept. Best in both: {group}, {name}: {new:.2f} new, {old:.2f} old.").format(
        group=best["group"], name=best["name"], new=float(best["new"]), old=float(best["old"])
    )
    text = text_table(
        [_("group"), _("point"), _("new"), _("old")],
        [[row["group"], row["name"], f"{float(row['new']):.2f}", f"{float(row['old']):.2f}"] for row in rows],
        right=(2, 3),
    )
    alt = _("{count} points: the share of new facts that are right over the share of old ones. {takeaway}").format(
        count=len(rows), takeaway=takeaway
    )
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(text, takeaway), rows=rows)
