"""From a record of experts to numbers: what all figures about experts read.

They take an `Answer` that was asked for with record_experts=True, its `routing`, or a frame of it. The frames of
several answers are joined with pandas.concat. An expert is named by its number everywhere; colour and pattern only
repeat it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.canvas import drawable
from labs_helper.figures.text import text_table

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from labs_helper.engines.experts import Routing
    from labs_helper.models.answers import Answer

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int_]
    Record = Answer | Routing | pandas.DataFrame

EXPERTS = 16  # of every phimoe that there is: Phi-3.5-MoE, its two small siblings, moe-tiny
_NEEDED = ("position", "token", "part", "layer", "expert", "rank", "weight")
_MOST_NUMBERS = 12  # layers up to which a heat map has room for a number in every cell


def routing_frame(record: Record, rank: int | None = None) -> pandas.DataFrame:
    """The frame of a record, of one rank or of both.

    Raises:
        BadRequest: it is no record of experts, or has no rows.
    """
    inner: Any = getattr(record, "routing", record)
    frame: pandas.DataFrame = inner.frame() if hasattr(inner, "frame") else inner
    missing = [name for name in _NEEDED if name not in getattr(frame, "columns", ())]
    if missing:
        raise BadRequest(
            _("This is not a record of experts: it lacks {columns}.").format(columns=", ".join(missing)),
            _('Give an answer of load("moe").ask(..., record_experts=True), or its routing.'),
        )
    if rank is not None:
        frame = frame[frame["rank"] == rank]
    if not len(frame):
        raise BadRequest(_("There is nothing to draw: the record has no rows."), _("Use rank 1 or 2, or ask again."))
    return frame


def layers_of(frame: pandas.DataFrame) -> list[int]:
    """The numbers of the layers in a frame, sorted."""
    return sorted(int(layer) for layer in frame["layer"].unique())


def counted(frame: pandas.DataFrame, experts: int, groups: Integers | None = None) -> Floats:
    """How often each expert was chosen: an array (groups, layers, experts).

    Args:
        frame: of `routing_frame`.
        experts: how many a layer has.
        groups: the number of each row's group, from 0; one group when left out.

    Raises:
        BadRequest: the frame names an expert beyond the last.
    """
    import numpy as np

    chosen = frame["expert"].to_numpy(dtype=int)
    if not 0 <= chosen.min() <= chosen.max() < experts:
        raise BadRequest(
            _("The record names expert {expert}.").format(expert=chosen.max()),
            _("Give experts=, it is {experts} now.").format(experts=experts),
        )
    layers = layers_of(frame)
    group_of_row = np.zeros(len(frame), dtype=int) if groups is None else groups
    layer_of_row = np.searchsorted(layers, frame["layer"].to_numpy(dtype=int))
    counts = np.zeros((group_of_row.max() + 1, len(layers), experts))
    np.add.at(counts, (group_of_row, layer_of_row, chosen), 1)
    return counts


def shares_of(frame: pandas.DataFrame, experts: int = EXPERTS) -> tuple[Floats, list[int]]:
    """Each layer's tokens by expert, scaled to 1: an array (layers, experts), and the numbers of the layers.

    Example:
        shares_of(answer.routing.frame())[0].sum(axis=1)
    """
    (counts,) = counted(frame, experts)
    shares: Floats = counts / counts.sum(1, keepdims=True)
    return shares, layers_of(frame)


def heat_map(
    axis: Axes, shares: Floats, labels: Sequence[object], what: str, title: str, top: float | None = None
) -> None:
    """A heat map of shares on a matplotlib axis, with a number in every cell where there is room.

    Args:
        axis: to draw on.
        shares: (rows, experts).
        labels: of the rows.
        what: what the rows are.
        title: above the map.
        top: the share that gets the lightest colour; the largest one when left out.
    """
    top = max(float(shares.max() if top is None else top), 1e-9)
    axis.imshow(shares, cmap="cividis", vmin=0, vmax=top, aspect="auto", interpolation="none")
    if len(shares) <= _MOST_NUMBERS:
        for i, row in enumerate(shares):
            for j, value in enumerate(row):
                colour = "white" if value < 0.55 * top else "black"
                axis.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
    axis.set_xticks(range(shares.shape[1]), [str(expert) for expert in range(shares.shape[1])], fontsize=7.5)
    axis.set_yticks(range(len(shares)), [drawable(str(label)) for label in labels], fontsize=8)
    axis.set(title=drawable(title), xlabel=_("expert (cells: per cent of the row)"), ylabel=what)


def share_table(what: str, labels: Sequence[object], shares: Floats) -> str:
    """Shares in per cent as plain text, one row for each label."""
    columns = [what, *(str(expert) for expert in range(shares.shape[1]))]
    cells = [[str(label), *(f"{100 * value:.0f}" for value in row)] for label, row in zip(labels, shares, strict=True)]
    return text_table(columns, cells, right=range(1, len(columns)))
