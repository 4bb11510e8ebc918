"""Pictures of long context: LongRoPE's factors, and whether a fact in a long text is found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, records
from labs_helper.figures.canvas import STYLES, annotate, canvas, drawable, grid, plot_line
from labs_helper.figures.text import joined, number, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from labs_helper.figures.base import Table

    Scores = dict[tuple[float, float], float]  # (length, depth) -> mean score

# -- LongRoPE ----------------------------------------------------------------------------------------------------------

_MOST_MARKS = 64  # dimension pairs up to which each point gets a mark


def rope_tables(
    short: Sequence[float],
    long: Sequence[float],
    *,
    head_dim: int | None = None,
    theta: float = 10_000.0,
    original: int = 4096,
    maximum: int = 131_072,
    title: str = "",
    takeaway: str = "",
) -> Figure:
    """Draw LongRoPE's two lists of factors and the wavelength that each dimension pair gets from them.

    Args:
        short: one factor for each dimension pair (head_dim / 2 numbers above 0).
        long: the same for long contexts.
        head_dim: size of an attention head; twice the length of the lists when left out.
        theta: the RoPE base.
        original: the context length, in tokens, up to which the short list is used.
        maximum: the largest context length, in tokens.
        title: shown above.
        takeaway: the sentence under the picture, written by hand; none when left out.

    Raises:
        BadRequest: the lists differ in length, do not fit `head_dim`, or hold a number that is not above 0.

    Example:
        >>> rope_tables([1.0] * 4, [1.0, 2.0, 4.0, 8.0], original=64, maximum=512).rows[3]["long factor"]
        8.0

    Source of the formula: rotary embeddings turn pair i by position / (theta^(2i/d) * factor_i), so one full turn
    takes 2*pi * theta^(2i/d) * factor_i tokens (Su et al. 2021, RoFormer; Ding et al. 2024, LongRoPE).
    """
    short, long = [float(factor) for factor in short], [float(factor) for factor in long]
    _check_factors(short, long, head_dim)
    rows = _wavelengths(short, long, theta)
    keys = ("short factor", "long factor", "short wavelength", "long wavelength")
    table = text_table(
        [_("pair"), _("short factor"), _("long factor"), _("short wavelength"), _("long wavelength")],
        [[row["pair"], *(f"{row[key]:.4g}" for key in keys)] for row in rows],
        right=range(5),
    )
    return Figure.from_matplotlib(
        _draw_rope(rows, original, maximum, title),
        alt=f"{_rope_alt(rows, original, maximum)} {takeaway or _rope_summary(rows, original)}",
        takeaway=takeaway,
        text=joined(table, takeaway),
        rows=rows,
    )


def _check_factors(short: Sequence[float], long: Sequence[float], head_dim: int | None) -> None:
    if len(short) != len(long) or not short:
        raise BadRequest(
            _("The short list has {short} factors and the long list {long}.").format(short=len(short), long=len(long)),
            _("Give two lists of the same length, one factor for each dimension pair."),
        )
    if head_dim and head_dim != 2 * len(short):
        raise BadRequest(
            _("The lists have {count} factors, but head_dim {head_dim} needs {needed}.").format(
                count=len(short), head_dim=head_dim, needed=head_dim // 2
            ),
            _("Leave head_dim out, or correct it."),
        )
    if min(*short, *long) <= 0:
        raise BadRequest(
            _("A factor is 0 or below."), _("Use the factors of the model's configuration; all are above 0.")
        )


def _wavelengths(short: Sequence[float], long: Sequence[float], theta: float) -> list[Row]:
    dim = 2 * len(short)
    base = [2 * math.pi * theta ** (2 * i / dim) for i in range(len(short))]
    return [
        {
            "pair": i,
            "short factor": s,
            "long factor": g,
            "plain wavelength": b,
            "short wavelength": b * s,
            "long wavelength": b * g,
        }
        for i, (s, g, b) in enumerate(zip(short, long, base, strict=True))
    ]


def _rope_summary(rows: Sequence[Row], original: int) -> str:
    stretched = max(rows, key=lambda row: float(row["long factor"]))
    return _(
        "The long list slows pair {pair} by up to {long} times, the short list by at most {short}; {longer} of {pairs} "
        "pairs then need more than {original:,} tokens for one turn."
    ).format(
        pair=stretched["pair"],
        long=number(round(stretched["long factor"], 2)),
        short=number(round(max(row["short factor"] for row in rows), 2)),
        longer=sum(row["long wavelength"] > original for row in rows),
        pairs=len(rows),
        original=original,
    )


def _rope_alt(rows: Sequence[Row], original: int, maximum: int) -> str:
    short, long = [row["short factor"] for row in rows], [row["long factor"] for row in rows]
    return _(
        "Two line charts over {pairs} dimension pairs. Left: short factors from {short_least:.3g} to {short_most:.3g}, "
        "long factors from {long_least:.3g} to {long_most:.3g}. Right: tokens for one full turn, from {first:.3g} to "
        "{last:.3g}, with lines at the original length {original:,} and the maximum {maximum:,}."
    ).format(
        pairs=len(rows),
        short_least=min(short),
        short_most=max(short),
        long_least=min(long),
        long_most=max(long),
        first=rows[0]["short wavelength"],
        last=rows[-1]["long wavelength"],
        original=original,
        maximum=maximum,
    )


def _draw_rope(rows: Sequence[Row], original: int, maximum: int, title: str) -> Canvas:
    fig, (factors, turns) = canvas(9.2, 3.7, 2)
    pairs = range(len(rows))
    size = 3.5 if len(rows) <= _MOST_MARKS else 0
    names = (
        ("short", _("short factors"), _("with short factors")),
        ("long", _("long factors"), _("with long factors")),
    )
    for (name, plain, with_them), style in zip(names, STYLES, strict=False):
        plot_line(factors, pairs, [row[f"{name} factor"] for row in rows], style, size, plain)
        plot_line(turns, pairs, [row[f"{name} wavelength"] for row in rows], style, size, with_them)
    factors.set(title=_("How much slower each pair turns"), xlabel=_("dimension pair"), ylabel=_("factor (log scale)"))
    turns.axhline(original, color="#333333", linewidth=1)
    turns.axhline(maximum, color="#333333", linewidth=1, linestyle="--")
    annotate(turns, _("original length {length:,}").format(length=original), (0, original), right=2, up=3, align="left")
    annotate(turns, _("maximum {length:,}").format(length=maximum), (0, maximum), right=2, up=3, align="left")
    turns.set(title=_("Tokens for one full turn"), xlabel=_("dimension pair"), ylabel=_("tokens (log scale)"))
    for axis in (factors, turns):
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        ticks = _log_ticks(low, high)
        axis.set_yticks(ticks, [number(tick) for tick in ticks])
        axis.minorticks_off()
        grid(axis)
        axis.legend(fontsize=8, loc="lower right" if axis is turns else "best")
    if title:
        fig.suptitle(drawable(title), fontsize=11)
    return fig


def _log_ticks(low: float, high: float) -> list[float]:
    """Round marks for a log axis: powers of ten, and 2 and 5 times them where there would be fewer than four."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6, 8)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) >= 4:
            break
    return shown


# -- which table is right ----------------------------------------------------------------------------------------------


def loss_by_position(frame: Table, *, original: int, title: str = "", takeaway: str = "") -> Figure:
    """Draw how badly a model predicts the next token, by position, with each of LongRoPE's tables.

    Args:
        frame: rows with `position` (tokens), `table` ("short" or "long") and `loss` (nats for each token). Several
            rows for one position and table are averaged.
        original: the original context length, drawn as a line.
        title: shown above.
        takeaway: the sentence under the picture, written by hand; none when left out.

    Raises:
        BadRequest: no rows, or a column is missing.

    Example:
        >>> rows = [{"position": 32, "table": "short", "loss": 1.0}, {"position": 32, "table": "short", "loss": 2.0}]
        >>> loss_by_position(rows, original=256).rows[0]["loss"]
        1.5
    """
    means = _means(records(frame), ("position", "table"), "loss")
    positions = sorted({position for position, _name in means})
    names = [name for name in ("short", "long") if any(name == other for _position, other in means)]
    fig, (axis,) = canvas(7.6, 3.4, 1)
    styles = dict(zip(("short", "long"), STYLES, strict=False))
    labels = {"short": _("short table"), "long": _("long table")}
    for name in names:
        own = [position for position in positions if (position, name) in means]
        plot_line(axis, own, [means[position, name] for position in own], styles[name], 4, labels[name])
    axis.axvline(original, color="#333333", linewidth=1)
    annotate(axis, _("original length {length:,}").format(length=original), (original, 0), right=3, up=4, align="left")
    axis.set_ylim(bottom=0)
    axis.set(title=drawable(title), xlabel=_("position in the text (tokens)"), ylabel=_("loss of a token (nats)"))
    grid(axis)
    axis.legend(fontsize=8, loc="lower right")
    table = text_table(
        [_("position"), *(labels[name] for name in names)],
        [[position, *(f"{means.get((position, name), math.nan):.3f}" for name in names)] for position in positions],
        right=range(len(names) + 1),
    )
    alt = _(
        "Line chart of the loss of a token over its position, from {first:,.0f} to {last:,.0f} tokens. {lines}."
    ).format(
        first=positions[0],
        last=positions[-1],
        lines="; ".join(
            _("{table}: {start:.2f} at first, {end:.2f} at last").format(
                table=labels[name], start=means[positions[0], name], end=means[positions[-1], name]
            )
            for name in names
            if (positions[0], name) in means and (positions[-1], name) in means
        ),
    )
    rows = [{"position": position, "table": name, "loss": means[position, name]} for position, name in sorted(means)]
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(title, table, takeaway), rows=rows)


def _means(rows: Sequence[Row], keys: tuple[str, str], value: str) -> dict[tuple[Any, Any], float]:
    """The mean of a column for each pair of two others."""
    if not rows:
        raise BadRequest(_("There is nothing to draw: the table has no rows."), _("Measure at least one text."))
    if missing := {*keys, value} - set(rows[0]):
        raise BadRequest(
            _("The table lacks: {columns}.").format(columns=", ".join(sorted(missing))),
            _("It needs {columns}.").format(columns=", ".join((*keys, value))),
        )
    cells: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        cells.setdefault((row[keys[0]], row[keys[1]]), []).append(float(row[value]))
    return {cell: sum(found) / len(found) for cell, found in cells.items()}


# -- needle in a haystack ----------------------------------------------------------------------------------------------


def needle_heatmap(frame: Table, *, title: str | None = None, takeaway: str = "") -> Figure:
    """Draw how often a hidden fact was found, by length of the text and depth of the fact.

    Args:
        frame: rows with `length` (a column: the tokens that were aimed at), `depth` (0 = start, 1 = end, or per cent)
            and `score` (0 to 1). Several rows for one cell are averaged. A cell without a row stays empty. Where rows
            have `tokens`, the length that the prompts really had, the axis shows its mean in place of `length`. Where
            they have `table`, LongRoPE's table, the axis names it, and a line separates the tables.
        title: shown above; "Needle in a haystack" when left out.
        takeaway: the sentence under the picture, written by hand; none when left out.

    Raises:
        BadRequest: no rows, a column is missing, or a score is outside 0 to 1.

    Example:
        >>> needle_heatmap([{"length": 64, "depth": 0.5, "score": 1.0}]).rows[0]["score"]
        1.0
    """
    title = _("Needle in a haystack") if title is None else title
    found = records(frame)
    mean = _mean_scores(found)
    lengths, depths = sorted({length for length, _depth in mean}), sorted({depth for _length, depth in mean})
    matrix = [[mean.get((length, depth), math.nan) for length in lengths] for depth in depths]
    share = max(depths) <= 1
    depth_names = [f"{depth:.0%}" if share else f"{number(depth)}%" for depth in depths]
    columns = [_column(found, length) for length in lengths]
    alt = _(
        "Heat map of retrieval scores, {depths} depths by {lengths} lengths from {first} to {last} tokens; each "
        "cell shows its score from 0 to 1. {summary}"
    ).format(
        depths=len(depths),
        lengths=len(lengths),
        first=columns[0].tokens,
        last=columns[-1].tokens,
        summary=takeaway or _needle_summary(mean),
    )
    table = text_table(
        [_("depth")] + [column.plain for column in columns],
        [
            [name] + ["-" if math.isnan(score) else f"{score:.2f}" for score in line]
            for name, line in zip(depth_names, matrix, strict=True)
        ],
        right=range(len(lengths) + 1),
    )
    return Figure.from_matplotlib(
        _draw_needle(matrix, columns, depth_names, title),
        alt=alt,
        takeaway=takeaway,
        rows=[{"length": length, "depth": depth, "score": mean[length, depth]} for length, depth in sorted(mean)],
        text=joined(_("{title} (columns: tokens)").format(title=title), table, takeaway),
    )


def _mean_scores(rows: Sequence[Row]) -> Scores:
    if not rows:
        raise BadRequest(
            _("There is nothing to draw: the needle test has no rows."), _("Run it for at least one length.")
        )
    if missing := {"length", "depth", "score"} - set(rows[0]):
        raise BadRequest(
            _("The needle table lacks: {columns}.").format(columns=", ".join(sorted(missing))),
            _("It needs length, depth and score."),
        )
    cells: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        score = float(row["score"])
        if not 0 <= score <= 1:
            raise BadRequest(_("A score is {score}.").format(score=score), _("Scores must be between 0 and 1."))
        cells.setdefault((row["length"], row["depth"]), []).append(score)
    return {cell: sum(scores) / len(scores) for cell, scores in cells.items()}


def _needle_summary(mean: Scores) -> str:
    by_length: dict[float, list[float]] = {}
    for (length, _depth), score in sorted(mean.items()):
        by_length.setdefault(length, []).append(score)
    means = {length: sum(scores) / len(scores) for length, scores in by_length.items()}
    worst = min(means, key=means.__getitem__)
    return _(
        "Found {overall:.0%} of the time over all cells; the weakest length is {length:,} tokens with {score:.0%}."
    ).format(overall=sum(mean.values()) / len(mean), length=int(worst), score=means[worst])


class _Column(NamedTuple):
    """One length of the text: what its label says."""

    tokens: str  # the mean length of its prompts
    tables: tuple[str, ...]  # LongRoPE's tables that its prompts were read with

    @property
    def plain(self) -> str:
        return f"{self.tokens} ({'/'.join(self.tables)})" if self.tables else self.tokens

    @property
    def label(self) -> str:
        """The same in two lines, for the axis."""
        return f"{self.tokens}\n{'/'.join(self.tables)}" if self.tables else self.tokens


def _column(rows: Sequence[Row], length: float) -> _Column:
    own = [row for row in rows if row["length"] == length]
    tokens = [float(row["tokens"] if "tokens" in row else row["length"]) for row in own]
    return _Column(
        f"{round(sum(tokens) / len(tokens)):,}", tuple(sorted({str(row["table"]) for row in own if row.get("table")}))
    )


def _draw_needle(
    matrix: Sequence[Sequence[float]], columns: Sequence[_Column], depth_names: Sequence[str], title: str
) -> Canvas:
    fig, (axis,) = canvas(max(5.2, 1.9 + 0.82 * len(columns)), max(2.5, 1.5 + 0.42 * len(matrix)), 1)
    axis.imshow(matrix, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none")
    for i, line in enumerate(matrix):
        for j, score in enumerate(line):
            _write_score(axis, j, i, score)
    axis.set_xticks(range(len(columns)), [column.label for column in columns])
    axis.set_yticks(range(len(matrix)), depth_names)
    words = (
        _("length of the prompt (tokens) and RoPE table") if columns[0].tables else _("length of the prompt (tokens)")
    )
    axis.set(title=drawable(title), ylabel=_("depth of the fact"), xlabel=words)
    for place, (before, after) in enumerate(itertools.pairwise(columns)):
        if before.tables != after.tables:
            axis.axvline(place + 0.5, color="white", linewidth=3)
            axis.axvline(place + 0.5, color="black", linewidth=1.2, linestyle="--")
    return fig


def _write_score(axis: Axes, column: int, row: int, score: float) -> None:
    if math.isnan(score):
        words, colour = "–", "#333333"
    else:  # dark cells are the low scores in this colour map
        words, colour = f"{score:.2f}", "white" if score < 0.55 else "black"
    axis.text(column, row, words, ha="center", va="center", fontsize=9, color=colour)
