"""Which experts the tokens of a mixture of experts go to: token by token, by layer, by topic, prompt against prompt.

All of these take the frame of `Answer.routing`, or the Answer itself. Several answers are joined with pandas.concat.
An expert is named by its number everywhere; colour and pattern only repeat it.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, caption
from labs_helper.figures.plots import _STYLES, _canvas, latin
from labs_helper.figures.text import shorten, text_table, visible

if TYPE_CHECKING:
    import numpy as np
    import pandas

EXPERTS = 16  # of every phimoe that there is: Phi-3.5-MoE, its two small siblings, moe-tiny
_NEEDED = ("position", "token", "part", "layer", "expert", "rank", "weight")
_BOX = (
    "display:inline-block;margin:0 2px 6px 0;padding:1px 3px;text-align:center;vertical-align:top;line-height:1.35;"
    "color:#111;min-width:1.6em;"
)
_EDGES = ("solid", "dashed", "dotted", "double")
_MOST_NUMBERS = 12  # layers up to which a heat map has room for a number in every cell


def expert_tokens(routing: Any, layer: int = 0, *, title: str = "") -> Figure:
    """Mark each token with the expert that its layer sent it to.

    The large number under a token is its first expert, the small one its second. Each expert also has a colour of its
    own, and a line of its own under the token.

    Arguments:
        routing: an `Answer` that was asked for with record_experts=True, or its `routing`.
        layer: which layer, from 0.
        title: a heading above the tokens.

    Raises:
        BadRequest: the routing was not recorded, columns are missing, or there is no such layer.

    Example:
        >>> expert_tokens(load("moe").ask("2 + 2?", record_experts=True))     # doctest: +SKIP
    """
    frame = _frame(routing)
    layers = sorted(frame["layer"].unique())
    if layer not in layers:
        raise BadRequest(f"There is no layer {layer!r} in this record.", f"Use {layers[0]} to {layers[-1]}.")
    wide = frame[frame["layer"] == layer].pivot(index="position", columns="rank", values=["expert", "weight"])
    tokens = frame.drop_duplicates("position").set_index("position")
    rows = [
        {
            "position": int(position),
            "token": tokens.at[position, "token"],
            "part": tokens.at[position, "part"],
            "first": int(wide.at[position, ("expert", 1)]),
            "second": int(wide.at[position, ("expert", 2)]),
            "first weight": float(wide.at[position, ("weight", 1)]),
            "second weight": float(wide.at[position, ("weight", 2)]),
        }
        for position in wide.index
    ]
    boxes = ""
    for part in ("prompt", "answer"):
        own = [row for row in rows if row["part"] == part]
        if own:
            boxes += f"<p style='margin:0.3em 0'><small>{part}</small></p><div>{''.join(map(_box, own))}</div>"
    counts = _counts(row["first"] for row in rows)
    most = max(counts, key=lambda expert: (counts[expert], -expert))
    takeaway = (
        f"In layer {layer}, {len(counts)} of {EXPERTS} experts come first for at least one of {len(rows)} tokens; "
        f"expert {most} most often ({counts[most]} tokens)."
    )
    columns = ["#", "token", "part", "first", "weight", "second", "weight"]
    table = text_table(
        columns,
        [
            [
                r["position"],
                visible(r["token"]),
                r["part"],
                r["first"],
                f"{r['first weight']:.2f}",
                r["second"],
                f"{r['second weight']:.2f}",
            ]
            for r in rows
        ],
        right=[0, 3, 4, 5, 6],
    )
    heading = f"<p><strong>{escape(title)}</strong></p>" if title else ""
    html = f'<figure style="margin:0.5em 0">{heading}{boxes}{caption(takeaway)}</figure>'
    alt = f"{len(rows)} tokens, each with the numbers of its two experts in layer {layer}. {takeaway}"
    text = "\n".join(part for part in (title, table, takeaway) if part)
    return Figure(html=html, text=text, alt=alt, takeaway=takeaway, rows=tuple(rows))


def expert_map(routing: Any, *, rank: int | None = None, title: str = "", experts: int = EXPERTS) -> Figure:
    """Draw how large a share of the tokens each expert of each layer gets.

    Arguments:
        routing: an `Answer` or its `routing`.
        rank: 1 for the first experts only, 2 for the second; None counts both.
        title: shown above.
        experts: how many a layer has; those that got no token are drawn too.

    Raises:
        BadRequest: as for `expert_tokens`, or an expert's number is too large.

    Example:
        >>> expert_map(answer)                                                # doctest: +SKIP
    """
    frame = _frame(routing, rank)
    shares, layers = shares_of(frame, experts)
    title = title or f"Share of tokens by layer and expert{'' if rank is None else f' (rank {rank})'}"
    fig, axes = _canvas(8.6, 1.4 + min(0.34 * len(layers), 7), 1)
    _heat(axes[0], shares, layers, "layer", title)
    place = shares.argmax()
    layer, expert = place // experts, place % experts
    idle = int((shares == 0).sum())
    takeaway = (
        f"The busiest is expert {expert} of layer {layers[layer]} with {shares[layer, expert]:.0%} of the choices; an "
        f"even share would be {1 / experts:.1%}. {_idle(idle, shares.size)}"
    )
    rows = [
        {"layer": int(at), "expert": e, "share": float(shares[i, e])}
        for i, at in enumerate(layers)
        for e in range(experts)
    ]
    table = _share_table("layer", layers, shares)
    alt = f"Heat map of {len(layers)} layers by {experts} experts; each cell is a share of the tokens. {takeaway}"
    return Figure.from_matplotlib(
        fig, alt=alt, takeaway=takeaway, text="\n".join([title + ", in per cent", table, takeaway]), rows=rows
    )


def expert_load(routing: Any, *, title: str = "Load of the experts", experts: int = EXPERTS) -> Figure:
    """Draw how evenly the tokens of each layer are spread over its experts.

    One dot an expert, one column a layer, from the idlest to the busiest; the dashed line is an even share.

    Arguments:
        routing: an `Answer` or its `routing`; better many answers joined, since one prompt is no balance.
        title: shown above. experts: how many a layer has.

    Raises:
        BadRequest: as for `expert_map`.

    Example:
        >>> expert_load(pandas.concat([a.routing for a in answers]))          # doctest: +SKIP
    """
    frame = _frame(routing)
    shares, layers = shares_of(frame, experts)
    fig, axes = _canvas(max(5.0, 1.8 + 0.55 * len(layers)), 3.6, 1)
    axis = axes[0]
    for i, row in enumerate(shares):
        axis.vlines(i, row.min(), row.max(), color="#0072B2", linewidth=1.2)
        axis.plot([i] * experts, row, "o", color="#0072B2", markersize=4, markerfacecolor="white")
        for expert, up in ((int(row.argmax()), 6), (int(row.argmin()), -12)):
            axis.annotate(
                f"{expert}", (i, row[expert]), xytext=(0, up), textcoords="offset points", ha="center", fontsize=8
            )
    axis.axhline(1 / experts, color="#333333", linestyle="--", linewidth=1, label=f"even share, {1 / experts:.1%}")
    axis.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    axis.margins(y=0.15)
    axis.set_ylim(bottom=min(-0.02, axis.get_ylim()[0]))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set(title=latin(title), xlabel="layer (numbers: busiest and idlest expert)", ylabel="share of the choices")
    axis.legend(fontsize=8)
    choices = int((frame["layer"] == layers[0]).sum())
    rows = [
        {
            "layer": int(layer),
            "idlest": int(row.argmin()),
            "least": float(row.min()),
            "busiest": int(row.argmax()),
            "most": float(row.max()),
            "idle experts": int((row == 0).sum()),
        }
        for layer, row in zip(layers, shares, strict=True)
    ]
    worst = max(rows, key=lambda row: row["most"])
    least = min(row["least"] for row in rows)
    takeaway = (
        f"The load is most uneven in layer {worst['layer']}, where expert {worst['busiest']} gets {worst['most']:.0%}; "
        f"the smallest share of all is {least:.1%}, an even one {1 / experts:.1%}."
    )
    table = text_table(
        list(rows[0]),
        [
            [r["layer"], r["idlest"], f"{r['least']:.1%}", r["busiest"], f"{r['most']:.1%}", r["idle experts"]]
            for r in rows
        ],
        right=range(6),
    )
    alt = f"For each of {len(layers)} layers {experts} dots: each expert's share of {choices:,} choices. {takeaway}"
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text="\n".join([title, table, takeaway]), rows=rows)


def compare_experts(
    first: Any,
    second: Any,
    names: tuple[str, str] = ("first prompt", "second prompt"),
    *,
    rank: int | None = 1,
    experts: int = EXPERTS,
) -> Figure:
    """Draw the experts of two prompts side by side, and say how much they share.

    The overlap of a layer is the sum over its experts of the smaller of the two shares: 1 if both prompts use the
    experts alike, 0 if they have none in common.

    Arguments:
        first, second: `Answer`s or their `routing`.
        names: what to call them.
        rank: 1 counts the first expert of each token; None counts both.
        experts: how many a layer has.

    Raises:
        BadRequest: as for `expert_map`, or the two come from models with different layers.

    Example:
        >>> compare_experts(korean, python, ("Korean", "Python"))             # doctest: +SKIP
    """
    import numpy as np

    pair = [shares_of(_frame(routing, rank), experts) for routing in (first, second)]
    if list(pair[0][1]) != list(pair[1][1]):
        raise BadRequest("The two records have different layers.", "Compare two answers of one model.")
    layers = pair[0][1]
    overlap = np.minimum(pair[0][0], pair[1][0]).sum(axis=1)
    names = tuple(shorten(str(name), 40) for name in names)
    fig, axes = _canvas(11.0, 1.5 + min(0.34 * len(layers), 7), 2, share=True)
    for axis, (shares, _), name in zip(axes, pair, names, strict=True):
        labels = [f"{layer} ({shared:.0%})" for layer, shared in zip(layers, overlap, strict=True)]
        _heat(axis, shares, labels, "layer (overlap)", name, top=max(pair[0][0].max(), pair[1][0].max()))
    axes[1].set_ylabel("")
    least, most = int(overlap.argmin()), int(overlap.argmax())
    takeaway = (
        f"The two prompts share {overlap.mean():.0%} of their choices on average; least in layer {layers[least]} "
        f"({overlap[least]:.0%}), most in layer {layers[most]} ({overlap[most]:.0%})."
    )
    rows = [
        {
            "layer": int(layer),
            "overlap": float(overlap[i]),
            "first's busiest": int(pair[0][0][i].argmax()),
            "second's busiest": int(pair[1][0][i].argmax()),
        }
        for i, layer in enumerate(layers)
    ]
    tables = "\n".join(
        f"{name}, in per cent\n{_share_table('layer', layers, shares)}"
        for (shares, _), name in zip(pair, names, strict=True)
    )
    overlaps = text_table(["layer", "overlap"], [[row["layer"], f"{row['overlap']:.0%}"] for row in rows], right=[0, 1])
    alt = f"Two heat maps of {len(layers)} layers by {experts} experts: {names[0]}, and {names[1]}. {takeaway}"
    return Figure.from_matplotlib(
        fig, alt=alt, takeaway=takeaway, text="\n".join([tables, overlaps, takeaway]), rows=rows
    )


def specialisation(
    frame: pandas.DataFrame,
    *,
    by: str = "topic",
    unit: str = "conversation",
    shuffles: int = 200,
    seed: int = 0,
    experts: int = EXPERTS,
) -> Figure:
    """Measure whether experts take sides: how much a token's first expert tells about the topic, against chance.

    The number is the normalised mutual information of topic and expert, in each layer: 0 if the expert says nothing
    about the topic, 1 if it gives it away. A small sample shows a little of it even where there is nothing, so the
    topics are also dealt out to the conversations at random, many times: that is chance. Every topic counts the same.

    Arguments:
        frame: `routing` frames, joined, with two more columns: `by` and `unit`.
        by: the column with the topic (or language). unit: the column that tells conversations apart.
        shuffles: how often the topics are dealt out. seed: of that.
        experts: how many a layer has.

    Returns:
        Figure: `rows` has information, chance (mean), chance_95 (the 95th percentile) and p of every layer.

    Raises:
        BadRequest: a column is missing, there are fewer than two topics, or a conversation has two of them.

    Example:
        >>> specialisation(pandas.concat(parts, ignore_index=True))           # doctest: +SKIP
    """
    import numpy as np

    frame = _frame(frame, 1)
    missing = {by, unit} - set(frame)
    if missing:
        raise BadRequest(
            f"The table lacks: {', '.join(sorted(missing))}.",
            f"Add them to each answer: answer.routing.assign({by}='Korean', {unit}=7).",
        )
    topics = list(dict.fromkeys(frame[by]))
    units, unit_of_row = np.unique(frame[unit].astype(str), return_inverse=True)
    topic_of_row = np.array([topics.index(topic) for topic in frame[by]])
    topic_of = np.zeros(len(units), dtype=int)
    topic_of[unit_of_row] = topic_of_row
    if (topic_of[unit_of_row] != topic_of_row).any():
        raise BadRequest(f"One {unit} has several values of {by}.", f"Give each {unit} a number of its own.")
    if len(topics) < 2:
        raise BadRequest(f"There is only one {by}: nothing to tell apart.", "Ask about at least two.")
    layers = np.array(sorted(frame["layer"].unique()))
    _check_numbers(frame, experts)
    counts = np.zeros((len(units), len(layers), experts))
    np.add.at(counts, (unit_of_row, np.searchsorted(layers, frame["layer"]), frame["expert"].to_numpy()), 1)

    found = by_topic(counts, topic_of)
    information, dealt = information_and_chance(counts, topic_of, shuffles, seed)
    rows = [
        {
            "layer": int(layer),
            "information": float(information[i]),
            "chance": float(dealt[:, i].mean()),
            "chance_95": float(np.quantile(dealt[:, i], 0.95)),
            "p": float((1 + (dealt[:, i] >= information[i]).sum()) / (1 + shuffles)),
        }
        for i, layer in enumerate(layers)
    ]
    best = int(information.argmax())
    fig = _draw_specialisation(found[:, best], rows, topics, by, layers[best])
    top = rows[best]
    takeaway = (
        f"In layer {top['layer']} the first expert and the {by} share {top['information']:.2f} of their information "
        f"(0: none, 1: all); dealt out at random it is {top['chance']:.2f}, and below {top['chance_95']:.2f} in 95 of "
        f"100 deals."
    )
    table = text_table(
        ["layer", "mutual information", "chance", "95 % of chance below", "p"],
        [[r["layer"], *(f"{r[key]:.3f}" for key in ("information", "chance", "chance_95", "p"))] for r in rows],
        right=range(5),
    )
    shares = _share_table(by, topics, found[:, best])
    alt = (
        f"Left, a heat map of {len(topics)} values of {by} by {experts} experts in layer {top['layer']}. Right, mutual "
        f"information of {len(layers)} layers against chance. {takeaway}"
    )
    text = "\n".join([table, f"layer {top['layer']}, in per cent of each {by}", shares, takeaway])
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=text, rows=rows)


def by_topic(counts: np.ndarray, topic_of: np.ndarray) -> np.ndarray:
    """How the tokens of each topic spread over the experts of each layer: (topics, layers, experts), scaled to 1.

    Arguments:
        counts: of each expert in each conversation, (conversations, layers, experts).
        topic_of: the number of each conversation's topic, from 0, none left out.

    Example:
        >>> by_topic(numpy.ones((2, 1, 4)), numpy.array([0, 1])).shape        # doctest: +SKIP
        (2, 1, 4)
    """
    import numpy as np

    sums = np.stack([counts[topic_of == place].sum(0) for place in range(topic_of.max() + 1)])
    return sums / sums.sum(2, keepdims=True)


def information_and_chance(
    counts: np.ndarray, topic_of: np.ndarray, shuffles: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information of topic and expert: of each layer, and again with the topics dealt out at random.

    Arguments: as for `by_topic`; shuffles: how often the topics are dealt out. seed: of that.
    Returns: arrays (layers) and (shuffles, layers).

    Example:
        >>> information_and_chance(counts, topic_of, 20)[1].mean(axis=0)      # doctest: +SKIP
    """
    import numpy as np

    def of_layers(topics: np.ndarray) -> list[float]:
        return [mutual_information(layer) for layer in by_topic(counts, topics).swapaxes(0, 1)]

    rng = np.random.default_rng(seed)
    dealt = [of_layers(rng.permutation(topic_of)) for _ in range(shuffles)]
    return np.array(of_layers(topic_of)), np.array(dealt)


def mutual_information(joint: np.ndarray) -> float:
    """Normalised mutual information of rows and columns of a table of counts: I / mean of the two entropies.

    Example:
        >>> mutual_information([[5, 0], [0, 5]]), mutual_information([[5, 5], [5, 5]])
        (1.0, 0.0)
    """
    import numpy as np

    joint = np.asarray(joint, dtype=float)
    joint = joint / joint.sum()

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return -(p * np.log(p)).sum()

    rows, columns = entropy(joint.sum(1)), entropy(joint.sum(0))
    if rows + columns == 0:
        return 0.0
    return float(2 * (rows + columns - entropy(joint.ravel())) / (rows + columns))


def shares_of(frame: pandas.DataFrame, experts: int = EXPERTS) -> tuple[np.ndarray, np.ndarray]:
    """Each layer's tokens by expert, scaled to 1: an array (layers, experts), and the numbers of the layers.

    Example:
        >>> shares_of(answer.routing)[0].sum(axis=1)                          # doctest: +SKIP
    """
    import numpy as np

    _check_numbers(frame, experts)
    layers = np.array(sorted(frame["layer"].unique()))
    counts = np.zeros((len(layers), experts))
    np.add.at(counts, (np.searchsorted(layers, frame["layer"]), frame["expert"].to_numpy()), 1)
    return counts / counts.sum(1, keepdims=True), layers


# -- inside --------------------------------------------------------------------------------------------------------


def _frame(routing: Any, rank: int | None = None) -> pandas.DataFrame:
    """The frame of an Answer or the frame itself, of one rank or of both."""
    frame = getattr(routing, "routing", routing)
    missing = [name for name in _NEEDED if name not in getattr(frame, "columns", ())]
    if missing:
        raise BadRequest(
            f"This is not a record of experts: it lacks {', '.join(missing)}.",
            'Give an answer of load("moe").ask(..., record_experts=True), or its routing.',
        )
    if rank is not None:
        frame = frame[frame["rank"] == rank]
    if not len(frame):
        raise BadRequest("There is nothing to draw: the record has no rows.", "Use rank 1 or 2, or ask again.")
    return frame


def _check_numbers(frame: pandas.DataFrame, experts: int) -> None:
    if not 0 <= frame["expert"].min() <= frame["expert"].max() < experts:
        raise BadRequest(f"The record names expert {frame['expert'].max()}.", f"Give experts=, it is {experts} now.")


def _counts(numbers) -> dict[int, int]:
    counts: dict[int, int] = {}
    for number in numbers:
        counts[number] = counts.get(number, 0) + 1
    return counts


def _colour(expert: int) -> str:
    """A light colour for each expert, far from its neighbours' and readable under black letters."""
    red, green, blue = colorsys.hls_to_rgb(expert * 0.382 % 1, 0.86 if expert % 2 else 0.74, 0.75)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def _box(row: dict[str, Any]) -> str:
    first, second = row["first"], row["second"]
    edge = _EDGES[first // 4 % 4]
    hover = (
        f"token {row['position']}: expert {first} with weight {row['first weight']:.2f}, expert {second} with weight "
        f"{row['second weight']:.2f}"
    )
    return (
        f'<span style="{_BOX}background:{_colour(first)};border-bottom:3px {edge} #333" title="{escape(hover)}">'
        f'<span style="font-family:monospace;display:block;min-height:1.4em">{escape(visible(row["token"]))}</span> '
        f"<strong>{first}</strong> <small>{second}</small></span> "
    )


def _heat(axis: Any, shares: np.ndarray, labels: Any, what: str, title: str, top: float | None = None) -> None:
    """A heat map of shares on a matplotlib axis, with a number in every cell where there is room."""
    top = max(float(shares.max() if top is None else top), 1e-9)
    axis.imshow(shares, cmap="cividis", vmin=0, vmax=top, aspect="auto")
    if len(shares) <= _MOST_NUMBERS:
        for i, row in enumerate(shares):
            for j, value in enumerate(row):
                axis.text(
                    j,
                    i,
                    f"{100 * value:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white" if value < 0.55 * top else "black",
                )
    axis.set_xticks(range(shares.shape[1]), [str(expert) for expert in range(shares.shape[1])], fontsize=7.5)
    axis.set_yticks(range(len(shares)), [latin(str(label)) for label in labels], fontsize=8)
    axis.set(title=latin(title), xlabel="expert (cells: per cent of the row)", ylabel=what)


def _draw_specialisation(shares: np.ndarray, rows: list[dict], topics: list, by: str, layer: int) -> Any:
    fig, axes = _canvas(11.5, max(3.2, 1.5 + 0.36 * len(topics)), 2)
    _heat(axes[0], shares, topics, by, f"First experts of each {by} in layer {layer}")
    places = range(len(rows))
    for key, words, (colour, line, mark) in zip(
        ("information", "chance_95"), ("measured", "95 % of chance below"), _STYLES, strict=False
    ):
        axes[1].plot(places, [row[key] for row in rows], color=colour, linestyle=line, marker=mark, label=words)
    for place, row in enumerate(rows):
        axes[1].annotate(
            f"{row['information']:.2f}",
            (place, row["information"]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes[1].set_xticks(places, [str(row["layer"]) for row in rows])
    axes[1].set(
        title=f"What the expert says about the {latin(by)}",
        xlabel="layer",
        ylabel="normalised mutual information",
        ylim=(0, min(1.05, 0.1 + 1.2 * max(max(row["information"], row["chance_95"]) for row in rows))),
    )
    axes[1].legend(fontsize=8)
    return fig


def _share_table(what: str, labels: Any, shares: np.ndarray) -> str:
    columns = [what, *(str(expert) for expert in range(shares.shape[1]))]
    cells = [[str(label), *(f"{100 * value:.0f}" for value in row)] for label, row in zip(labels, shares, strict=True)]
    return text_table(columns, cells, right=range(1, len(columns)))


def _idle(idle: int, cells: int) -> str:
    return "Every expert is used." if not idle else f"{idle} of {cells} experts got no token here."
