"""Bar charts as small SVG pictures that we write ourselves.

Why not matplotlib here: labels may be Chinese, Japanese or Korean. A browser has fonts for them, the font that
matplotlib ships with has not. Bars differ by pattern as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from labs_helper.common.markup import escape
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures import svg
from labs_helper.figures.base import Figure, Row, records, source_line
from labs_helper.figures.text import display_width, joined, number, shorten, text_table

if TYPE_CHECKING:
    from labs_helper.figures.base import Table

    Values = Mapping[tuple[str, str], float | None]  # (label, group) -> value

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
# A model family keeps its colour through every lab, in whatever order its bars are drawn.
_FAMILIES = (
    ("instruct-previous", 1),
    ("Phi-3-mini", 1),
    ("instruct-tiny", 0),
    ("Phi-3.5-mini", 0),
    ("Phi-3.5-MoE", 2),
    ("moe-tiny", 2),
    ("Phi-3.5-vision", 3),
    ("vision-tiny", 3),
)
_GUESS = 'stroke="#111" stroke-width="2" stroke-dasharray="3 2" fill="none"'
_CHARACTER = 7.0  # mean width of a 12 px letter, in px; a wide character counts twice
_CUT = 34  # columns of the longest label
_RIGHT = 62  # px beside the longest bar, for its number


def bars(
    frame: Table,
    *,
    x: str,
    y: str,
    group: str | None = None,
    title: str = "",
    unit: str = "",
    source: str = "",
    takeaway: str = "",
    maximum: float | None = None,
    decimals: int | None = None,
    chance: Mapping[str, float] | float | None = None,
    apart: Sequence[str] = (),
) -> Figure:
    """Draw horizontal bars with their numbers: one for each label, or one for each label and group.

    Args:
        frame: a DataFrame or a list of dictionaries, one row for each bar.
        x: the column with the labels. They may be in any script.
        y: the column with the values, 0 or more. A missing value is written as "no figure".
        group: the column that splits a label into several bars (at most eight), for example the model.
        title: shown above.
        unit: what the numbers count, for example "tokens".
        source: where the numbers come from; shown below.
        takeaway: the sentence under the chart, written by hand; none when left out. The alt text sums up the data
            either way.
        maximum: the end of the axis; the largest value when left out.
        decimals: digits after the point of every number; as many as each number needs when left out.
        chance: what guessing would give, for each label or for all; drawn as a dashed line across the label's bars.
        apart: labels below a line, such as an average of the rows above.

    Raises:
        BadRequest: no rows, an unknown column, a negative value, more than eight groups, or two rows for one bar.

    Example:
        >>> figure = bars([{"language": "한국어", "n": 12}], x="language", y="n", unit="tokens")
        >>> "12" in figure.text
        True
    """
    rows = records(frame)
    _check_columns(rows, [x, y, *([group] if group else [])])
    labels = list(dict.fromkeys(str(row[x]) for row in rows))
    labels = [label for label in labels if label not in apart] + [label for label in labels if label in apart]
    groups = list(dict.fromkeys(str(row[group]) for row in rows)) if group else [""]
    if len(groups) > len(_COLOURS):
        raise BadRequest(
            _("{count} groups are too many to tell apart.").format(count=len(groups)),
            _("Choose at most {most}.").format(most=len(_COLOURS)),
        )
    values = _values(rows, x, y, group)
    known = [value for value in values.values() if value is not None]
    top = maximum if maximum is not None else (max(known) if known else 1)
    guessing = dict.fromkeys(labels, chance) if isinstance(chance, (int, float)) else dict(chance or {})
    drawn = _Chart(labels, groups, values, title, unit, float(top) or 1.0, decimals, guessing, apart).svg()
    columns = [x, *(groups if group else [f"{y} ({unit})" if unit else y]), *([_("guessing")] if guessing else [])]
    cells = [
        [label, *(_written(values.get((label, name)), decimals) for name in groups)]
        + ([_written(guessing.get(label), decimals) if label in guessing else "–"] if guessing else [])
        for label in labels
    ]
    plain = joined(title, text_table(columns, cells, right=range(1, len(columns))), takeaway, source_line(source))
    summary = takeaway or _summary(labels, groups, values, unit)
    alt = f"{_alt(title, len(labels), groups if group else [], unit)} {summary}"
    return Figure.from_svg(drawn, alt=alt, takeaway=takeaway, text=plain, rows=rows, width=svg.WIDTH, source=source)


def token_counts(
    counts: Mapping[str, int] | Mapping[str, Mapping[str, int]],
    *,
    texts: Mapping[str, str] | None = None,
    title: str | None = None,
    takeaway: str = "",
    source: str = "",
) -> Figure:
    """Draw how many tokens each text takes.

    Args:
        counts: label -> number of tokens, or label -> {group: number of tokens} (for example one group for each
            model).
        texts: label -> the text itself; then the plain form also tells tokens per character.
        title: shown above; "Tokens for the same sentence" when left out.
        takeaway: shown below; none when left out.
        source: where the numbers come from.

    Raises:
        BadRequest: `counts` is empty.

    Example:
        >>> print(token_counts({"English": 9, "한국어": 15}, texts={"한국어": "창사는 어디에 있나요?"}).rows[1])
        {'text': '한국어', 'tokens': 15, 'characters': 12, 'tokens per character': 1.25}
    """
    title = _("Tokens for the same sentence") if title is None else title
    nested = any(isinstance(value, Mapping) for value in counts.values())
    rows = _count_rows(counts, texts or {})
    figure = bars(
        rows,
        x="text",
        y="tokens",
        group="tokenizer" if nested else None,
        title=title,
        unit=_("tokens"),
        takeaway=takeaway,
        source=source,
    )
    if not texts:
        return figure
    columns = list(dict.fromkeys(key for row in rows for key in row))
    heads = {
        "text": _("text"),
        "tokenizer": _("tokenizer"),
        "tokens": _("tokens"),
        "characters": _("characters"),
        "tokens per character": _("tokens per character"),
    }
    table = text_table(
        [heads.get(key, key) for key in columns],
        [[number(row.get(key, "")) for key in columns] for row in rows],
        right=[i for i, key in enumerate(columns) if key not in ("text", "tokenizer")],
    )
    plain = joined(title, table, figure.takeaway)
    return Figure(html=figure.html, text=plain, alt=figure.alt, takeaway=figure.takeaway, rows=tuple(rows))


def colours(groups: Sequence[str]) -> list[int]:
    """The number of the colour of each group: a model family has its own, others get those that are left.

    Example:
        >>> colours(["Phi-3-mini-128k-instruct (June 2024)", "instruct-tiny", "Gemma-2-9B-it"])
        [1, 0, 2]
    """
    wanted = [next((number for part, number in _FAMILIES if part.lower() in name.lower()), None) for name in groups]
    chosen: list[int] = []
    for name_wants in wanted:
        taken = {*chosen, *(number for number in wanted if number is not None)}
        free = [number for number in range(len(_COLOURS)) if number not in taken]
        chosen.append(free[0] if name_wants is None or name_wants in chosen else name_wants)
    return chosen


# -- from rows to values ---------------------------------------------------------------------------------------------


def _check_columns(rows: Sequence[Row], columns: Sequence[str]) -> None:
    if not rows:
        raise BadRequest(_("There is nothing to draw: the table has no rows."), _("Check the filter that made it."))
    for column in columns:
        if column not in rows[0]:
            raise BadRequest(
                _("There is no column {column!r}.").format(column=column),
                _("Use one of: {columns}.").format(columns=", ".join(map(str, rows[0]))),
            )


def _values(rows: Sequence[Row], x: str, y: str, group: str | None) -> dict[tuple[str, str], float | None]:
    values: dict[tuple[str, str], float | None] = {}
    for row in rows:
        key = (str(row[x]), str(row[group]) if group else "")
        if key in values:
            raise BadRequest(
                _("Two rows give a value for {bar}.").format(bar=_bar_name(key)),
                _("Filter the table first, or name another column as group."),
            )
        values[key] = _value(row[y], key)
    return values


def _value(value: object, key: tuple[str, str]) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        result = float(cast("float", value))
    except (TypeError, ValueError):
        raise BadRequest(
            _("The value for {label} is {value!r}, not a number.").format(label=key[0], value=value),
            _("Choose a column of numbers."),
        ) from None
    if math.isnan(result):
        return None
    if result < 0 or math.isinf(result):
        raise BadRequest(
            _("The value for {label} is {value}.").format(label=key[0], value=result),
            _("Bars need finite numbers from 0 upwards."),
        )
    return result


def _count_rows(counts: Mapping[str, int] | Mapping[str, Mapping[str, int]], texts: Mapping[str, str]) -> list[Row]:
    rows: list[Row] = []
    for label, value in counts.items():
        tokenizers = value if isinstance(value, Mapping) else {None: value}
        for tokenizer, count in tokenizers.items():
            row: Row = {"text": label}
            if tokenizer is not None:
                row["tokenizer"] = tokenizer
            row["tokens"] = count
            if texts.get(label):
                row["characters"] = len(texts[label])
                row["tokens per character"] = round(count / len(texts[label]), 2)
            rows.append(row)
    return rows


# -- in words --------------------------------------------------------------------------------------------------------


def _bar_name(key: tuple[str, str]) -> str:
    return " / ".join(part for part in key if part)


def _written(value: float | None, decimals: int | None = None) -> str:
    if value is None:
        return _("no figure")
    return number(value) if decimals is None else f"{value:,.{decimals}f}"


def _alt(title: str, labels: int, groups: Sequence[str], unit: str) -> str:
    head = _("Bar chart: {title}.").format(title=title) if title else _("Bar chart.")
    if groups:
        what = _("{labels} labels, {count} bars each ({groups})").format(
            labels=labels, count=len(groups), groups=", ".join(groups)
        )
    else:
        what = _("{labels} labels").format(labels=labels)
    tail = _("{what}, in {unit}.") if unit else "{what}."
    return f"{head} {tail.format(what=what, unit=unit)}"


def _summary(labels: Sequence[str], groups: Sequence[str], values: Values, unit: str) -> str:
    known = {key: value for key, value in values.items() if value is not None}
    if not known:
        return _("No figures are known for this choice.")
    if len(groups) == 2:
        return _pair_summary(labels, groups[0], groups[1], known)
    tail = f" {unit}" if unit and " " not in unit else ""
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    if len(known) == 1:
        return f"{_bar_name(best)}: {number(known[best])}{tail}."
    return _("Highest: {best} with {most}; lowest: {worst} with {least}.").format(
        best=_bar_name(best),
        most=f"{number(known[best])}{tail}",
        worst=_bar_name(worst),
        least=number(known[worst]),
    )


def _pair_summary(labels: Sequence[str], first: str, second: str, known: Mapping[tuple[str, str], float]) -> str:
    pairs = [label for label in labels if (label, first) in known and (label, second) in known]
    higher = [label for label in pairs if known[label, first] > known[label, second]]
    lower = [label for label in pairs if known[label, first] < known[label, second]]
    if not lower:
        sentence = _("{first} is higher than {second} in {higher} of {rows} rows.")
    elif len(lower) > 4:
        sentence = _("{first} is higher than {second} in {higher} of {rows} rows and lower in {lower}.")
    else:
        sentence = _("{first} is higher than {second} in {higher} of {rows} rows and lower in {lower} ({labels}).")
    return sentence.format(
        first=first,
        second=second,
        higher=len(higher),
        rows=len(pairs),
        lower=len(lower),
        labels=", ".join(lower),
    )


# -- the picture -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chart:
    """The geometry of one chart. Every method returns its parts and the height, in px, at which the next one begins."""

    labels: Sequence[str]
    groups: Sequence[str]
    values: Values
    title: str
    unit: str
    top: float
    decimals: int | None
    chance: Mapping[str, float]
    apart: Sequence[str]

    @property
    def colours(self) -> Sequence[int]:
        """The number of each group's colour and pattern."""
        return colours(self.groups)

    @property
    def left(self) -> float:
        """Where the bars begin."""
        widest = max(display_width(shorten(label, _CUT)) for label in self.labels) * _CHARACTER
        return max(min(widest, 260), 64) + 14  # a short label of capitals is wider than its count of letters

    @property
    def plot(self) -> float:
        """How long the longest bar may be."""
        return svg.WIDTH - self.left - _RIGHT

    def svg(self) -> str:
        ticks = _ticks(self.top)
        end = max(self.top, ticks[-1]) if ticks[-1] <= self.top * 1.001 else ticks[-1]
        head, y = self._head()
        legend, y = self._legend(y)
        start = y + 6
        body, y = self._bars(start, end)
        lines = self._grid(ticks, end, start, y)
        unit, y = self._unit(y + 16)
        patterns = "".join(
            f'<pattern id="p{i}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="{_COLOURS[i]}"/>{_MARKS[i]}</pattern>'
            for i in self.colours
        )
        return svg.svg([*lines, *head, *legend, *unit, *body], y + 6, patterns)

    def _head(self) -> tuple[list[str], float]:
        return ([svg.title(self.title, 24)], 32.0) if self.title else ([], 8.0)

    def _legend(self, y: float) -> tuple[list[str], float]:
        named = list(self.groups) if len(self.groups) > 1 or self.groups[0] else []
        if not named and not self.chance:
            return [], y
        signs = [
            f'width="20" height="12" fill="url(#p{index})" stroke="#333" stroke-width="0.5"'
            for index, _name in zip(self.colours, named, strict=False)
        ]
        parts, x = [], 8.0
        for sign, name in zip([*signs, ""], [*named, _("guessing") if self.chance else ""], strict=True):
            if not name:
                continue
            need = 26 + display_width(name) * _CHARACTER + 14
            if x > 8 and x + need > svg.WIDTH:
                x, y = 8.0, y + 20
            parts.append(
                f'<rect x="{x:.0f}" y="{y + 4:.0f}" {sign}/>'
                if sign
                else f'<path d="M{x + 10:.0f},{y + 3:.0f} v14" {_GUESS}/>'
            )
            parts.append(f'<text x="{x + 26:.0f}" y="{y + 14:.0f}" font-size="12">{escape(name)}</text>')
            x += need
        return parts, y + 22

    def _bars(self, y: float, end: float) -> tuple[list[str], float]:
        thick, gap = (16, 8) if len(self.groups) == 1 else (13, 10)
        parts = []
        for position, label in enumerate(self.labels):
            height = thick * len(self.groups)
            if label in self.apart and position and self.labels[position - 1] not in self.apart:
                parts.append(f'<path d="M8,{y:.1f} H{svg.WIDTH - 8}" stroke="#333" stroke-width="1"/>')
                y += gap
            parts.append(
                f'<text x="{self.left - 8:.0f}" y="{y + height / 2 + 4:.1f}" font-size="12" text-anchor="end">'
                f"{escape(shorten(label, _CUT))}</text>"
            )
            for row, (index, name) in enumerate(zip(self.colours, self.groups, strict=True)):
                parts += self._bar((label, name), index, y + row * thick, thick, end)
            if label in self.chance:
                at = self.left + self.plot * min(self.chance[label], end) / end
                parts.append(f'<path d="M{at:.1f},{y - 2:.1f} v{height + 4}" {_GUESS}/>')
            y += height + gap
        return parts, y

    def _bar(self, bar: tuple[str, str], index: int, y: float, thick: int, end: float) -> list[str]:
        value = self.values.get(bar)
        length = 0.0 if value is None else self.plot * min(value, end) / end
        parts = []
        if value is not None:
            parts.append(
                f'<rect x="{self.left:.1f}" y="{y + 1:.1f}" width="{max(length, 0.5):.1f}" '
                f'height="{thick - 2}" fill="url(#p{index})" stroke="#333" stroke-width="0.5"/>'
            )
        guess = self.plot * min(self.chance.get(bar[0], -1), end) / end
        beside = guess if length < guess < length + 34 else length  # the number keeps clear of the dashed line
        parts.append(
            f'<text x="{self.left + beside + 4:.1f}" y="{y + thick - 3:.1f}" font-size="11">'
            f"{escape(_written(value, self.decimals))}</text>"
        )
        return parts

    def _grid(self, ticks: Sequence[float], end: float, start: float, y: float) -> list[str]:
        parts = []
        for tick in ticks:
            x = self.left + self.plot * tick / end
            parts.append(
                f'<path d="M{x:.1f},{start - 2:.0f} V{y - 2:.0f}" stroke="#ccc" stroke-width="1"/>'
                f'<text x="{x:.1f}" y="{y + 11:.0f}" font-size="11" fill="#444" text-anchor="middle">'
                f"{number(round(tick, 10))}</text>"
            )
        return parts

    def _unit(self, y: float) -> tuple[list[str], float]:
        if not self.unit:
            return [], y
        words = (
            f'<text x="{self.left + self.plot / 2:.0f}" y="{y + 12:.0f}" font-size="12" fill="#444" '
            f'text-anchor="middle">{escape(self.unit)}</text>'
        )
        return [words], y + 16


def _ticks(top: float) -> list[float]:
    """Round axis marks: about five, a step of 1, 2 or 5 times a power of ten."""
    raw = top / 5
    power = 10 ** math.floor(math.log10(raw)) if raw > 0 else 1
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return [step * i for i in range(int(top / step + 1e-9) + 1)]
