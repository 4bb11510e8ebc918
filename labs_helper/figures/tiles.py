"""What a vision model sees of a picture, what that costs, and how it goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, records
from labs_helper.figures.plots import _STYLES, _canvas, latin
from labs_helper.figures.text import number, shorten, text_table
from labs_helper.pictures.images import TILE, VIEW_TOKENS, Layout, layout, open_image, padded, views
from labs_helper.pictures.thumbnails import data_address

if TYPE_CHECKING:
    from PIL import Image

_WIDTH = 760
_CELLS = 12  # merged cells on each side of a view: 24 x 24 patches, two by two


def tile_view(image: Any, num_crops: int, *, name: str = "") -> Figure:
    """Draw the views that Phi-3.5-vision gets of a picture, with the tokens that each one costs.

    Arguments:
        image: anything `open_image` takes.
        num_crops: the largest number of tiles, 1 to 64.
        name: shown above.

    Raises:
        BadImage: the picture cannot be read. BadRequest: num_crops is no whole number from 1 to 64.

    Example:
        >>> from PIL import Image
        >>> tile_view(Image.new("RGB", (640, 360)), 4).rows[-1]
        {'part': 'sum', 'tokens': 757}

    Source of the formula: the image processor of Phi-3.5-vision-instruct, (rows * columns + 1) * 144 + 1 + (rows + 1)
    * 12. The rows go to the model in this order: the tiles, line by line; one separator; the global view.
    """
    image = open_image(image)
    plan = layout(*image.size, num_crops)
    whole, *tiles = views(image, plan)
    rows: list[dict[str, Any]] = [
        {"part": f"tile {i + 1}", "row": i // plan.columns + 1, "column": i % plan.columns + 1, "tokens": VIEW_TOKENS}
        for i in range(plan.tiles)
    ]
    rows += [
        {"part": "line ends of the tiles", "tokens": plan.rows * _CELLS},
        {"part": "separator", "tokens": 1},
        {"part": "global view", "tokens": VIEW_TOKENS},
        {"part": "line ends of the global view", "tokens": _CELLS},
        {"part": "sum", "tokens": plan.tokens},
    ]
    white = 1 - plan.size[0] * plan.size[1] / (plan.padded[0] * plan.padded[1])
    takeaway = (
        f"{_size(image)} pixels become {_tiles(plan)} and a global view: {_formula(plan)} = {plan.tokens:,} tokens"
        + (f"; {white:.0%} of the tiles is white padding." if white >= 0.005 else ".")
    )
    top, left, grid = 34 if name else 12, 268, 430
    side = min(220, grid // plan.columns - 8, 470 // plan.rows - 8)
    height = top + 26 + max(200, plan.rows * (side + 8)) + 30
    parts = [
        _title(name),
        _words(8, top + 14, f"global view: {VIEW_TOKENS} + {_CELLS}"),
        _image(whole, 8, top + 24, 200),
        _words(left, top + 14, f"{_tiles(plan)}: {VIEW_TOKENS} each, and {_CELLS} line ends a row"),
    ]
    for i, tile in enumerate(tiles):
        x, y = left + i % plan.columns * (side + 8), top + 24 + i // plan.columns * (side + 8)
        parts += [_image(tile, x, y, side), _badge(x, y, str(i + 1), 12 if side > 90 else 8)]
    for row in range(plan.rows):
        at = top + 24 + row * (side + 8) + side / 2
        parts.append(_words(left + plan.columns * (side + 8), at, f"+ {_CELLS}"))
    parts.append(_words(8, height - 10, f"order: tiles, 1 separator, global view. {_formula(plan)} = {plan.tokens:,}"))
    together = {"part": f"{plan.tiles} x {VIEW_TOKENS} for the tiles", "tokens": plan.tiles * VIEW_TOKENS}
    lines = [[row["part"], number(row["tokens"])] for row in (together, *rows[plan.tiles :])]
    table = text_table(["part", "tokens"], lines, right=[1])
    alt = (
        f"What the model sees of {name or 'a picture'}: on the left the whole picture as one small view, on the right "
        f"{_tiles(plan)}, numbered row by row. {takeaway}"
    )
    plain = "\n".join(part for part in (name, table, takeaway) if part)
    return Figure.from_svg(_svg(parts, height), alt=alt, takeaway=takeaway, text=plain, rows=rows, width=_WIDTH)


def wrong_order(image: Any, num_crops: int) -> Figure:
    """Draw a picture as its tiles should reach the model, beside what plain mlx-vlm 0.7 makes of it.

    Plain mlx-vlm first stretches the picture to fill its tiles. Then it reads the features of all tiles as one long
    list and breaks it into lines as wide as the picture, so that strips of different tiles stand side by side.

    Arguments:
        image: anything `open_image` takes.
        num_crops: the largest number of tiles, 1 to 64.

    Raises:
        BadImage: the picture cannot be read. BadRequest: num_crops is no whole number from 1 to 64.

    Example:
        >>> from PIL import Image
        >>> wrong_order(Image.new("RGB", (400, 400)), 4).rows[0]["cells in the wrong place"]
        528

    Source: `models/phi3_v/vision.py` and `processing_phi3_v.py` of mlx-vlm 0.7.10, against the image code published
    with Phi-3.5-vision-instruct.
    """
    from PIL import Image

    image = open_image(image)
    plan = layout(*image.size, num_crops)
    right, stretched = padded(image, plan), image.resize(plan.padded, Image.Resampling.BICUBIC)
    wide, cell, wrong = plan.columns * _CELLS, TILE // _CELLS, 0
    shuffled = Image.new("RGB", plan.padded)
    for place in range(plan.tiles * VIEW_TOKENS):
        tile, inside = divmod(place, VIEW_TOKENS)
        x = tile % plan.columns * _CELLS + inside % _CELLS
        y = tile // plan.columns * _CELLS + inside // _CELLS
        to = place % wide, place // wide
        wrong += to != (x, y)
        box = (x * cell, y * cell, (x + 1) * cell, (y + 1) * cell)
        shuffled.paste(stretched.crop(box), (to[0] * cell, to[1] * cell))
    total = plan.tiles * VIEW_TOKENS
    bent = (plan.padded[0] / image.width) / (plan.padded[1] / image.height)
    row = {
        "rows": plan.rows,
        "columns": plan.columns,
        "cells": total,
        "cells in the wrong place": wrong,
        "stretched in width": round(bent, 3),
    }
    takeaway = (
        f"Plain mlx-vlm puts {wrong:,} of {total:,} cells in the wrong place"
        if wrong
        else f"With {_tiles(plan)} no cell is in the wrong place"
    )
    if abs(bent - 1) > 0.01:
        takeaway += f" and makes things {max(bent, 1 / bent):.2f} times too {'wide' if bent > 1 else 'tall'}"
    takeaway += "."
    scale = min(364 / plan.padded[0], 420 / plan.padded[1])
    w, h = (round(side * scale) for side in plan.padded)
    parts = [
        _words(8, 22, "as it should be"),
        _image(right, 8, 32, w, h),
        _words(388, 22, "as plain mlx-vlm sees it"),
        _image(shuffled, 388, 32, w, h),
    ]
    alt = (
        f"Two pictures of {_tiles(plan)}. Left: the picture as it should reach the model, its ratio kept, with white "
        f"padding. Right: what plain mlx-vlm makes of it, stretched and with strips of the tiles mixed. {takeaway}"
    )
    text = "\n".join([text_table(list(row), [list(row.values())], right=range(5)), takeaway])
    return Figure.from_svg(_svg(parts, h + 44), alt=alt, takeaway=takeaway, text=text, rows=[row], width=_WIDTH)


def frames_view(frames: Iterable[Any]) -> Figure:
    """Draw the chosen frames of a clip in order of time, with where they stand in it.

    Arguments:
        frames: what `keyframes` gives, or a list of pictures.

    Raises:
        BadRequest: there are no frames.

    Example:
        >>> from PIL import Image
        >>> frames_view([Image.new("RGB", (80, 60))] * 2).rows[1]["frame"]
        1
    """
    items = list(frames)
    if not items:
        raise BadRequest("There is nothing to draw: no frames.", "Choose at least one with keyframes.")
    shown = [item if hasattr(item, "score") else None for item in items]
    pictures = [item.image if frame else open_image(item) for item, frame in zip(items, shown)]
    rows = [
        {
            "frame": frame.index if frame else i,
            "seconds": frame.seconds if frame else None,
            "change": frame.score if frame else None,
        }
        for i, frame in enumerate(shown)
    ]
    total = getattr(frames, "total", max(row["frame"] for row in rows) + 1)
    across = min(4, len(items))
    wide = min(240, (_WIDTH - 16) // across - 8)
    high = max(round(wide * picture.height / picture.width) for picture in pictures)
    parts = []
    for i, (picture, row) in enumerate(zip(pictures, rows)):
        x, y = 8 + i % across * (wide + 8), 8 + i // across * (high + 34)
        small = min(wide / picture.width, high / picture.height)
        words = f"{i + 1}: frame {row['frame']}" + (f", {row['seconds']:.2f} s" if row["seconds"] is not None else "")
        parts.append(_image(picture, x, y, round(picture.width * small), round(picture.height * small)))
        parts.append(_words(x, y + high + 18, words))
    y = 26 + -(-len(items) // across) * (high + 34)
    length = min(_WIDTH - 32, across * (wide + 8))
    parts.append(f'<path d="M16,{y} H{16 + length}" stroke="#333" stroke-width="2"/>')
    for i, row in enumerate(rows):
        x = 16 + length * row["frame"] / max(1, total - 1)
        parts.append(f'<path d="M{x:.1f},{y - 8} V{y + 8}" stroke="#333" stroke-width="3"/>')
        parts.append(_words(x, y + 24, str(i + 1), "middle"))
    takeaway = f"{len(items)} of {total} frames stand for the clip: {', '.join(str(row['frame']) for row in rows)}."
    if note := getattr(frames, "note", ""):
        takeaway += f" {note}"
    columns = ["#", "frame", "seconds", "change"]
    table = text_table(
        columns,
        [
            [i, row["frame"], *("-" if row[c] is None else f"{row[c]:.3f}" for c in columns[2:])]
            for i, row in enumerate(rows, 1)
        ],
        right=range(4),
    )
    alt = f"{len(items)} frames of a clip in order of time, and a line that shows where each one stands. {takeaway}"
    return Figure.from_svg(
        _svg(parts, y + 34), alt=alt, takeaway=takeaway, text=f"{table}\n{takeaway}", rows=rows, width=_WIDTH
    )


def side_by_side(images: Iterable[Any], *, takeaway: str = "") -> Figure:
    """Draw pictures beside each other, numbered in the order in which a model gets them.

    Arguments:
        images: anything `open_image` takes; what has a `name` and an `alt` brings its words along.
        takeaway: the sentence below.

    Raises:
        BadRequest: there are no pictures. BadImage: one cannot be read.

    Example:
        >>> from PIL import Image
        >>> side_by_side([Image.new("RGB", (80, 60))] * 2).rows[1]
        {'picture': 2, 'name': '', 'width': 80, 'height': 60}
    """
    items = list(images)
    if not items:
        raise BadRequest("There is nothing to draw: no pictures.", "Give at least one.")
    pictures = [open_image(item) for item in items]
    names = [getattr(item, "name", "") for item in items]
    rows = [
        {"picture": i, "name": name, "width": picture.width, "height": picture.height}
        for i, (name, picture) in enumerate(zip(names, pictures), 1)
    ]
    across = min(3, len(items))
    wide = min(300, (_WIDTH - 16) // across - 8)
    high = min(300, max(round(wide * picture.height / picture.width) for picture in pictures))
    parts = []
    for i, (picture, name) in enumerate(zip(pictures, names)):
        x, y = 8 + i % across * (wide + 8), 24 + i // across * (high + 30)
        small = min(wide / picture.width, high / picture.height)
        parts.append(_words(x, y - 8, f"{i + 1}: {name}" if name else str(i + 1)))
        parts.append(_image(picture, x, y, round(picture.width * small), round(picture.height * small)))
    said = [getattr(item, "alt", "") for item in items]
    told = [
        f"{i}: {words or f'a picture of {_size(picture)} pixels'}"
        for i, (words, picture) in enumerate(zip(said, pictures), 1)
    ]
    height = 24 + -(-len(items) // across) * (high + 30)
    alt = f"{len(items)} pictures in order. {' '.join(told)} {takeaway}".strip()
    return Figure.from_svg(
        _svg(parts, height),
        alt=alt,
        takeaway=takeaway,
        text="\n".join([*told, takeaway]).strip(),
        rows=rows,
        width=_WIDTH,
    )


def token_cost(frame: Any, crops: Sequence[int] = (1, 4, 16), *, context: int | None = None) -> Figure:
    """Draw how many tokens pictures of different sizes cost, for several values of num_crops.

    Arguments:
        frame: rows with `picture` (a name), `width` and `height` (pixels).
        crops: values of num_crops, at most eight.
        context: tokens that the model can read; then the takeaway says how many of the dearest picture fit.

    Raises:
        BadRequest: no rows or a column is missing. BadImage: a size that cannot be tiled.

    Example:
        >>> token_cost([{"picture": "icon", "width": 20, "height": 20}], [1, 4]).rows[1]["tokens"]
        757
    """
    from labs_helper.figures.bars import bars

    rows = []
    for row in _needed(records(frame), ("picture", "width", "height")):
        for most in crops:
            plan = layout(int(row["width"]), int(row["height"]), most)
            rows.append(
                {
                    "picture": f"{row['picture']} ({row['width']} x {row['height']})",
                    "num_crops": str(most),
                    "tiles": plan.tiles,
                    "tokens": plan.tokens,
                }
            )
    dear, cheap = (choose(rows, key=lambda row: row["tokens"]) for choose in (max, min))
    takeaway = (
        f"From {cheap['tokens']:,} tokens ({cheap['picture']}, num_crops {cheap['num_crops']}) to {dear['tokens']:,} "
        f"({dear['picture']}, num_crops {dear['num_crops']}): the number of tiles decides, not the pixels of the file."
    )
    if context:
        takeaway += f" A context of {context:,} tokens has room for {context // dear['tokens']} of the dearest."
    named = [{**row, "num_crops": f"num_crops {row['num_crops']}"} for row in rows]
    drawn = bars(
        named, x="picture", y="tokens", group="num_crops", title="Tokens of a picture", unit="tokens", takeaway=takeaway
    )
    return Figure(html=drawn.html, text=drawn.text, alt=drawn.alt, takeaway=takeaway, rows=tuple(rows))


_PANELS = {
    "bytes": ("megabytes of pixel values", 1e-6, ("bytes",)),
    "tokens": ("tokens of the picture", 1, ("tokens",)),
    "seconds": ("seconds", 1, ("first_token_seconds", "seconds")),
}
_NAMES = {"first_token_seconds": "to the first token", "seconds": "to the whole answer"}


def crops_cost(frame: Any, *, x: str = "num_crops", title: str = "", takeaway: str = "") -> Figure:
    """Draw what a picture costs over `num_crops`: bytes, tokens and seconds, each in a panel of its own.

    Arguments:
        frame: rows with `num_crops` and at least one of `bytes`, `tokens`, `seconds`, `first_token_seconds`. Several
            rows for one place are averaged.
        x: the column along the axis; "tokens" shows the seconds over the tokens.
        title, takeaway: shown with the picture.

    Raises:
        BadRequest: no rows, no column to draw, or a value that is no number of at least 0.

    Example:
        >>> crops_cost([{"num_crops": 1, "tokens": 313}, {"num_crops": 4, "tokens": 757}]).takeaway
        'From num_crops 1 to 4: tokens 313 to 757 (2.4 times).'
    """
    given = _needed(records(frame), (x,))
    columns = [c for _, _, names in _PANELS.values() for c in names if c != x and c in given[0]]
    if not columns:
        raise BadRequest("There is nothing to draw.", f"The rows need one of: {', '.join(_PANELS)}.")
    values: dict[float, dict[str, list[float]]] = {}
    for row in given:
        for column in (x, *columns):
            value = row.get(column)
            if isinstance(value, bool) or not hasattr(value, "__float__") or not 0 <= float(value) < float("inf"):
                raise BadRequest(f"{column} is {value!r}.", "Each row needs numbers of at least 0.")
        place = values.setdefault(float(row[x]), {})
        for column in columns:
            place.setdefault(column, []).append(float(row[column]))
    places = sorted(values)
    mean = {c: [sum(values[p][c]) / len(values[p][c]) for p in places] for c in columns}
    rows = [{x: number(p) if p % 1 else int(p), **{c: mean[c][i] for c in columns}} for i, p in enumerate(places)]
    panels = [(words, factor, [c for c in names if c in columns]) for words, factor, names in _PANELS.values()]
    panels = [panel for panel in panels if panel[2]]
    fig, axes = _canvas(max(4.2, 3.1 * len(panels)), 3.0, len(panels))
    for axis, (words, factor, names) in zip(axes, panels):
        for column, (colour, line, mark) in zip(names, _STYLES):
            below = len(names) > 1 and column == names[0]  # the first token always comes before the end
            heights = [v * factor for v in mean[column]]
            axis.plot(
                places,
                heights,
                color=colour,
                linestyle=line,
                marker=mark,
                markersize=5,
                label=_NAMES.get(column, column),
            )
            for at in zip(places, heights):
                axis.annotate(
                    _brief(at[1]),
                    at,
                    xytext=(0, -13 if below else 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                )
        axis.set(title=words, xlabel=x, xticks=places, xticklabels=[number(p) for p in places])
        top = max(max(mean[c]) for c in names) * factor or 1
        axis.set_ylim(-0.12 * top if len(names) > 1 else 0, 1.22 * top)
        axis.margins(x=0.12)
        axis.grid(True, color="#dddddd", linewidth=0.6)
        if names[0] in _NAMES:
            axis.legend(fontsize=8, loc="upper left")
    if title:
        fig.suptitle(latin(title), fontsize=11)
    if not takeaway:
        told = [
            f"{_NAMES.get(c, c).replace('to', 'seconds to', 1) if c in _NAMES else c} {_brief(mean[c][0])} to "
            f"{_brief(mean[c][-1])}" + (f" ({mean[c][-1] / mean[c][0]:.1f} times)" if mean[c][0] > 0 else "")
            for c in columns
        ]
        takeaway = f"From {x} {number(places[0])} to {number(places[-1])}: {'; '.join(told)}."
    table = text_table(
        [x, *columns], [[row[x], *(_brief(row[c]) for c in columns)] for row in rows], right=range(1 + len(columns))
    )
    return Figure.from_matplotlib(
        fig,
        alt=f"{len(panels)} line charts over {x}: {', '.join(words for words, _, _ in panels)}. {takeaway}",
        takeaway=takeaway,
        text="\n".join(part for part in (title, table, takeaway) if part),
        rows=rows,
    )


# -- pieces -------------------------------------------------------------------------------------------------------


def _needed(rows: list[dict[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    if not rows:
        raise BadRequest("There is nothing to draw: the table has no rows.", "Measure or name at least one picture.")
    missing = [column for row in rows for column in columns if column not in row]
    if missing:
        raise BadRequest(f"A row has no {missing[0]!r}.", f"Each row needs: {', '.join(columns)}.")
    return rows


def _brief(value: float) -> str:
    return number(round(value, 2)) if value < 100 else f"{value:,.0f}"


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"


def _tiles(plan: Layout) -> str:
    return f"{plan.tiles} tiles ({plan.rows} x {plan.columns})" if plan.tiles > 1 else "1 tile"


def _formula(plan: Layout) -> str:
    return f"({plan.tiles} + 1) x {VIEW_TOKENS} + 1 + ({plan.rows} + 1) x {_CELLS}"


def _title(words: str) -> str:
    return f'<text x="8" y="20" font-size="15" font-weight="600">{escape(shorten(words, 96))}</text>' if words else ""


def _words(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}">{escape(words)}</text>'


def _badge(x: float, y: float, words: str, size: int) -> str:
    wide, high = size * (0.7 * len(words) + 0.8), size * 1.4
    return (
        f'<rect x="{x + 2:.1f}" y="{y + 2:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="2" fill="#fff" '
        f'stroke="#111"/>'
        f'<text x="{x + 2 + wide / 2:.1f}" y="{y + 2 + 1.08 * size:.1f}" font-size="{size}" font-weight="600" '
        f'text-anchor="middle">{escape(words)}</text>'
    )


def _image(image: Image.Image, x: float, y: float, width: int, height: int | None = None) -> str:
    height = height or width
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width}" height="{height}"'
    return (
        f'<image {box} preserveAspectRatio="none" href="{data_address(image, width, height)}"/>'
        f'<rect {box} fill="none" stroke="#555" stroke-width="1"/>'
    )


def _svg(parts: Iterable[str], height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" fill="#111">'
        f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#fff"/>{"".join(parts)}</svg>'
    )
