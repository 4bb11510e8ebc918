"""What a mixture of experts costs: memory by bit width and machine, work for a token, experts from the disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from labs_helper import catalog
from labs_helper.capacity import estimate, limits
from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, caption, records
from labs_helper.figures.plots import _STYLES, _canvas
from labs_helper.figures.published import read
from labs_helper.figures.text import number, text_table

_FAMILY = {
    "Phi-3.5-MoE": "phi-3.5-moe-instruct-4bit",
    "Phi-mini-MoE": "phi-mini-moe-instruct-bf16",
    "Phi-tiny-MoE": "phi-tiny-moe-instruct-bf16",
}
_CELL = "text-align:right;padding:2px 8px;border:1px solid #bbb"


def family() -> dict[str, dict]:
    """The shapes of Phi-3.5-MoE and its two small siblings, from the catalog: name -> keys of config.json.

    Example:
        >>> family()["Phi-3.5-MoE"]["intermediate_size"]
        6400
    """
    shapes = {}
    for name, card in _FAMILY.items():
        (found,) = catalog.find(card)
        shapes[name] = {key: value for key, value in found.config.items() if key != "quantization"}
    return shapes


def expert_memory(
    models: Mapping[str, dict] | None = None,
    *,
    bits: Sequence[int] = (16, 8, 4, 3),
    macs: Sequence[int] = (8, 16, 24, 32, 48, 64),
    tokens: int = 4096,
    group_size: int = 64,
) -> Figure:
    """A table: what a model needs at each bit width, and the smallest Mac that gives its GPU so much.

    Arguments:
        models: name -> shapes as in config.json; `family()` when left out.
        bits: bits of a weight; below 16 each group also has a scale and a bias of 16 bits.
        macs: sizes of memory in GB (of 2**30 bytes, as they are sold). Metal gives the GPU two thirds up to 32 GB and
            three quarters above.
        tokens: length of the conversation whose cache must fit too. group_size: weights that share a scale.

    Returns:
        Figure: `rows` has weights and need in bytes and the smallest Mac (None if none is large enough).

    Raises:
        BadRequest: nothing to show, or a bit width that MLX does not have.

    Example:
        >>> expert_memory(bits=(4,)).rows[0]["smallest Mac"]
        48
    """
    models = family() if models is None else models
    if not models or not bits or not macs:
        raise BadRequest("There is nothing to show.", "Give at least one model, one bit width and one Mac.")
    if unknown := set(bits) - {16, 8, 6, 5, 4, 3, 2}:
        raise BadRequest(f"MLX has no weights of {min(unknown)} bits.", "Use 16, 8, 6, 5, 4, 3 or 2.")
    rows = []
    for name, shapes in models.items():
        for width in bits:
            config = dict(shapes)
            if width < 16:
                config["quantization"] = {"bits": width, "group_size": group_size}
            need = estimate.need(config, estimate.table_of(config), tokens, on_cpu=False)
            fits = [mac for mac in sorted(macs) if limits.gpu_share(mac * 2**30) >= need.total]
            rows.append(
                {
                    "model": name,
                    "bits": width,
                    "weights": need.weights,
                    "need": need.total,
                    "smallest Mac": fits[0] if fits else None,
                }
            )
    columns = ["model", "bits", "weights (GB)", "needed (GB)", "smallest Mac (GB)"]
    cells = [
        [
            row["model"],
            row["bits"],
            f"{row['weights'] / 1e9:.1f}",
            f"{row['need'] / 1e9:.1f}",
            row["smallest Mac"] or f"more than {max(macs)}",
        ]
        for row in rows
    ]
    first = next(iter(models))
    four = next((row for row in rows if row["model"] == first and row["bits"] == 4), rows[0])
    where = f"a Mac with {four['smallest Mac']} GB" if four["smallest Mac"] else f"more than {max(macs)} GB"
    takeaway = (
        f"All experts must be in memory, though a token uses two: {first} at {four['bits']} bits needs "
        f"{four['need'] / 1e9:.1f} GB for {tokens:,} tokens, which means {where}."
    )
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + f'<th scope="row" style="{_CELL}">{escape(line[0])}</th>'
        + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in line[1:])
        + "</tr>"
        for line in cells
    )
    html = (
        f'<figure style="margin:0.5em 0;overflow-x:auto"><table style="border-collapse:collapse"><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table>"
        f"{caption(takeaway, 'computed from the shapes, see labs_helper/capacity/estimate.py')}</figure>"
    )
    text = "\n".join([text_table(columns, cells, right=range(1, 5)), takeaway])
    return Figure(
        html=html, text=text, alt=f"Table of memory by model and bit width. {takeaway}", takeaway=takeaway, rows=rows
    )


def cost_quality(test: str = "MMLU") -> Figure:
    """Draw published scores over the parameters that one token goes through.

    The work for a token grows with those parameters, two operations each; memory grows with all of them. Models whose
    size was not published are left out, and named.

    Arguments:
        test: a test of the table phi35_moe_main, such as "MMLU", "GSM8K" or "HumanEval".

    Raises:
        BadRequest: there is no such test.

    Example:
        >>> [row["active"] for row in cost_quality().rows if row["model"].startswith("Phi-3.5-MoE")]
        [6.6]

    Source: the cards of Phi-3.5-MoE and Phi-3.5-mini (data/benchmarks); sizes of other models are those in their names.
    """
    known: dict[str, tuple[float, str]] = {}
    tests = []
    for table in ("phi35_moe_main", "phi35_mini_main"):
        for row in read(table):
            tests.append(row["benchmark"])
            if row["benchmark"] == test and isinstance(row["value"], int | float):
                known.setdefault(row["model"], (float(row["value"]), row["setting"]))
    if not known:
        raise BadRequest(f"There is no test {test!r} in the tables.", f"Use one of: {', '.join(dict.fromkeys(tests))}.")
    rows, left_out = [], []
    for model, (score, setting) in known.items():
        active, total = _parameters(model)
        if active is None:
            left_out.append(model)
        else:
            rows.append({"model": model, "active": active, "total": total, "score": score, "setting": setting})
    rows.sort(key=lambda row: row["active"])
    fig, axes = _canvas(7.6, 4.0, 1)
    axis = axes[0]
    for place, row in enumerate(rows):
        colour, _, mark = _STYLES[place % len(_STYLES)]
        axis.plot(row["active"], row["score"], mark, color=colour, markersize=8)
        right = row["active"] > 9
        axis.annotate(
            row["model"],
            (row["active"], row["score"]),
            xytext=(-8 if right else 8, -3),
            fontsize=8,
            textcoords="offset points",
            ha="right" if right else "left",
        )
    axis.set(
        title=f"{test}: score over work for a token",
        ylabel="score (0 to 100)",
        xlim=(0, 1.08 * rows[-1]["active"]),
        xlabel="billions of parameters that one token goes through",
    )
    axis.grid(True, color="#dddddd", linewidth=0.6)
    axis.margins(y=0.12)
    moe = next(row for row in rows if "MoE" in row["model"])
    dense = [row for row in rows if row["active"] >= moe["active"] and row is not moe]
    beaten = [row for row in dense if row["score"] < moe["score"]]
    takeaway = (
        f"{moe['model']} uses {number(moe['active'])} of its {number(moe['total'])} billion parameters for a token and "
        f"scores {number(moe['score'])}, more than {len(beaten)} of the {len(dense)} dense models here that use more."
    )
    note = f" Left out, size not published: {', '.join(left_out)}." if left_out else ""
    columns = ["model", "active (billions)", "total (billions)", test]
    cells = [[row["model"], number(row["active"]), number(row["total"]), number(row["score"])] for row in rows]
    alt = f"Scatter plot of {len(rows)} models: {test} over parameters for a token. {takeaway}{note}"
    text = "\n".join([text_table(columns, cells, right=[1, 2, 3]), takeaway + note])
    return Figure.from_matplotlib(fig, alt=alt, takeaway=takeaway + note, text=text, rows=rows)


def hit_rates(frame: Any, *, title: str = "Experts kept in memory, the others on the disk") -> Figure:
    """Draw how often an expert was in memory already when a token needed it, over the memory given to experts.

    Arguments:
        frame: rows with `experts` (how many fit), `hits` and `misses`, as `moe_offload_store.stats()` gives them.
        title: shown above.

    Raises:
        BadRequest: no rows, or a column is missing.

    Example:
        >>> hit_rates([{"experts": 1, "hits": 0, "misses": 90}]).rows[0]["hit rate"]
        0.0
    """
    given = records(frame)
    if not given:
        raise BadRequest("There is nothing to draw: the table has no rows.", "Try at least one budget.")
    if missing := {"experts", "hits", "misses"} - set(given[0]):
        raise BadRequest(f"The table lacks: {', '.join(sorted(missing))}.", "It needs experts, hits and misses.")
    rows = []
    for row in sorted(given, key=lambda row: row["experts"]):
        total = row["hits"] + row["misses"]
        rows.append(
            {
                "experts": row["experts"],
                "hits": row["hits"],
                "misses": row["misses"],
                "hit rate": row["hits"] / total if total else 0.0,
            }
        )
    fig, axes = _canvas(6.4, 3.2, 1)
    axis, places = axes[0], range(len(rows))
    colour, line, mark = _STYLES[0]
    axis.plot(places, [row["hit rate"] for row in rows], color=colour, linestyle=line, marker=mark)
    for place, row in enumerate(rows):
        axis.annotate(
            f"{row['hit rate']:.0%}",
            (place, row["hit rate"]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axis.set_xticks(places, [str(row["experts"]) for row in rows])
    axis.set(title=title, xlabel="experts that fit into memory", ylabel="hit rate", ylim=(-0.05, 1.1))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.grid(True, color="#dddddd", linewidth=0.6)
    low, high = rows[0], rows[-1]
    takeaway = (
        f"With room for {low['experts']} expert{'' if low['experts'] == 1 else 's'}, {low['hit rate']:.0%} of the "
        f"look-ups find theirs in memory; with room for {high['experts']}, {high['hit rate']:.0%}."
    )
    columns = ["experts", "hits", "misses", "hit rate"]
    cells = [[row["experts"], row["hits"], row["misses"], f"{row['hit rate']:.0%}"] for row in rows]
    return Figure.from_matplotlib(
        fig,
        alt=f"Line chart of the hit rate at {len(rows)} budgets. {takeaway}",
        takeaway=takeaway,
        rows=rows,
        text="\n".join([text_table(columns, cells, right=range(4)), takeaway]),
    )


def _parameters(model: str) -> tuple[float | None, float | None]:
    """Billions of parameters (for a token, in all), from the facts or from the name ("Llama-3.1-8B-Instruct")."""
    facts = {row["attribute"]: row["value"] for row in read("model_facts") if row["model"] == model}
    if "parameters_active" in facts:
        return float(facts["parameters_active"]), float(facts["parameters_total_unique"])
    if "parameters_total" in facts:
        return float(facts["parameters_total"]), float(facts["parameters_total"])
    if found := re.search(r"-(\d+(?:\.\d+)?)B\b", model, re.I):
        return float(found[1]), float(found[1])
    return None, None
