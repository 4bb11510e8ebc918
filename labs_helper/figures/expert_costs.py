"""What a mixture of experts costs: memory by bit width and machine, work for a token, experts from the disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labs_helper import catalog
from labs_helper.capacity import estimate, limits
from labs_helper.catalog import tables
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, framed_table, records, source_line
from labs_helper.figures.canvas import STYLES, Style, annotate, canvas, grid
from labs_helper.figures.text import joined, number, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from labs_helper.figures.base import Table

    Shapes = Mapping[str, Any]  # keys of config.json

_FAMILY = {
    "Phi-3.5-MoE": "phi-3.5-moe-instruct-4bit",
    "Phi-mini-MoE": "phi-mini-moe-instruct-bf16",
    "Phi-tiny-MoE": "phi-tiny-moe-instruct-bf16",
}
_OWN_STYLES = {"Phi-3.5-mini-instruct": STYLES[0], "Phi-3.5-MoE-instruct": STYLES[2]}  # as in the bars
_BITS = (16, 8, 6, 5, 4, 3, 2)  # widths of a weight that MLX has


# -- memory ----------------------------------------------------------------------------------------------------------


def family() -> dict[str, dict[str, Any]]:
    """The shapes of Phi-3.5-MoE and its two small siblings, from the catalog: name -> keys of config.json.

    Example:
        >>> family()["Phi-3.5-MoE"]["intermediate_size"]
        6400
    """
    shapes = {}
    for name, card_name in _FAMILY.items():
        (card,) = catalog.find(card_name)
        shapes[name] = {key: value for key, value in (card.config or {}).items() if key != "quantization"}
    return shapes


def expert_memory(
    models: Mapping[str, Shapes] | None = None,
    *,
    bits: Sequence[int] = (16, 8, 4, 3),
    macs: Sequence[int] = (8, 16, 18, 24, 32, 36, 48, 64, 96, 128),
    tokens: int = 4096,
    group_size: int = 64,
    takeaway: str = "",
) -> Figure:
    """A table: what a model needs at each bit width, and the smallest Mac whose GPU gets that much memory.

    Args:
        models: name -> shapes as in config.json; `family()` when left out.
        bits: bits of a weight; below 16 each group also has a scale and a bias of 16 bits.
        macs: sizes of memory in GB (of 2**30 bytes, as they are sold). Metal gives the GPU two thirds up to 32 GB and
            three quarters above.
        tokens: length of the conversation whose cache must fit too.
        group_size: weights that share a scale.
        takeaway: the sentence below.

    Returns:
        Figure: `rows` has weights and need in bytes and the smallest Mac (None if none is large enough).

    Raises:
        BadRequest: nothing to show, or a bit width that MLX does not have.

    Example:
        >>> expert_memory(bits=(4,)).rows[0]["smallest Mac"]
        36
    """
    models = family() if models is None else models
    if not models or not bits or not macs:
        raise BadRequest(_("There is nothing to show."), _("Give at least one model, one bit width and one Mac."))
    if unknown := set(bits) - set(_BITS):
        raise BadRequest(
            _("MLX has no weights of {bits} bits.").format(bits=min(unknown)),
            _("Use 16, 8, 6, 5, 4, 3 or 2."),
        )
    rows = [_memory_row(name, models[name], width, macs, tokens, group_size) for name in models for width in bits]
    too_large = _("more than {most}").format(most=max(macs))
    columns = [_("model"), _("bits"), _("weights (GB)"), _("needed (GB)"), _("smallest Mac (GB)")]
    cells = [
        [
            row["model"],
            row["bits"],
            f"{row['weights'] / 1e9:.1f}",
            f"{row['need'] / 1e9:.1f}",
            row["smallest Mac"] or too_large,
        ]
        for row in rows
    ]
    summary = _memory_summary(rows, tokens, max(macs))
    source = _("computed from the shapes, see {file}").format(file="labs_helper/capacity/estimate.py")
    return Figure(
        html=framed_table(columns, cells, takeaway, source=source, right=range(1, 5), grid=True),
        text=joined(text_table(columns, cells, right=range(1, 5)), summary, takeaway),
        alt=_("Table of memory by model and bit width. {summary}").format(summary=summary),
        takeaway=takeaway,
        rows=rows,
    )


def _memory_row(name: str, shapes: Shapes, bits: int, macs: Sequence[int], tokens: int, group_size: int) -> Row:
    config = dict(shapes)
    if bits < 16:
        config["quantization"] = {"bits": bits, "group_size": group_size}
    need = estimate.need(config, estimate.table_of(config), tokens, on_cpu=False)
    fits = [mac for mac in sorted(macs) if limits.gpu_share(mac * 2**30) >= need.total]
    return {
        "model": name,
        "bits": bits,
        "weights": need.weights,
        "need": need.total,
        "smallest Mac": fits[0] if fits else None,
    }


def _memory_summary(rows: Sequence[Row], tokens: int, largest: int) -> str:
    first = rows[0]["model"]
    row = next((row for row in rows if row["model"] == first and row["bits"] == 4), rows[0])
    if row["smallest Mac"]:
        sentence = _(
            "All experts must be in memory, though a token uses two: {model} at {bits} bits needs {need:.1f} GB for "
            "{tokens:,} tokens, which means a Mac with {mac} GB."
        )
    else:
        sentence = _(
            "All experts must be in memory, though a token uses two: {model} at {bits} bits needs {need:.1f} GB for "
            "{tokens:,} tokens, which means more than {largest} GB."
        )
    return sentence.format(
        model=first,
        bits=row["bits"],
        need=row["need"] / 1e9,
        tokens=tokens,
        mac=row["smallest Mac"],
        largest=largest,
    )


# -- work for a token ------------------------------------------------------------------------------------------------


class _Scored(NamedTuple):
    """A model with a published score; `active` and `total` are billions of parameters."""

    model: str
    active: float
    total: float
    score: float
    setting: str


def cost_quality(test: str = "MMLU", *, takeaway: str = "") -> Figure:
    """Draw published scores over the parameters that one token goes through.

    The work for a token grows with those parameters, two operations each; memory grows with all of them. Models whose
    size was not published are left out, and named.

    Args:
        test: a test of the table phi35_moe_main, such as "MMLU", "GSM8K" or "HumanEval".
        takeaway: the sentence below.

    Raises:
        BadRequest: there is no such test.

    Example:
        >>> [row["active"] for row in cost_quality().rows if row["model"].startswith("Phi-3.5-MoE")]
        [6.6]

    Source: the cards of Phi-3.5-MoE and Phi-3.5-mini (data/benchmarks); sizes of other models are those in their names.
    """
    models, left_out = [], []
    for model, (score, setting) in _scores(test).items():
        sizes = _parameters(model)
        if sizes is None:
            left_out.append(model)
        else:
            models.append(_Scored(model, *sizes, score, setting))
    models.sort(key=lambda scored: scored.active)
    summary = _("From the highest score: {models}.").format(
        models=", ".join(
            f"{scored.model} {number(scored.score)}" for scored in sorted(models, key=lambda scored: -scored.score)
        )
    )
    source = _("the model cards, in data/benchmarks")
    if left_out:
        source += " " + _("(left out, size not published: {models})").format(models=", ".join(left_out))
    columns = [_("model"), _("active (billions)"), _("total (billions)"), test]
    cells = [[s.model, number(s.active), number(s.total), number(s.score)] for s in models]
    alt = _("Scatter plot of {count} models: {test} over parameters for a token. {summary}")
    return Figure.from_matplotlib(
        _draw_scores(models, test),
        alt=alt.format(count=len(models), test=test, summary=summary),
        takeaway=takeaway,
        source=source,
        text=joined(text_table(columns, cells, right=[1, 2, 3]), takeaway, source_line(source)),
        rows=[scored._asdict() for scored in models],
    )


def _scores(test: str) -> dict[str, tuple[float, str]]:
    """Model -> (score, setting), the card of the MoE first."""
    scores: dict[str, tuple[float, str]] = {}
    tests = []
    for table in ("phi35_moe_main", "phi35_mini_main"):
        for row in tables.read(table):
            tests.append(str(row["benchmark"]))
            if row["benchmark"] == test and isinstance(row["value"], float):
                scores.setdefault(str(row["model"]), (row["value"], str(row["setting"])))
    if not scores:
        raise BadRequest(
            _("There is no test {test!r} in the tables.").format(test=test),
            _("Use one of: {tests}.").format(tests=", ".join(dict.fromkeys(tests))),
        )
    return scores


def _parameters(model: str) -> tuple[float, float] | None:
    """Billions of parameters (for a token, in all), from the facts or from the name ("Llama-3.1-8B-Instruct")."""
    facts = {row["attribute"]: row["value"] for row in tables.read("model_facts") if row["model"] == model}
    if "parameters_active" in facts:
        return float(facts["parameters_active"]), float(facts["parameters_total_unique"])
    if "parameters_total" in facts:
        return float(facts["parameters_total"]), float(facts["parameters_total"])
    if named := re.search(r"-(\d+(?:\.\d+)?)B\b", model, re.IGNORECASE):
        return float(named[1]), float(named[1])
    return None


def _style(model: str, others: Sequence[str]) -> Style:
    """How a model is drawn: those of the course as everywhere in it, the others in what is left."""
    if model in _OWN_STYLES:
        return _OWN_STYLES[model]
    left = [style for style in STYLES if style not in _OWN_STYLES.values()]
    return left[others.index(model) % len(left)]


def _draw_scores(models: Sequence[_Scored], test: str) -> Canvas:
    fig, (axis,) = canvas(7.8, 4.0, 1)
    others = [scored.model for scored in models if scored.model not in _OWN_STYLES]
    for scored in sorted(models, key=lambda scored: -scored.score):
        style = _style(scored.model, others)
        axis.plot(
            scored.active,
            scored.score,
            style.mark,
            color=style.colour,
            markersize=9,
            label=f"{number(scored.score)}  {scored.model}",
        )
    axis.set(
        title=_("{test}: score over work for a token").format(test=test),
        ylabel=_("score"),
        ylim=(0, 100),
        xlim=(0, 1.08 * max(scored.active for scored in models)),
        xlabel=_("billions of parameters that one token goes through"),
    )
    grid(axis)
    # Beside the points the names would cover each other: models of one size score alike.
    axis.legend(loc="lower left", fontsize=8, title=_("score and model"), alignment="left")
    return fig


# -- experts from the disk -------------------------------------------------------------------------------------------


def hit_rates(frame: Table, *, title: str | None = None, takeaway: str = "") -> Figure:
    """Draw how often an expert was in memory already when a token needed it, over the memory given to experts.

    Args:
        frame: rows with `experts` (how many fit), `hits` and `misses`, as `moe_offload_store.stats()` gives them.
        title: shown above; "Experts kept in memory, the others on the disk" when left out.
        takeaway: the sentence below.

    Raises:
        BadRequest: no rows, or a column is missing.

    Example:
        >>> hit_rates([{"experts": 1, "hits": 0, "misses": 90}]).rows[0]["hit rate"]
        0.0
    """
    title = _("Experts kept in memory, the others on the disk") if title is None else title
    rows = _hit_rows(records(frame))
    low, high = rows[0], rows[-1]
    summary = _n(
        "With room for {low} expert, {low_rate:.0%} of the look-ups find theirs in memory; with room for {high}, "
        "{high_rate:.0%}.",
        "With room for {low} experts, {low_rate:.0%} of the look-ups find theirs in memory; with room for {high}, "
        "{high_rate:.0%}.",
        low["experts"],
    ).format(low=low["experts"], low_rate=low["hit rate"], high=high["experts"], high_rate=high["hit rate"])
    table = text_table(
        [_("experts"), _("hits"), _("misses"), _("hit rate")],
        [[row["experts"], row["hits"], row["misses"], f"{row['hit rate']:.0%}"] for row in rows],
        right=range(4),
    )
    return Figure.from_matplotlib(
        _draw_hits(rows, title),
        alt=_("Line chart of the hit rate at {count} budgets. {summary}").format(count=len(rows), summary=summary),
        takeaway=takeaway,
        rows=rows,
        text=joined(table, summary, takeaway),
    )


def _hit_rows(budgets: list[Row]) -> list[Row]:
    if not budgets:
        raise BadRequest(_("There is nothing to draw: the table has no rows."), _("Try at least one budget."))
    if missing := {"experts", "hits", "misses"} - set(budgets[0]):
        raise BadRequest(
            _("The table lacks: {columns}.").format(columns=", ".join(sorted(missing))),
            _("It needs experts, hits and misses."),
        )
    rows = []
    for budget in sorted(budgets, key=lambda budget: int(budget["experts"])):
        lookups = budget["hits"] + budget["misses"]
        row = {key: budget[key] for key in ("experts", "hits", "misses")}
        rows.append({**row, "hit rate": budget["hits"] / lookups if lookups else 0.0})
    return rows


def _draw_hits(rows: Sequence[Row], title: str) -> Canvas:
    fig, (axis,) = canvas(6.4, 3.2, 1)
    places, style = range(len(rows)), STYLES[0]
    rates = [row["hit rate"] for row in rows]
    axis.plot(places, rates, color=style.colour, linestyle=style.line, marker=style.mark)
    for place, rate in enumerate(rates):
        annotate(axis, f"{rate:.0%}", (place, rate), up=6)
    axis.set_xticks(places, [str(row["experts"]) for row in rows])
    axis.set(title=title, xlabel=_("experts that fit into memory"), ylabel=_("hit rate"), ylim=(-0.05, 1.1))
    axis.yaxis.set_major_formatter(lambda value, _position: f"{value:.0%}")
    grid(axis)
    return fig
