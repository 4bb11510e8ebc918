"""Which experts the tokens of a mixture of experts go to: token by token, by layer, prompt against prompt."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labs_helper.common.markup import escape
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, caption, heading
from labs_helper.figures.canvas import annotate, canvas, drawable
from labs_helper.figures.routing import EXPERTS, heat_map, layers_of, routing_frame, share_table, shares_of
from labs_helper.figures.text import joined, shorten, text_table, visible
from labs_helper.figures.tokens import BOX

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure as Canvas

    from labs_helper.figures.routing import Floats, Record

_EXPERT_BOX = f"{BOX};color:#111;min-width:1.6em;"
_EDGES = ("solid", "dashed", "dotted", "double")


# -- token by token --------------------------------------------------------------------------------------------------


def expert_tokens(record: Record, layer: int = 0, *, title: str = "", takeaway: str = "") -> Figure:
    """Mark each token with the expert that its layer sent it to.

    The large number under a token is its first expert, the small one its second. Each expert also has a colour of its
    own, and a line of its own under the token.

    Args:
        record: an `Answer` that was asked for with record_experts=True, its `routing`, or a frame of it.
        layer: which layer, from 0.
        title: a heading above the tokens.
        takeaway: the sentence below.

    Raises:
        BadRequest: the routing was not recorded, columns are missing, or there is no such layer.

    Example:
        expert_tokens(load("moe").ask("2 + 2?", record_experts=True))
    """
    frame = routing_frame(record)
    layers = layers_of(frame)
    if layer not in layers:
        raise BadRequest(
            _("There is no layer {layer!r} in this record.").format(layer=layer),
            _("Use {first} to {last}.").format(first=layers[0], last=layers[-1]),
        )
    rows = _token_rows(frame, layer)
    counts = Counter(row["first"] for row in rows)
    most = max(counts, key=lambda expert: (counts[expert], -expert))
    summary = _(
        "In layer {layer}, {used} of {experts} experts come first for at least one of {tokens} tokens; expert {most} "
        "most often ({times} tokens)."
    ).format(layer=layer, used=len(counts), experts=EXPERTS, tokens=len(rows), most=most, times=counts[most])
    boxes = ""
    for part, words in (("prompt", _("In layer {layer}: prompt")), ("answer", _("In layer {layer}: answer"))):
        if own := [row for row in rows if row["part"] == part]:
            label = escape(words.format(layer=layer))
            boxes += f"<p style='margin:0.3em 0'><small>{label}</small></p><div>{''.join(map(_box, own))}</div>"
    alt = _("{tokens} tokens, each with the numbers of its two experts in layer {layer}. {summary}")
    return Figure(
        html=f'<figure style="margin:0.5em 0">{heading(title)}{boxes}{caption(takeaway)}</figure>',
        text=joined(title, _token_table(rows), summary, takeaway),
        alt=alt.format(tokens=len(rows), layer=layer, summary=summary),
        takeaway=takeaway,
        rows=tuple(rows),
    )


def _token_rows(frame: pandas.DataFrame, layer: int) -> list[Row]:
    """One row for each token of a layer, with both of its experts."""
    rows: dict[int, Row] = {}
    own = frame[frame["layer"] == layer].sort_values(["position", "rank"])
    for fact in own.to_dict("records"):
        position = int(fact["position"])
        row = rows.setdefault(position, {"position": position, "token": fact["token"], "part": fact["part"]})
        which = "first" if fact["rank"] == 1 else "second"
        row[which], row[f"{which} weight"] = int(fact["expert"]), float(fact["weight"])
    order = ("position", "token", "part", "first", "second", "first weight", "second weight")
    return [{key: row[key] for key in order} for row in rows.values()]


def _token_table(rows: Sequence[Row]) -> str:
    return text_table(
        ["#", _("token"), _("part"), _("first"), _("weight"), _("second"), _("weight")],
        [
            [
                row["position"],
                visible(row["token"]),
                _("prompt") if row["part"] == "prompt" else _("answer"),
                row["first"],
                f"{row['first weight']:.2f}",
                row["second"],
                f"{row['second weight']:.2f}",
            ]
            for row in rows
        ],
        right=[0, 3, 4, 5, 6],
    )


def _box(row: Row) -> str:
    first, second = row["first"], row["second"]
    edge = _EDGES[first // 4 % 4]
    hover = _(
        "token {position}: expert {first} with weight {first_weight:.2f}, expert {second} with weight "
        "{second_weight:.2f}"
    ).format(
        position=row["position"],
        first=first,
        first_weight=row["first weight"],
        second=second,
        second_weight=row["second weight"],
    )
    style = f"{_EXPERT_BOX}background:{_colour(first)};border-bottom:3px {edge} #333"
    return (
        f'<span style="{style}" title="{escape(hover)}">'
        f'<span style="font-family:monospace;display:block;min-height:1.4em">{escape(visible(row["token"]))}</span> '
        f"<strong>{first}</strong> <small>{second}</small></span> "
    )


def _colour(expert: int) -> str:
    """A light colour for each expert, far from its neighbours' and readable under black letters."""
    red, green, blue = colorsys.hls_to_rgb(expert * 0.382 % 1, 0.86 if expert % 2 else 0.74, 0.75)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


# -- layer by layer --------------------------------------------------------------------------------------------------


def expert_map(
    record: Record, *, rank: int | None = None, title: str = "", takeaway: str = "", experts: int = EXPERTS
) -> Figure:
    """Draw how large a share of a layer's choices each of its experts gets.

    Args:
        record: as for `expert_tokens`.
        rank: 1 for the first experts only, 2 for the second; None counts both.
        title: shown above.
        takeaway: the sentence below.
        experts: how many a layer has; those that got no token are drawn too.

    Raises:
        BadRequest: as for `expert_tokens`, or an expert's number is too large.

    Example:
        expert_map(answer)
    """
    shares, layers = shares_of(routing_frame(record, rank), experts)
    if not title and rank is None:
        title = _("Which experts are chosen, first or second, in each layer")
    elif not title:
        title = (
            _("Which experts come first in each layer") if rank == 1 else _("Which experts come second in each layer")
        )
    layer, expert = divmod(int(shares.argmax()), experts)
    idle = int((shares == 0).sum())
    summary = _(
        "The busiest is expert {expert} of layer {layer} with {share:.0%} of its choices; an even share would be "
        "{even:.1%}. {idle}"
    ).format(
        expert=expert,
        layer=layers[layer],
        share=shares[layer, expert],
        even=1 / experts,
        idle=_idle(idle, shares.size),
    )
    fig, (axis,) = canvas(8.0, 1.4 + min(0.34 * len(layers), 7), 1)
    heat_map(axis, shares, layers, _("layer"), title)
    alt = _("Heat map of {layers} layers by {experts} experts; each cell is a share of the layer's choices. {summary}")
    above = _("{title}, in per cent").format(title=title)
    return Figure.from_matplotlib(
        fig,
        alt=alt.format(layers=len(layers), experts=experts, summary=summary),
        takeaway=takeaway,
        text=joined(above, share_table(_("layer"), layers, shares), summary, takeaway),
        rows=[
            {"layer": at, "expert": e, "share": float(shares[i, e])}
            for i, at in enumerate(layers)
            for e in range(experts)
        ],
    )


def _idle(idle: int, cells: int) -> str:
    if not idle:
        return _("Every expert is used.")
    return _("{idle} of {cells} experts got no token here.").format(idle=idle, cells=cells)


def expert_load(record: Record, *, title: str | None = None, takeaway: str = "", experts: int = EXPERTS) -> Figure:
    """Draw how evenly the tokens of each layer are spread over its experts.

    Each column is a layer and each dot an expert, from the idlest to the busiest; the dashed line is an even share.

    Args:
        record: as for `expert_tokens`; better the frames of many answers joined, since one prompt is no balance.
        title: shown above; "Load of the experts" when left out.
        takeaway: the sentence below.
        experts: how many a layer has.

    Raises:
        BadRequest: as for `expert_map`.

    Example:
        expert_load(pandas.concat([answer.routing.frame() for answer in answers]))
    """
    title = _("Load of the experts") if title is None else title
    frame = routing_frame(record)
    shares, layers = shares_of(frame, experts)
    rows: list[Row] = [
        {
            "layer": layer,
            "idlest": int(row.argmin()),
            "least": float(row.min()),
            "busiest": int(row.argmax()),
            "most": float(row.max()),
            "idle experts": int((row == 0).sum()),
        }
        for layer, row in zip(layers, shares, strict=True)
    ]
    worst = max(rows, key=lambda row: float(row["most"]))
    summary = _(
        "The load is most uneven in layer {layer}, where expert {busiest} gets {most:.0%}; the smallest share of all "
        "is {least:.1%}, an even one {even:.1%}."
    ).format(
        layer=worst["layer"],
        busiest=worst["busiest"],
        most=worst["most"],
        least=min(row["least"] for row in rows),
        even=1 / experts,
    )
    table = text_table(
        [_("layer"), _("idlest"), _("least"), _("busiest"), _("most"), _("idle experts")],
        [
            [r["layer"], r["idlest"], f"{r['least']:.1%}", r["busiest"], f"{r['most']:.1%}", r["idle experts"]]
            for r in rows
        ],
        right=range(6),
    )
    alt = _("For each of {layers} layers {experts} dots: each expert's share of {choices:,} choices. {summary}")
    choices = int((frame["layer"] == layers[0]).sum())
    return Figure.from_matplotlib(
        _draw_load(shares, layers, title),
        alt=alt.format(layers=len(layers), experts=experts, choices=choices, summary=summary),
        takeaway=takeaway,
        text=joined(title, table, summary, takeaway),
        rows=rows,
    )


def _draw_load(shares: Floats, layers: Sequence[int], title: str) -> Canvas:
    from matplotlib.ticker import MultipleLocator

    experts = shares.shape[1]
    fig, (axis,) = canvas(min(8.0, max(5.0, 1.8 + 0.55 * len(layers))), 3.6, 1)
    for i, row in enumerate(shares):
        axis.vlines(i, row.min(), row.max(), color="#0072B2", linewidth=1.2)
        axis.plot([i] * experts, row, "o", color="#0072B2", markersize=4, markerfacecolor="white")
        for expert, up in ((int(row.argmax()), 6), (int(row.argmin()), -12)):
            annotate(axis, f"{expert}", (i, float(row[expert])), up=up)
    axis.axhline(1 / experts, color="#333333", linestyle="--", linewidth=1)
    # Beside the axis, where no dots are.
    axis.annotate(
        _("even share,\n{share:.1%}").format(share=1 / experts),
        (1, 1 / experts),
        xycoords=axis.get_yaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )
    axis.set_xlim(-0.45, len(layers) - 0.55)
    axis.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    top = float(shares.max())
    step = next(step for step in (0.05, 0.1, 0.2) if top / step <= 6)
    axis.yaxis.set_major_locator(MultipleLocator(step))
    axis.yaxis.set_major_formatter(lambda value, _position: f"{value:.0%}")
    axis.set_ylim(-0.12 * top, 1.15 * top)
    axis.set(
        title=drawable(title),
        xlabel=_("layer (numbers: most and least used expert)"),
        ylabel=_("share of the layer's choices"),
    )
    return fig


# -- prompt against prompt -------------------------------------------------------------------------------------------


def compare_experts(
    first: Record,
    second: Record,
    names: tuple[str, str] | None = None,
    *,
    rank: int | None = 1,
    takeaway: str = "",
    experts: int = EXPERTS,
) -> Figure:
    """Draw the experts of two prompts one below the other, and say how much they share.

    The overlap of a layer is the sum over its experts of the smaller of the two shares: 1 if both prompts use the
    experts alike, 0 if they have none in common.

    Args:
        first: as for `expert_tokens`.
        second: the same, of another prompt.
        names: what to call them; "first prompt" and "second prompt" when left out.
        rank: 1 counts the first expert of each token; None counts both.
        takeaway: the sentence below.
        experts: how many a layer has.

    Raises:
        BadRequest: as for `expert_map`, or the two come from models with different layers.

    Example:
        compare_experts(korean, python, ("Korean", "Python"))
    """
    import numpy as np

    (left, layers), (right, others) = (shares_of(routing_frame(record, rank), experts) for record in (first, second))
    if layers != others:
        raise BadRequest(_("The two records have different layers."), _("Compare two answers of one model."))
    overlap = np.minimum(left, right).sum(axis=1)
    names = names or (_("first prompt"), _("second prompt"))
    names = shorten(str(names[0]), 40), shorten(str(names[1]), 40)
    summary = _overlap_summary(overlap, layers)
    rows: list[Row] = [
        {
            "layer": layer,
            "overlap": float(overlap[i]),
            "first's busiest": int(left[i].argmax()),
            "second's busiest": int(right[i].argmax()),
        }
        for i, layer in enumerate(layers)
    ]
    tables: list[str] = []
    for name, shares in zip(names, (left, right), strict=True):
        tables += [_("{title}, in per cent").format(title=name), share_table(_("layer"), layers, shares)]
    cells = [[row["layer"], f"{row['overlap']:.0%}"] for row in rows]
    tables.append(text_table([_("layer"), _("overlap")], cells, right=[0, 1]))
    alt = _("Two heat maps of {layers} layers by {experts} experts: {first}, and {second}. {summary}")
    return Figure.from_matplotlib(
        _draw_two(left, right, layers, overlap, names),
        alt=alt.format(layers=len(layers), experts=experts, first=names[0], second=names[1], summary=summary),
        takeaway=takeaway,
        text=joined(*tables, summary, takeaway),
        rows=rows,
    )


def _overlap_summary(overlap: Floats, layers: Sequence[int]) -> str:
    least, most = int(overlap.argmin()), int(overlap.argmax())
    return _(
        "The two prompts share {mean:.0%} of their choices on average; least in layer {least} ({least_share:.0%}), "
        "most in layer {most} ({most_share:.0%})."
    ).format(
        mean=overlap.mean(),
        least=layers[least],
        least_share=overlap[least],
        most=layers[most],
        most_share=overlap[most],
    )


def _draw_two(left: Floats, right: Floats, layers: Sequence[int], overlap: Floats, names: tuple[str, str]) -> Canvas:
    fig, axes = canvas(8.0, 2 * (1.1 + min(0.3 * len(layers), 7)), 2, stacked=True)
    labels = [f"{layer} ({shared:.0%})" for layer, shared in zip(layers, overlap, strict=True)]
    top = float(max(left.max(), right.max()))
    for axis, shares, name in zip(axes, (left, right), names, strict=True):
        heat_map(axis, shares, labels, _("layer (overlap)"), name, top=top)
    axes[0].set_xlabel("")
    return fig
