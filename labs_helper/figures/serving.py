"""Pictures of a server under load: what all clients get together, and what each of them waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, records
from labs_helper.figures.canvas import STYLES, canvas, drawable, grid, plot_line
from labs_helper.figures.text import joined, text_table

if TYPE_CHECKING:
    from labs_helper.figures.base import Table


def load_curve(table: Table, *, title: str = "") -> Figure:
    """Draw tokens a second in all, time to the first text and time for each further token over the number of clients.

    Args:
        table: rows with "server" (a line each), "clients", "tokens_per_second", "first" and "per_token", the last two
            in seconds.
        title: a line above the picture.

    Raises:
        BadRequest: there is no row.

    Example:
        load_curve([{"server": "plain", "clients": 1, "tokens_per_second": 120, "first": 0.03, "per_token": 0.005}])
    """
    rows = sorted(records(table), key=lambda row: (str(row["server"]), int(row["clients"])))
    if not rows:
        raise BadRequest(_("There is nothing to draw."), _("Measure at least one number of clients."))
    lines: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        lines.setdefault(str(row["server"]), []).append(
            {
                "clients": float(row["clients"]),
                "rate": float(row["tokens_per_second"]),
                "first": 1000 * float(row["first"]),
                "each": 1000 * float(row["per_token"]),
            }
        )
    fig, axes = canvas(9.6, 3.2, 3)
    panels = (
        ("rate", _("tokens/s of all clients")),
        ("first", _("ms to the first text")),
        ("each", _("ms for each further token")),
    )
    for axis, (column, label) in zip(axes, panels):
        for (server, points), style in zip(lines.items(), STYLES * len(lines)):
            clients = [point["clients"] for point in points]
            plot_line(axis, clients, [point[column] for point in points], style, 4, drawable(server))
        axis.set_xlabel(_("clients at the same time"))
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        grid(axis)
    axes[0].legend(fontsize=8)
    if title:
        fig.suptitle(drawable(title), fontsize=10)
    takeaway = " ".join(_gain(server, points) for server, points in lines.items())
    text = text_table(
        [_("server"), _("clients"), _("tokens/s"), _("first ms"), _("ms a token")],
        [
            [server, f"{point['clients']:.0f}", f"{point['rate']:.0f}", f"{point['first']:.0f}", f"{point['each']:.1f}"]
            for server, points in lines.items()
            for point in points
        ],
        right=range(1, 5),
    )
    alt = _(
        "Three line charts over the number of clients: tokens a second in all, time to the first text, and time for "
        "each further token. {takeaway}"
    ).format(takeaway=takeaway)
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(text, takeaway), rows=rows)


def _gain(server: str, points: list[dict[str, float]]) -> str:
    """What the most clients get together, against the fewest."""
    few, many = points[0], points[-1]
    return _("{server}: {many:.0f} clients get {gain:.1f} times the tokens of {few:.0f}.").format(
        server=server, many=many["clients"], few=few["clients"], gain=many["rate"] / few["rate"] if few["rate"] else 0
    )
