"""Line charts, heat map and stacked bars, drawn with matplotlib (never with pyplot, so nothing is left open)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, records
from labs_helper.figures.text import number, text_table

# layers, key/value heads, head size. Source: the public configurations, kept in data/benchmarks/model_facts.csv.
KV_SHAPES = {"Phi-3.5-mini": (32, 32, 96), "Phi-3.5-MoE": (32, 8, 128)}
_STYLES = [
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", ":", "^"),
    ("#7A7A7A", "-.", "D"),
    ("#CC79A7", (0, (5, 1)), "v"),
    ("#56B4E9", (0, (1, 1)), "P"),
    ("#B8A900", (0, (3, 1, 1, 1)), "X"),
]


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

    Arguments:
        short, long: one factor for each dimension pair (head_dim / 2 numbers above 0).
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
    short, long = [float(v) for v in short], [float(v) for v in long]
    if len(short) != len(long) or not short:
        raise BadRequest(
            f"The short list has {len(short)} factors and the long list {len(long)}.",
            "Give two lists of the same length, one factor for each dimension pair.",
        )
    dim = head_dim or 2 * len(short)
    if dim != 2 * len(short):
        raise BadRequest(
            f"The lists have {len(short)} factors, but head_dim {dim} needs {dim // 2}.",
            "Leave head_dim out, or correct it.",
        )
    if min(short + long) <= 0:
        raise BadRequest("A factor is 0 or below.", "Use the factors of the model's configuration; all are above 0.")
    base = [2 * math.pi * theta ** (2 * i / dim) for i in range(len(short))]
    rows = [
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

    fig, axes = _canvas(9.2, 3.7, 2)
    pairs = range(len(short))
    few = len(short) <= 64
    for name, values, (colour, line, mark) in zip(("short", "long"), (short, long), _STYLES, strict=False):
        axes[0].plot(
            pairs,
            values,
            color=colour,
            linestyle=line,
            marker=mark if few else None,
            markersize=3.5,
            label=f"{name} factors",
        )
        axes[1].plot(
            pairs,
            [b * v for b, v in zip(base, values, strict=True)],
            color=colour,
            linestyle=line,
            marker=mark if few else None,
            markersize=3.5,
            label=f"with {name} factors",
        )
    axes[0].set(title="Factor for each dimension pair", xlabel="dimension pair", ylabel="factor (log scale)")
    axes[1].axhline(original, color="#333333", linewidth=1)
    axes[1].axhline(maximum, color="#333333", linewidth=1, linestyle="--")
    for height, words in ((original, f"original length {original:,}"), (maximum, f"maximum {maximum:,}")):
        axes[1].annotate(words, (0, height), xytext=(2, 3), textcoords="offset points", fontsize=8)
    axes[1].set(title="Tokens for one full turn", xlabel="dimension pair", ylabel="tokens (log scale)")
    for axis in axes:
        axis.set_yscale("log")
        axis.minorticks_off()
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.legend(fontsize=8, loc="lower right" if axis is axes[1] else "best")
    if title:
        fig.suptitle(latin(title), fontsize=11)

    stretched = max(range(len(long)), key=lambda i: long[i])
    longer = sum(row["long wavelength"] > original for row in rows)
    takeaway = (
        f"The long list slows pair {stretched} by up to {number(round(long[stretched], 2))} times, the short "
        f"list by at most {number(round(max(short), 2))}; {longer} of {len(rows)} pairs then need more than "
        f"{original:,} tokens for one turn."
    )
    alt = (
        f"Two line charts over {len(short)} dimension pairs. Left: short factors from {min(short):.3g} to "
        f"{max(short):.3g}, long factors from {min(long):.3g} to {max(long):.3g}. Right: tokens for one full turn, "
        f"from {base[0] * short[0]:.3g} to {rows[-1]['long wavelength']:.3g}, with lines at the original length "
        f"{original:,} and the maximum {maximum:,}."
    )
    columns = ["pair", "short factor", "long factor", "short wavelength", "long wavelength"]
    table = text_table(
        columns, [[row["pair"]] + [f"{row[c]:.4g}" for c in columns[1:]] for row in rows], right=range(5)
    )
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text="\n".join([table, takeaway]), rows=rows)


def needle_heatmap(
    frame: Any, *, original: int | None = None, title: str = "Needle in a haystack", takeaway: str = ""
) -> Figure:
    """Draw how often a hidden fact was found, by length of the text and depth of the fact.

    Arguments:
        frame: rows with `length` (tokens), `depth` (0 = start, 1 = end, or per cent) and `score` (0 to 1). Several
            rows for one cell are averaged. A cell without a row stays empty.
        original: the original context length; the columns beyond it are marked in the axis label.
        title, takeaway: shown with the picture.

    Raises:
        BadRequest: no rows, a column is missing, or a score is outside 0 to 1.

    Example:
        >>> needle_heatmap([{"length": 64, "depth": 0.5, "score": 1.0}]).rows[0]["score"]
        1.0
    """
    rows = records(frame)
    if not rows:
        raise BadRequest("There is nothing to draw: the needle test has no rows.", "Run it for at least one length.")
    missing = {"length", "depth", "score"} - set(rows[0])
    if missing:
        raise BadRequest(f"The needle table lacks: {', '.join(sorted(missing))}.", "It needs length, depth and score.")
    cells: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        score = float(row["score"])
        if not 0 <= score <= 1:
            raise BadRequest(f"A score is {score}.", "Scores must be between 0 and 1.")
        cells.setdefault((row["length"], row["depth"]), []).append(score)
    lengths = sorted({key[0] for key in cells})
    depths = sorted({key[1] for key in cells})
    mean = {key: sum(values) / len(values) for key, values in cells.items()}
    matrix = [[mean.get((length, depth), math.nan) for length in lengths] for depth in depths]
    share = max(depths) <= 1
    depth_names = [f"{depth:.0%}" if share else f"{number(depth)}%" for depth in depths]

    fig, axes = _canvas(max(4.2, 1.9 + 0.72 * len(lengths)), max(2.3, 1.3 + 0.42 * len(depths)), 1)
    axis = axes[0]
    axis.imshow(matrix, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, line in enumerate(matrix):
        for j, value in enumerate(line):
            if math.isnan(value):
                axis.text(j, i, "–", ha="center", va="center", fontsize=9, color="#333333")
            else:  # dark cells are the low scores in this colour map
                axis.text(
                    j,
                    i,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if value < 0.55 else "black",
                )
    axis.set_xticks(range(len(lengths)), [f"{int(v):,}" for v in lengths])
    axis.set_yticks(range(len(depths)), depth_names)
    axis.set(title=latin(title), ylabel="depth of the fact", xlabel="length of the prompt (tokens)")
    if original is not None and lengths[0] <= original < lengths[-1]:
        edge = sum(length <= original for length in lengths) - 0.5
        axis.axvline(edge, color="white", linewidth=3)
        axis.axvline(edge, color="black", linewidth=1.2, linestyle="--")
        axis.set_xlabel(f"length of the prompt (tokens); dashed line: original length {original:,}")

    overall = sum(mean.values()) / len(mean)
    by_length = {length: _mean([v for (n, _), v in mean.items() if n == length]) for length in lengths}
    worst = min(by_length, key=by_length.get)
    takeaway = takeaway or (
        f"Found {overall:.0%} of the time over all cells; the weakest length is {int(worst):,} "
        f"tokens with {by_length[worst]:.0%}."
    )
    alt = (
        f"Heat map of retrieval scores, {len(depths)} depths by {len(lengths)} lengths from {int(lengths[0]):,} to "
        f"{int(lengths[-1]):,} tokens; each cell shows its score from 0 to 1. {takeaway}"
    )
    table = text_table(
        ["depth"] + [f"{int(v):,}" for v in lengths],
        [
            [name] + ["-" if math.isnan(v) else f"{v:.2f}" for v in line]
            for name, line in zip(depth_names, matrix, strict=True)
        ],
        right=range(len(lengths) + 1),
    )
    facts = [{"length": n, "depth": d, "score": mean[n, d]} for n, d in sorted(mean)]
    return Figure.from_matplotlib(
        fig,
        alt=alt,
        takeaway=takeaway,
        rows=facts,
        text="\n".join([f"{title} (columns: tokens)", table, takeaway]),
    )


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, bits: int = 16, group_size: int = 32) -> float:
    """Bytes that one token takes in the key/value cache.

    Arguments:
        layers, kv_heads, head_dim: the shape of the model.
        bits: bits for one number. Below 16, each group also keeps a 16-bit scale and a 16-bit bias.
        group_size: numbers in one group of a quantized cache. MLX allows 32, 64 and 128; it must divide head_dim,
            so Phi-3.5-mini (96) can only use 32.

    Example:
        >>> kv_bytes_per_token(32, 32, 96), kv_bytes_per_token(32, 32, 96, bits=4)
        (393216.0, 122880.0)

    Formula: 2 (key and value) * layers * kv_heads * head_dim * bits / 8, plus 4 bytes a group when quantized.
    """
    numbers = 2 * layers * kv_heads * head_dim
    overhead = 4 * numbers / group_size if bits < 16 else 0
    return numbers * bits / 8 + overhead


def kv_cache(
    models: Mapping[str, Sequence[int]] | None = None,
    *,
    lengths: Sequence[int] = (1024, 4096, 16_384, 32_768, 65_536, 131_072),
    bits: Sequence[int] = (16, 8, 4),
    group_size: int = 32,
    memory: float | None = None,
) -> Figure:
    """Draw how much memory the key/value cache takes over the length of the conversation.

    Arguments:
        models: name -> (layers, key/value heads, head size). Phi-3.5-mini and Phi-3.5-MoE when left out.
        lengths: numbers of tokens.
        bits: sizes of one number in the cache. 8 and 4 include the scale and bias that a group keeps.
        group_size: numbers in one quantized group.
        memory: memory of a machine in GiB, drawn as a line.

    Raises:
        BadRequest: no model, no length or no size is given.

    Example:
        >>> kv_cache(lengths=[4096], bits=[16]).rows[0]["GiB"]
        1.5
    """
    models = dict(KV_SHAPES if models is None else models)
    lengths, bits = sorted(int(n) for n in lengths), list(bits)
    if not models or not lengths or not bits:
        raise BadRequest("There is nothing to draw.", "Give at least one model, one length and one number of bits.")
    rows = []
    for name, shape in models.items():
        for size in bits:
            each = kv_bytes_per_token(*shape, bits=size, group_size=group_size)
            for length in lengths:
                rows.append(
                    {
                        "model": name,
                        "bits": size,
                        "tokens": length,
                        "bytes per token": each,
                        "GiB": each * length / 2**30,
                    }
                )
    fig, axes = _canvas(4.3 * len(models) + 0.6, 3.7, len(models), share=True)
    for axis, (name, shape) in zip(axes, models.items(), strict=True):
        for size, (colour, line, mark) in zip(bits, _STYLES, strict=False):
            each = kv_bytes_per_token(*shape, bits=size, group_size=group_size)
            axis.plot(
                lengths,
                [each * n / 2**30 for n in lengths],
                color=colour,
                linestyle=line,
                marker=mark,
                markersize=4,
                label=f"{size} bits: {number(each / 1024)} KiB a token",
            )
        if memory:
            axis.axhline(memory, color="#333333", linewidth=1)
            axis.annotate(
                f"{number(memory)} GiB",
                (lengths[0], memory),
                xytext=(2, 3),
                textcoords="offset points",
                fontsize=8,
            )
        axis.set(title=latin(name), xlabel="tokens in the cache", ylabel="GiB (log scale)")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_xticks(lengths, [_short(n) for n in lengths])
        axis.yaxis.set_major_formatter(lambda value, _: number(round(value, 4)))
        axis.minorticks_off()
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.legend(fontsize=8, loc="lower right")
    first, last = next(iter(models)), lengths[-1]
    per = kv_bytes_per_token(*models[first], bits=bits[0], group_size=group_size)
    takeaway = (
        f"Each token of {first} costs {number(round(per / 1024, 1))} KiB at {bits[0]} bits: "
        f"{number(round(per * last / 2**30, 2))} GiB for {last:,} tokens, on top of the weights."
    )
    table = text_table(
        ["model", "bits", "KiB per token"] + [f"{_short(n)} tokens" for n in lengths],
        [
            [name, size, number(kv_bytes_per_token(*shape, bits=size, group_size=group_size) / 1024)]
            + [f"{kv_bytes_per_token(*shape, bits=size, group_size=group_size) * n / 2**30:.2f} GiB" for n in lengths]
            for name, shape in models.items()
            for size in bits
        ],
        right=range(1, 3 + len(lengths)),
    )
    alt = (
        f"Line charts of cache memory over length for {', '.join(models)} at {', '.join(map(str, bits))} bits a "
        f"number, from {lengths[0]:,} to {last:,} tokens. {takeaway}"
    )
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text="\n".join([table, takeaway]), rows=rows)


def prefill(frame: Any, *, title: str = "Tokens read at each turn", takeaway: str = "") -> Figure:
    """Draw, turn by turn, how much of the prompt came out of the prompt cache and how much was read anew.

    Arguments:
        frame: rows with `prompt_tokens` and `cached_tokens` (and `turn`, or they are numbered), or a list of
            `Answer`s in the order of the conversation.
        title, takeaway: shown with the picture.

    Raises:
        BadRequest: no rows, a column is missing, or more cached tokens than prompt tokens.

    Example:
        >>> prefill([{"prompt_tokens": 20, "cached_tokens": 0},
        ...          {"prompt_tokens": 50, "cached_tokens": 36}]).rows[1]["read anew"]
        14
    """
    if not hasattr(frame, "columns") and all(hasattr(item, "prompt_tokens") for item in frame):
        given = [{"prompt_tokens": a.prompt_tokens, "cached_tokens": a.cached_tokens} for a in frame]
    else:
        given = records(frame)
    if not given:
        raise BadRequest("There is nothing to draw: the conversation has no turns.", "Ask at least one question.")
    rows = []
    for index, row in enumerate(given, 1):
        if "prompt_tokens" not in row or "cached_tokens" not in row:
            raise BadRequest(f"Turn {index} is incomplete.", "Each turn needs prompt_tokens and cached_tokens.")
        total, cached = int(row["prompt_tokens"]), int(row["cached_tokens"])
        if not 0 <= cached <= total:
            raise BadRequest(
                f"Turn {index} has {cached} cached tokens of {total}.",
                "There cannot be more than the prompt has.",
            )
        rows.append(
            {
                "turn": str(row.get("turn", index)),
                "conversation": total,
                "from the cache": cached,
                "read anew": total - cached,
            }
        )
    fig, axes = _canvas(7.2, 1.5 + 0.42 * len(rows), 1)
    axis, places = axes[0], range(len(rows))
    cached = [row["from the cache"] for row in rows]
    fresh = [row["read anew"] for row in rows]
    axis.barh(
        places,
        cached,
        color="#d9e6ee",
        edgecolor="#333333",
        linewidth=0.6,
        hatch="///",
        label="from the cache",
    )
    axis.barh(places, fresh, left=cached, color="#E69F00", edgecolor="#333333", linewidth=0.6, label="read anew")
    widest = max(row["conversation"] for row in rows)
    for place, row in enumerate(rows):
        axis.text(
            row["conversation"] + widest * 0.01,
            place,
            f"{row['read anew']:,} of {row['conversation']:,}",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(places, [latin(f"turn {row['turn']}") for row in rows])
    axis.invert_yaxis()
    axis.set_xlim(0, widest * 1.22)
    axis.set(title=latin(title), xlabel="prompt tokens (label: read anew, of the whole conversation)")
    axis.legend(fontsize=8, loc="upper right" if rows[0]["conversation"] < widest * 0.6 else "best")
    last = rows[-1]
    takeaway = takeaway or (
        f"At the last turn the model read {last['read anew']:,} of {last['conversation']:,} prompt "
        f"tokens anew ({last['read anew'] / last['conversation']:.0%}); the cache held the rest."
    )
    columns = ["turn", "conversation", "from the cache", "read anew"]
    table = text_table(columns, [[row[c] for c in columns] for row in rows], right=range(1, 4))
    return Figure.from_matplotlib(
        fig,
        alt=f"Stacked bars for {len(rows)} turns. {takeaway}",
        takeaway=takeaway,
        text="\n".join([title, table, takeaway]),
        rows=rows,
    )


def latin(text: str) -> str:
    """`text` with every character that matplotlib's own font cannot draw replaced by "□" (and no warning).

    Example:
        >>> latin("a长")
        'a□'
    """
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    known = font.get_charmap()
    return "".join(character if ord(character) in known else "□" for character in str(text))


def _canvas(width: float, height: float, columns: int, share: bool = False):
    """A matplotlib figure with its axes, made without pyplot: nothing stays open, any thread may draw."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 10,
            "hatch.linewidth": 0.7,
            "hatch.color": "#333333",
        }
    ):
        fig = Canvas(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(fig)
        axes = fig.subplots(1, columns, squeeze=False, sharey=share)[0]
    return fig, list(axes)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _short(tokens: int) -> str:
    return f"{tokens // 1024}K" if tokens >= 1024 and tokens % 1024 == 0 else f"{tokens:,}"
