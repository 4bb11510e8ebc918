"""Whether experts take sides: what a token's expert tells about the topic of its conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labs_helper.common.information import by_topic, information_and_chance
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row
from labs_helper.figures.canvas import STYLES, annotate, canvas, drawable
from labs_helper.figures.routing import EXPERTS, counted, heat_map, layers_of, routing_frame, share_table
from labs_helper.figures.text import joined, text_table

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from labs_helper.figures.routing import Floats, Integers


def specialisation(
    frame: pandas.DataFrame,
    *,
    by: str = "topic",
    unit: str = "conversation",
    shuffles: int = 200,
    seed: int = 0,
    takeaway: str = "",
    experts: int = EXPERTS,
) -> Figure:
    """Measure whether experts specialise: how much a token's first expert tells about the topic, against chance.

    The number is the normalised mutual information of topic and expert, in each layer: 0 if the expert says nothing
    about the topic, 1 if it gives it away. A small sample shows a little of it even where there is nothing, so the
    topics are also shuffled among the conversations, many times: that is chance. Every topic counts the same.

    Args:
        frame: frames of `routing`, joined, with two more columns: `by` and `unit`.
        by: the column with the topic (or language).
        unit: the column that tells conversations apart.
        shuffles: how often the topics are shuffled.
        seed: of the shuffling.
        takeaway: the sentence below.
        experts: how many a layer has.

    Returns:
        Figure: `rows` has information, chance (mean), chance_95 (the 95th percentile) and p of every layer.

    Raises:
        BadRequest: a column is missing, there are fewer than two topics, or a conversation has two of them.

    Example:
        specialisation(pandas.concat(parts, ignore_index=True))
    """
    frame = routing_frame(frame, 1)
    topics, topic_of, unit_of_row = _topics(frame, by, unit)
    counts = counted(frame, experts, unit_of_row)
    layers = layers_of(frame)
    information, shuffled = information_and_chance(counts, topic_of, shuffles, seed)
    rows = _layer_rows(layers, information, shuffled)
    best = int(information.argmax())
    shares = by_topic(counts, topic_of)[:, best]
    top = rows[best]
    summary = _(
        "In layer {layer} the first expert and the {by} share {information:.2f} of their information (0: none, 1: "
        "all); with shuffled topics it is {chance:.2f}, and below {most:.2f} in 95 of 100 shuffles."
    ).format(layer=top["layer"], by=by, information=top["information"], chance=top["chance"], most=top["chance_95"])
    table = text_table(
        [_("layer"), _("mutual information"), _("chance"), _("95% of shuffles below"), "p"],
        [[r["layer"], *(f"{r[key]:.3f}" for key in ("information", "chance", "chance_95", "p"))] for r in rows],
        right=range(5),
    )
    above = _("layer {layer}, in per cent of each {by}").format(layer=top["layer"], by=by)
    alt = _(
        "Above, a heat map of {topics} values of {by} by {experts} experts in layer {layer}. Below, mutual information "
        "of {layers} layers against chance. {summary}"
    ).format(topics=len(topics), by=by, experts=experts, layer=top["layer"], layers=len(layers), summary=summary)
    fig = _draw(shares, rows, topics, by, top["layer"])
    text = joined(table, above, share_table(by, topics, shares), summary, takeaway)
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=text, rows=rows)


def _topics(frame: pandas.DataFrame, by: str, unit: str) -> tuple[list[object], Integers, Integers]:
    """The topics, the number of each conversation's topic, and the number of each row's conversation."""
    import numpy as np

    if missing := {by, unit} - set(frame):
        raise BadRequest(
            _("The table lacks: {columns}.").format(columns=", ".join(sorted(missing))),
            _("Add them to each answer: answer.routing.frame().assign({by}='Korean', {unit}=7).").format(
                by=by, unit=unit
            ),
        )
    topics: list[object] = list(dict.fromkeys(frame[by]))
    units, unit_of_row = np.unique(frame[unit].astype(str).to_numpy(dtype=str), return_inverse=True)
    topic_of_row = np.array([topics.index(topic) for topic in frame[by]])
    topic_of = np.zeros(len(units), dtype=int)
    topic_of[unit_of_row] = topic_of_row
    if (topic_of[unit_of_row] != topic_of_row).any():
        raise BadRequest(
            _("One {unit} has several values of {by}.").format(unit=unit, by=by),
            _("Give each {unit} a number of its own.").format(unit=unit),
        )
    if len(topics) < 2:
        raise BadRequest(
            _("There is only one {by}: nothing to tell apart.").format(by=by), _("Ask about at least two.")
        )
    return topics, topic_of, unit_of_row


def _layer_rows(layers: Sequence[int], information: Floats, shuffled: Floats) -> list[Row]:
    import numpy as np

    return [
        {
            "layer": layer,
            "information": float(information[i]),
            "chance": float(shuffled[:, i].mean()),
            "chance_95": float(np.quantile(shuffled[:, i], 0.95)),
            "p": float((1 + (shuffled[:, i] >= information[i]).sum()) / (1 + len(shuffled))),
        }
        for i, layer in enumerate(layers)
    ]


def _draw(shares: Floats, rows: Sequence[Row], topics: Sequence[object], by: str, layer: int) -> Canvas:
    fig, (above, below) = canvas(8.0, 4.2 + 0.32 * len(topics), 2, stacked=True)
    heat_map(above, shares, topics, by, _("First experts of each {by} in layer {layer}").format(by=by, layer=layer))
    _draw_information(below, rows, by)
    return fig


def _draw_information(axis: Axes, rows: Sequence[Row], by: str) -> None:
    places = range(len(rows))
    lines = (("information", _("measured")), ("chance_95", _("95% of shuffles stay below")))
    for (key, words), style in zip(lines, STYLES, strict=False):
        values = [row[key] for row in rows]
        axis.plot(places, values, color=style.colour, linestyle=style.line, marker=style.mark, label=words)
    for place, row in enumerate(rows):
        annotate(axis, f"{row['information']:.2f}", (place, row["information"]), up=5)
    axis.set_xticks(places, [str(row["layer"]) for row in rows])
    axis.set(
        title=_("What the expert says about the {by}").format(by=drawable(by)),
        xlabel=_("layer"),
        ylabel=_("normalised mutual information"),
        ylim=(0, 1.05),
    )
    axis.legend(fontsize=8)
