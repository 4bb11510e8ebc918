"""Pictures of long context: LongRoPE's factors, and whether a fact in a long text is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, records
from labs_helper.figures.canvas import STYLES, annotate, canvas, grid, latin, plot_line
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
    takeaway = _rope_takeaway(rows, original)
    keys = ("short factor", "long factor", "short wavelength", "long wavelength")
    table = text_table(
        [_("pair"), _("short factor"), _("long factor"), _("short wavelength"), _("long wavelength")],
        [[row["pair"], *(f"{row[key]:.4g}" for key in keys)] for row in rows],
        right=range(5),
    )
    return Figure.from_matplotlib(
        _draw_rope(rows, original, maximum, title),
        alt=_rope_alt(rows, original, maximum),
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


def _rope_takeaway(rows: Sequence[Row], original: int) -> str:
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
    factors.set(title=_("Factor for each dimension pair"), xlabel=_("dimension pair"), ylabel=_("factor (log scale)"))
    turns.axhline(original, color="#333333", linewidth=1)
    turns.axhline(maximum, color="#333333", linewidth=1, linestyle="--")
    annotate(turns, _("original length {length:,}").format(length=original), (0, original), right=2, up=3, align="left")
    annotate(turns, _("maximum {length:,}").format(length=maximum), (0, maximum), right=2, up=3, align="left")
    turns.set(title=_("Tokens for one full turn"), xlabel=_("dimension pair"), ylabel=_("tokens (log scale)"))
    for axis in (factors, turns):
        axis.set_yscale("log")
        axis.minorticks_off()
        grid(axis)
        axis.legend(fontsize=8, loc="lower right" if axis is turns else "best")
    if title:
        fig.suptitle(latin(title), fontsize=11)
    return fig


# -- needle in a haystack ----------------------------------------------------------------------------------------------


def needle_heatmap(
    frame: Table, *, original: int | None = None, title: str | None = None, takeaway: str = ""
) -> Figure:
    """Draw how often a hidden fact was found, by length of the text and depth of the fact.

    Args:
        frame: rows with `length` (tokens), `depth` (0 = start, 1 = end, or per cent) and `score` (0 to 1). Several
            rows for one cell are averaged. A cell without a row stays empty.
        original: the original context length; the columns beyond it are marked in the axis label.
        title: shown above; "Needle in a haystack" when left out.
        takeaway: shown below; made from the data when left out.

    Raises:
        BadRequest: no rows, a column is missing, or a score is outside 0 to 1.

    Example:
        >>> needle_heatmap([{"length": 64, "depth": 0.5, "score": 1.0}]).rows[0]["score"]
        1.0
    """
    title = _("Needle in a haystack") if title is None else title
    mean = _mean_scores(records(frame))
    lengths, depths = sorted({length for length, _depth in mean}), sorted({depth for _length, depth in mean})
    matrix = [[mean.get((length, depth), math.nan) for length in lengths] for depth in depths]
    share = max(depths) <= 1
    depth_names = [f"{depth:.0%}" if share else f"{number(depth)}%" for depth in depths]
    takeaway = takeaway or _needle_takeaway(mean)
    alt = _(
        "Heat map of retrieval scores, {depths} depths by {lengths} lengths from {first:,} to {last:,} tokens; each "
        "cell shows its score from 0 to 1. {takeaway}"
    ).format(depths=len(depths), lengths=len(lengths), first=int(lengths[0]), last=int(lengths[-1]), takeaway=takeaway)
    table = text_table(
        [_("depth")] + [f"{int(length):,}" for length in lengths],
        [
            [name] + ["-" if math.isnan(score) else f"{score:.2f}" for score in line]
            for name, line in zip(depth_names, matrix, strict=True)
        ],
        right=range(len(lengths) + 1),
    )
    return Figure.from_matplotlib(
        _draw_needle(matrix, lengths, depth_names, original, title),
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


def _needle_takeaway(mean: Scores) -> str:
    by_length: dict[float, list[float]] = {}
    for (length, _depth), score in sorted(mean.items()):
        by_length.setdefault(length, []).append(score)
    means = {length: sum(scores) / len(scores) for length, scores in by_length.items()}
    worst = min(means, key=means.__getitem__)
    return _(
        "Found {overall:.0%} of the time over all cells; the weakest length is {length:,} tokens with {score:.0%}."
    ).format(overall=sum(mean.values()) / len(mean), length=int(worst), score=means[worst])


def _draw_needle(
    matrix: Sequence[Sequence[float]],
    lengths: Sequence[float],
    depth_names: Sequence[str],
    original: int | None,
    title: str,
) -> Canvas:
    fig, (axis,) = canvas(max(4.2, 1.9 + 0.72 * len(lengths)), max(2.3, 1.3 + 0.42 * len(matrix)), 1)
    axis.imshow(matrix, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, line in enumerate(matrix):
        for j, score in enumerate(line):
            _write_score(axis, j, i, score)
    axis.set_xticks(range(len(lengths)), [f"{int(length):,}" for length in lengths])
    axis.set_yticks(range(len(matrix)), depth_names)
    axis.set(title=latin(title), ylabel=_("depth of the fact"), xlabel=_("length of the prompt (tokens)"))
    if original is not None and lengths[0] <= original < lengths[-1]:
        edge = sum(length <= original for length in lengths) - 0.5
        axis.axvline(edge, color="white", linewidth=3)
        axis.axvline(edge, color="black", linewidth=1.2, linestyle="--")
        words = _("length of the prompt (tokens); dashed line: original length {original:,}")
        axis.set_xlabel(words.format(original=original))
    return fig


def _write_score(axis: Axes, column: int, row: int, score: float) -> None:
    if math.isnan(score):
        words, colour = "–", "#333333"
    else:  # dark cells are the low scores in this colour map
        words, colour = f"{score:.2f}", "white" if score < 0.55 else "black"
    axis.text(column, row, words, ha="center", va="center", fontsize=9, color=colour)
