"""Pictures of the key/value cache: how much memory it takes, and how much of a prompt it saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, records
from labs_helper.figures.canvas import STYLES, annotate, canvas, drawable, grid, plot_line
from labs_helper.figures.text import joined, number, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from labs_helper.figures.base import Table
    from labs_helper.models.answers import Answer

# layers, key/value heads, head size. Source: the public configurations, kept in data/benchmarks/model_facts.csv.
KV_SHAPES = {"Phi-3.5-mini": (32, 32, 96), "Phi-3.5-MoE": (32, 8, 128)}
_GIB = 2**30

# -- memory over length ------------------------------------------------------------------------------------------------


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, bits: int = 16, group_size: int = 32) -> float:
    """Bytes that one token takes in the key/value cache.

    Args:
        layers: of the model.
        kv_heads: key/value heads of a layer.
        head_dim: numbers of a head.
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


@dataclass(frozen=True)
class _Cache:
    """The cache of one model with numbers of one size."""

    model: str
    bits: int
    per_token: float  # bytes

    def gib(self, tokens: int) -> float:
        return self.per_token * tokens / _GIB

    @property
    def kib(self) -> str:
        """KiB of one token, as text."""
        return number(self.per_token / 1024)


def kv_cache(
    models: Mapping[str, Sequence[int]] | None = None,
    *,
    lengths: Sequence[int] = (1024, 4096, 16_384, 32_768, 65_536, 131_072),
    bits: Sequence[int] = (16, 8, 4),
    group_size: int = 32,
    memory: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    takeaway: str = "",
) -> Figure:
    """Draw how much memory the key/value cache takes over the length of the conversation.

    Args:
        models: name -> (layers, key/value heads, head size). Phi-3.5-mini and Phi-3.5-MoE when left out.
        lengths: numbers of tokens.
        bits: sizes of one number in the cache. 8 and 4 include the scale and bias that a group keeps.
        group_size: numbers in one quantized group.
        memory: name of a machine -> its memory in GiB, each drawn as a line.
        weights: model -> GiB of its weights; then the chart shows weights and cache together.
        takeaway: the sentence under the picture, written by hand; none when left out.

    Raises:
        BadRequest: no model, no length or no size is given.

    Example:
        >>> kv_cache(lengths=[4096], bits=[16]).rows[0]["GiB"]
        1.5
    """
    shapes = dict(KV_SHAPES if models is None else models)
    lengths = sorted(int(tokens) for tokens in lengths)
    if not shapes or not lengths or not bits:
        raise BadRequest(
            _("There is nothing to draw."), _("Give at least one model, one length and one number of bits.")
        )
    caches = [
        _Cache(name, size, kv_bytes_per_token(layers, heads, head, size, group_size))
        for name, (layers, heads, head) in shapes.items()
        for size in bits
    ]
    rows = [
        {
            "model": cache.model,
            "bits": cache.bits,
            "tokens": tokens,
            "bytes per token": cache.per_token,
            "GiB": cache.gib(tokens),
        }
        for cache in caches
        for tokens in lengths
    ]
    summary = takeaway or _cache_summary(caches[0], lengths[-1])
    table = text_table(
        [_("model"), _("bits"), _("KiB per token")] + [_("{count} tokens").format(count=_short(n)) for n in lengths],
        [[cache.model, cache.bits, cache.kib, *(f"{cache.gib(n):.2f} GiB" for n in lengths)] for cache in caches],
        right=range(1, 3 + len(lengths)),
    )
    alt = _(
        "Line charts of cache memory over length for {models} at {bits} bits a number, from {first:,} to {last:,} "
        "tokens. {summary}"
    ).format(
        models=", ".join(shapes), bits=", ".join(map(str, bits)), first=lengths[0], last=lengths[-1], summary=summary
    )
    fig = _draw_caches(caches, list(shapes), lengths, dict(memory or {}), dict(weights or {}))
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway, text=joined(table, takeaway), rows=rows)


def _cache_summary(cache: _Cache, tokens: int) -> str:
    return _(
        "Each token of {model} costs {kib} KiB at {bits} bits: {gib} GiB for {tokens:,} tokens, on top of the weights."
    ).format(
        model=cache.model,
        kib=number(round(cache.per_token / 1024, 1)),
        bits=cache.bits,
        gib=number(round(cache.gib(tokens), 2)),
        tokens=tokens,
    )


def _draw_caches(
    caches: Sequence[_Cache],
    models: Sequence[str],
    lengths: Sequence[int],
    memory: Mapping[str, float],
    weights: Mapping[str, float],
) -> Canvas:
    wide = 4.3 if len(models) > 1 else 5.8
    fig, axes = canvas(wide * len(models) + 0.6, 3.7, len(models), share=True)
    for axis, name in zip(axes, models, strict=True):
        own = [cache for cache in caches if cache.model == name]
        for cache, style in zip(own, STYLES, strict=False):
            words = _("{bits} bits: {kib} KiB a token").format(bits=cache.bits, kib=cache.kib)
            below = weights.get(name, 0.0)
            if below:
                words = _("weights and cache; {words}").format(words=words)
            plot_line(axis, lengths, [below + cache.gib(n) for n in lengths], style, 4, words)
        if name in weights:
            words = _("weights alone: {gib} GiB").format(gib=number(round(weights[name], 1)))
            plot_line(axis, lengths, [weights[name]] * len(lengths), STYLES[len(own)], 0, words)
        for machine, gib in memory.items():
            axis.axhline(gib, color="#333333", linewidth=1)
            annotate(axis, drawable(machine), (lengths[0], gib), right=2, up=3, align="left")
        axis.set(title=drawable(name), xlabel=_("tokens in the cache"), ylabel=_("GiB (log scale)"))
        _log_axes(axis, lengths)
        grid(axis)
        if weights or memory:  # lines cross the whole picture, so the legend stands below it
            fig.legend(*axis.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2)
        else:
            axis.legend(fontsize=8, loc="lower right")
    return fig


def _log_axes(axis: Axes, lengths: Sequence[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(lengths, [_short(n) for n in lengths])
    axis.yaxis.set_major_formatter(lambda value, _position: number(round(value, 4)))
    axis.minorticks_off()


def _short(tokens: int) -> str:
    return f"{tokens // 1024}K" if tokens >= 1024 and tokens % 1024 == 0 else f"{tokens:,}"


# -- tokens saved ------------------------------------------------------------------------------------------------------


class _Turn(NamedTuple):
    name: str
    total: int
    cached: int

    @property
    def new(self) -> int:
        return self.total - self.cached


def prefill(frame: Table | Iterable[Answer], *, title: str | None = None, takeaway: str = "") -> Figure:
    """Draw, turn by turn, how much of the prompt came out of the prompt cache and how much was read this turn.

    Args:
        frame: rows with `prompt_tokens` and `cached_tokens` (and `turn`, or they are numbered), or a list of
            `Answer`s in the order of the conversation.
        title: shown above; "Tokens read at each turn" when left out.
        takeaway: the sentence under the picture, written by hand; none when left out.

    Raises:
        BadRequest: no rows, a column is missing, or more cached tokens than prompt tokens.

    Example:
        >>> prefill([{"prompt_tokens": 20, "cached_tokens": 0},
        ...          {"prompt_tokens": 50, "cached_tokens": 36}]).rows[1]["read this turn"]
        14
    """
    title = _("Tokens read at each turn") if title is None else title
    turns = _turns(frame)
    last = turns[-1]
    summary = takeaway or _(
        "At the last turn the model read only {new:,} of {total:,} prompt tokens ({share:.0%}); the cache held the "
        "rest."
    ).format(new=last.new, total=last.total, share=last.new / last.total)
    table = text_table(
        [_("turn"), _("conversation"), _("from the cache"), _("read this turn")],
        [[turn.name, turn.total, turn.cached, turn.new] for turn in turns],
        right=range(1, 4),
    )
    return Figure.from_matplotlib(
        _draw_turns(turns, title),
        alt=_("Stacked bars for {count} turns. {summary}").format(count=len(turns), summary=summary),
        takeaway=takeaway,
        text=joined(title, table, takeaway),
        rows=[
            {"turn": turn.name, "conversation": turn.total, "from the cache": turn.cached, "read this turn": turn.new}
            for turn in turns
        ],
    )


def _turns(frame: Table | Iterable[Answer]) -> list[_Turn]:
    turns = []
    for index, row in enumerate(_turn_rows(frame), 1):
        if "prompt_tokens" not in row or "cached_tokens" not in row:
            raise BadRequest(
                _("Turn {turn} is incomplete.").format(turn=index),
                _("Each turn needs prompt_tokens and cached_tokens."),
            )
        total, cached = int(row["prompt_tokens"]), int(row["cached_tokens"])
        if not 0 <= cached <= total:
            raise BadRequest(
                _("Turn {turn} has {cached} cached tokens of {total}.").format(turn=index, cached=cached, total=total),
                _("There cannot be more than the prompt has."),
            )
        turns.append(_Turn(str(row.get("turn", index)), total, cached))
    if not turns:
        raise BadRequest(_("There is nothing to draw: the conversation has no turns."), _("Ask at least one question."))
    return turns


def _turn_rows(frame: Table | Iterable[Answer]) -> list[Row]:
    if hasattr(frame, "columns"):
        return records(cast("Table", frame))
    return [
        dict(turn)
        if isinstance(turn, Mapping)
        else {"prompt_tokens": turn.prompt_tokens, "cached_tokens": turn.cached_tokens}
        for turn in cast("Iterable[Mapping[str, Any] | Answer]", frame)
    ]


def _draw_turns(turns: Sequence[_Turn], title: str) -> Canvas:
    fig, (axis,) = canvas(7.2, 1.5 + 0.42 * len(turns), 1)
    places = range(len(turns))
    cached = [turn.cached for turn in turns]
    new, edge = [turn.new for turn in turns], "#333333"
    words = _("from the cache"), _("read this turn")
    axis.barh(places, cached, color="#d9e6ee", edgecolor=edge, linewidth=0.6, hatch="///", label=words[0])
    axis.barh(places, new, left=cached, color="#E69F00", edgecolor=edge, linewidth=0.6, label=words[1])
    widest = max(turn.total for turn in turns)
    for place, turn in enumerate(turns):
        beside = _("{new:,} of {total:,}").format(new=turn.new, total=turn.total)
        axis.text(turn.total + widest * 0.01, place, beside, va="center", fontsize=8)
    axis.set_yticks(places, [drawable(_("turn {name}").format(name=turn.name)) for turn in turns])
    axis.invert_yaxis()
    axis.set_xlim(0, widest * 1.22)
    axis.set(title=drawable(title), xlabel=_("prompt tokens (label: read this turn, of the whole conversation)"))
    axis.legend(fontsize=8, loc="upper right" if turns[0].total < widest * 0.6 else "best")
    return fig
