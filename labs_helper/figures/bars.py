"""Bar charts as small SVG pictures that we write ourselves.

Why not matplotlib here: labels may be Chinese, Japanese or Korean. A browser has fonts for them, the font that
matplotlib ships with has not. Bars differ by pattern as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, records
from labs_helper.figures.text import display_width, number, shorten, text_table

# Okabe and Ito's palette, made for readers who do not tell all colours apart (jfly.uni-koeln.de/color).
_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A7A7A", "#B8A900"]
_MARKS = [
    "",
    '<path d="M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4" stroke="#fff" stroke-width="2"/>',
    '<circle cx="4" cy="4" r="1.8" fill="#fff"/>',
    '<path d="M0,4 h8" stroke="#fff" stroke-width="2"/>',
    '<path d="M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4" stroke="#fff" stroke-width="2"/>',
    '<path d="M4,0 v8" stroke="#fff" stroke-width="2"/>',
    '<path d="M0,0 l8,8 M0,8 l8,-8" stroke="#fff" stroke-width="1.4"/>',
    '<path d="M0,4 h8 M4,0 v8" stroke="#fff" stroke-width="1.4"/>',
]
_WIDTH = 760
_CHARACTER = 7.0  # mean width of a 12 px letter, in px; a wide character counts twice


def bars(
    frame: Any,
    *,
    x: str,
    y: str,
    group: str | None = None,
    title: str = "",
    unit: str = "",
    source: str = "",
    takeaway: str = "",
    maximum: float | None = None,
) -> Figure:
    """Draw horizontal bars, one a label, or one a label and group, each with its number.

    Arguments:
        frame: a DataFrame or a list of dictionaries, one row a bar.
        x: the column with the labels. They may be in any script.
        y: the column with the values, 0 or more. A missing value is written as "no figure".
        group: the column that splits a label into several bars (at most eight), for example the model.
        title, unit, source: shown with the chart. `unit` is what the numbers count, for example "tokens".
        takeaway: the sentence under the chart; made from the data when left out.
        maximum: the end of the axis; the largest value when left out.

    Raises:
        BadRequest: no rows, an unknown column, a negative value, more than eight groups, or two rows for one bar.

    Example:
        >>> figure = bars([{"language": "한국어", "n": 12}], x="language", y="n", unit="tokens")
        >>> "12" in figure.text
        True
    """
    rows = records(frame)
    if not rows:
        raise BadRequest("There is nothing to draw: the table has no rows.", "Check the filter that made it.")
    for column in (x, y) + ((group,) if group else ()):
        if column not in rows[0]:
            raise BadRequest(f"There is no column {column!r}.", f"Use one of: {', '.join(map(str, rows[0]))}.")
    labels = list(dict.fromkeys(str(row[x]) for row in rows))
    groups = list(dict.fromkeys(str(row[group]) for row in rows)) if group else [""]
    if len(groups) > len(_COLOURS):
        raise BadRequest(f"{len(groups)} groups are too many to tell apart.", f"Choose at most {len(_COLOURS)}.")
    values: dict[tuple[str, str], float | None] = {}
    for row in rows:
        key = (str(row[x]), str(row[group]) if group else "")
        if key in values:
            raise BadRequest(
                f"Two rows give a value for {' / '.join(part for part in key if part)}.",
                "Filter the table first, or name another column as group.",
            )
        values[key] = _value(row[y], key)

    known = [value for value in values.values() if value is not None]
    top = maximum if maximum is not None else (max(known) if known else 1)
    svg = _draw(labels, groups, values, title, unit, float(top) or 1.0)
    takeaway = takeaway or _takeaway(labels, groups, values, unit)
    columns = [x] + ([name for name in groups] if group else [f"{y} ({unit})" if unit else y])
    cells = [[label] + [_written(values.get((label, name))) for name in groups] for label in labels]
    plain = "\n".join(
        part
        for part in (
            title,
            text_table(columns, cells, right=range(1, len(columns))),
            takeaway,
            f"Source: {source}" if source else "",
        )
        if part
    )
    alt = f"Bar chart{': ' + title if title else ''}. {len(labels)} labels"
    alt += f", {len(groups)} bars each ({', '.join(groups)})" if group else ""
    alt += f", in {unit}. " if unit else ". "
    return Figure.from_svg(
        svg, alt=alt + takeaway, takeaway=takeaway, text=plain, rows=rows, width=_WIDTH, source=source
    )


def token_counts(
    counts: Mapping[str, Any],
    *,
    texts: Mapping[str, str] | None = None,
    title: str = "Tokens for the same sentence",
    takeaway: str = "",
    source: str = "",
) -> Figure:
    """Draw how many tokens each text takes.

    Arguments:
        counts: label -> number of tokens, or label -> {group: number of tokens} (for example one group a model).
        texts: label -> the text itself; then the plain form also tells tokens per character.
        title, takeaway, source: shown with the chart.

    Raises:
        BadRequest: `counts` is empty.

    Example:
        >>> print(token_counts({"English": 9, "한국어": 15}, texts={"한국어": "창사는 어디에 있나요?"}).rows[1])
        {'text': '한국어', 'tokens': 15, 'characters': 12, 'tokens per character': 1.25}
    """
    rows: list[dict[str, Any]] = []
    nested = any(isinstance(value, Mapping) for value in counts.values())
    for label, value in counts.items():
        for name, count in value.items() if nested else [("", value)]:
            row: dict[str, Any] = {"text": label}
            if nested:
                row["tokenizer"] = name
            row["tokens"] = count
            if texts and texts.get(label):
                row["characters"] = len(texts[label])
                row["tokens per character"] = round(count / len(texts[label]), 2)
            rows.append(row)
    takeaway = takeaway or _count_takeaway(rows)
    figure = bars(
        rows,
        x="text",
        y="tokens",
        group="tokenizer" if nested else None,
        title=title,
        unit="tokens",
        takeaway=takeaway,
        source=source,
    )
    if not texts:
        return figure
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = text_table(
        columns,
        [[number(row.get(key, "")) for key in columns] for row in rows],
        right=[i for i, key in enumerate(columns) if key not in ("text", "tokenizer")],
    )
    plain = "\n".join(part for part in (title, table, figure.takeaway) if part)
    return Figure(html=figure.html, text=plain, alt=figure.alt, takeaway=figure.takeaway, rows=tuple(rows))


def _count_takeaway(rows: Sequence[Mapping[str, Any]]) -> str:
    """For two tokenizers, the text where they differ most; else nothing (then `bars` makes a sentence)."""
    pairs: dict[str, list] = {}
    for row in rows:
        pairs.setdefault(row["text"], []).append((row["tokens"], row.get("tokenizer", "")))
    if not pairs or any(len(pair) != 2 or min(pair)[0] < 1 for pair in pairs.values()):
        return ""
    label = max(pairs, key=lambda name: max(pairs[name])[0] / min(pairs[name])[0])
    (few, best), (many, worst) = min(pairs[label]), max(pairs[label])
    if few == many:
        return "Both tokenizers take the same number of tokens for every text."
    return f"The largest difference is in {label}: {number(few)} tokens with {best}, {number(many)} with {worst}."


def _value(value: Any, key: tuple[str, str]) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise BadRequest(f"The value for {key[0]} is {value!r}, not a number.", "Choose a column of numbers.") from None
    if math.isnan(result):
        return None
    if result < 0 or math.isinf(result):
        raise BadRequest(f"The value for {key[0]} is {result}.", "Bars need finite numbers from 0 upwards.")
    return result


def _written(value: float | None) -> str:
    return "no figure" if value is None else number(value)


def _takeaway(labels: Sequence[str], groups: Sequence[str], values: Mapping, unit: str) -> str:
    known = {key: value for key, value in values.items() if value is not None}
    if not known:
        return "No figures are known for this choice."
    if len(groups) == 2:
        first, second = groups
        pairs = [label for label in labels if (label, first) in known and (label, second) in known]
        higher = [label for label in pairs if known[label, first] > known[label, second]]
        lower = [label for label in pairs if known[label, first] < known[label, second]]
        sentence = f"{first} is higher than {second} in {len(higher)} of {len(pairs)} rows"
        if lower:
            sentence += f" and lower in {len(lower)}" + (f" ({', '.join(lower)})" if len(lower) <= 4 else "")
        return sentence + "."
    best, worst = max(known, key=known.get), min(known, key=known.get)

    def name(key: tuple[str, str]) -> str:
        return " / ".join(part for part in key if part)

    tail = f" {unit}" if unit and " " not in unit else ""
    if len(known) == 1:
        return f"{name(best)}: {number(known[best])}{tail}."
    return f"Highest: {name(best)} with {number(known[best])}{tail}; lowest: {name(worst)} with {number(known[worst])}."


def _draw(labels: Sequence[str], groups: Sequence[str], values: Mapping, title: str, unit: str, top: float) -> str:
    bar, gap = (16, 8) if len(groups) == 1 else (13, 10)
    cut = 34
    left = min(max(display_width(shorten(label, cut)) for label in labels) * _CHARACTER, 260) + 14
    right = 62
    plot = _WIDTH - left - right
    step, ticks = _ticks(top)
    end = max(top, ticks[-1]) if ticks[-1] <= top * 1.001 else ticks[-1]
    parts: list[str] = []
    y = 8.0
    if title:
        y += 16
        parts.append(f'<text x="8" y="{y:.0f}" font-size="15" font-weight="600">{escape(shorten(title, 96))}</text>')
        y += 8
    if len(groups) > 1:
        x = 8.0
        for index, name in enumerate(groups):
            need = 26 + display_width(name) * _CHARACTER + 14
            if x > 8 and x + need > _WIDTH:
                x, y = 8.0, y + 20
            parts.append(
                f'<rect x="{x:.0f}" y="{y + 4:.0f}" width="20" height="12" fill="url(#p{index})" '
                f'stroke="#333" stroke-width="0.5"/>'
                f'<text x="{x + 26:.0f}" y="{y + 14:.0f}" font-size="12">{escape(name)}</text>'
            )
            x += need
        y += 22
    y += 6
    start = y
    body: list[str] = []
    for label in labels:
        height = bar * len(groups)
        body.append(
            f'<text x="{left - 8:.0f}" y="{y + height / 2 + 4:.1f}" font-size="12" text-anchor="end">'
            f"{escape(shorten(label, cut))}</text>"
        )
        for index, name in enumerate(groups):
            value = values.get((label, name))
            at = y + index * bar
            length = 0.0 if value is None else plot * min(value, end) / end
            if value is not None:
                body.append(
                    f'<rect x="{left:.1f}" y="{at + 1:.1f}" width="{max(length, 0.5):.1f}" '
                    f'height="{bar - 2}" fill="url(#p{index})" stroke="#333" stroke-width="0.5"/>'
                )
            body.append(
                f'<text x="{left + length + 4:.1f}" y="{at + bar - 3:.1f}" font-size="11">'
                f"{escape(_written(value))}</text>"
            )
        y += height + gap
    grid = []
    for tick in ticks:
        x = left + plot * tick / end
        grid.append(
            f'<path d="M{x:.1f},{start - 2:.0f} V{y - 2:.0f}" stroke="#ccc" stroke-width="1"/>'
            f'<text x="{x:.1f}" y="{y + 11:.0f}" font-size="11" fill="#444" text-anchor="middle">'
            f"{number(round(tick, 10))}</text>"
        )
    y += 16
    if unit:
        y += 12
        parts.append(
            f'<text x="{left + plot / 2:.0f}" y="{y:.0f}" font-size="12" fill="#444" '
            f'text-anchor="middle">{escape(unit)}</text>'
        )
        y += 4
    height = y + 6
    patterns = "".join(
        f'<pattern id="p{i}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" fill="{_COLOURS[i]}"/>{_MARKS[i]}</pattern>'
        for i in range(len(groups))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" fill="#111">'
        f'<defs>{patterns}</defs><rect width="{_WIDTH}" height="{height:.0f}" fill="#fff"/>'
        f"{''.join(grid)}{''.join(parts)}{''.join(body)}</svg>"
    )


def _ticks(top: float) -> tuple[float, list[float]]:
    """Round axis marks: about five, a step of 1, 2 or 5 times a power of ten."""
    raw = top / 5
    power = 10 ** math.floor(math.log10(raw)) if raw > 0 else 1
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return step, [step * i for i in range(int(top / step + 1e-9) + 1)]
