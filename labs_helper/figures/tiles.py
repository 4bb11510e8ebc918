"""What a vision model sees of a picture: the tiles, and how they get mixed up without our correction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.figures import svg
from labs_helper.figures.base import Figure, Row
from labs_helper.figures.text import joined, number, text_table
from labs_helper.pictures.images import TILE, VIEW_TOKENS, Layout, layout, open_image, padded, views

if TYPE_CHECKING:
    from PIL import Image

    from labs_helper.pictures.images import PictureSource

_CELLS = 12  # merged cells on each side of a view: 24 x 24 patches, two by two
_LEFT, _GRID = 268, 430  # px where the tiles begin, and how wide they may be in all
_GAP = 8


def tile_view(image: PictureSource, num_crops: int, *, name: str = "") -> Figure:
    """Draw the views that Phi-3.5-vision gets of a picture, with the tokens that each one costs.

    Args:
        image: anything `open_image` takes.
        num_crops: the largest number of tiles, 1 to 64.
        name: shown above.

    Raises:
        BadImage: the picture cannot be read.
        BadRequest: num_crops is not a whole number from 1 to 64.

    Example:
        >>> from PIL import Image
        >>> tile_view(Image.new("RGB", (640, 360)), 4).rows[-1]
        {'part': 'sum', 'tokens': 757}

    Source of the formula: the image processor of Phi-3.5-vision-instruct, (rows * columns + 1) * 144 + 1 + (rows + 1)
    * 12. The rows go to the model in this order: the tiles, line by line; one separator; the global view.
    """
    opened = open_image(image)
    plan = layout(opened.width, opened.height, num_crops)
    white = 1 - plan.size[0] * plan.size[1] / (plan.padded[0] * plan.padded[1])
    if white >= 0.005:
        sentence = _(
            "{size} pixels become {tiles} and a global view: {formula} = {tokens:,} tokens; {white:.0%} of the tiles "
            "is white padding."
        )
    else:
        sentence = _("{size} pixels become {tiles} and a global view: {formula} = {tokens:,} tokens.")
    takeaway = sentence.format(
        size=size_of(opened), tiles=_tiles(plan), formula=_formula(plan), tokens=plan.tokens, white=white
    )
    alt = _(
        "What the model sees of {name}: on the left the whole picture as one small view, on the right {tiles}, "
        "numbered row by row. {takeaway}"
    ).format(name=name or _("a picture"), tiles=_tiles(plan), takeaway=takeaway)
    together = _("{count} x {tokens} for the tiles").format(count=plan.tiles, tokens=VIEW_TOKENS)
    lines = [[together, number(plan.tiles * VIEW_TOKENS)]]
    lines += [[words, number(tokens)] for _part, words, tokens in _other_parts(plan)]
    return Figure.from_svg(
        _draw_tiles(opened, plan, name),
        alt=alt,
        takeaway=takeaway,
        text=joined(name, text_table([_("part"), _("tokens")], lines, right=[1]), takeaway),
        rows=_part_rows(plan),
        width=svg.WIDTH,
    )


def _other_parts(plan: Layout) -> list[tuple[str, str, int]]:
    """What the prompt holds of a picture after its tiles, and the sum: name in the rows, words, tokens."""
    return [
        ("line ends of the tiles", _("line ends of the tiles"), plan.rows * _CELLS),
        ("separator", _("separator"), 1),
        ("global view", _("global view"), VIEW_TOKENS),
        ("line ends of the global view", _("line ends of the global view"), _CELLS),
        ("sum", _("sum"), plan.tokens),
    ]


def _part_rows(plan: Layout) -> list[Row]:
    tiles: list[Row] = [
        {
            "part": f"tile {i + 1}",
            "row": i // plan.columns + 1,
            "column": i % plan.columns + 1,
            "tokens": VIEW_TOKENS,
        }
        for i in range(plan.tiles)
    ]
    return [*tiles, *({"part": part, "tokens": tokens} for part, _words, tokens in _other_parts(plan))]


def _draw_tiles(image: Image.Image, plan: Layout, name: str) -> str:
    whole, *tiles = views(image, plan)
    top = 34 if name else 12
    side = min(220, _GRID // plan.columns - _GAP, 470 // plan.rows - _GAP)
    step = side + _GAP
    height = top + 26 + max(200, plan.rows * step) + 30
    above = _("{tiles}: {tokens} each, and {cells} line ends a row")
    parts = [
        svg.title(name),
        svg.words(8, top + 14, _("global view: {tokens} + {cells}").format(tokens=VIEW_TOKENS, cells=_CELLS)),
        svg.embedded(whole, 8, top + 24, 200),
        svg.words(_LEFT, top + 14, above.format(tiles=_tiles(plan), tokens=VIEW_TOKENS, cells=_CELLS)),
    ]
    for i, tile in enumerate(tiles):
        x, y = _LEFT + i % plan.columns * step, top + 24 + i // plan.columns * step
        parts += [svg.embedded(tile, x, y, side), svg.badge(x, y, str(i + 1), 12 if side > 90 else 8)]
    for row in range(plan.rows):
        parts.append(svg.words(_LEFT + plan.columns * step, top + 24 + row * step + side / 2, f"+ {_CELLS}"))
    order = _("order: tiles, 1 separator, global view. {formula} = {tokens:,}")
    parts.append(svg.words(8, height - 10, order.format(formula=_formula(plan), tokens=plan.tokens)))
    return svg.svg(parts, height)


def wrong_order(image: PictureSource, num_crops: int) -> Figure:
    """Draw a picture as its tiles should reach the model, beside what plain mlx-vlm 0.7 makes of it.

    Plain mlx-vlm first stretches the picture to fill its tiles. Then it reads the features of all tiles as one long
    list and breaks it into lines as wide as the picture, so that strips of different tiles stand side by side.

    Args:
        image: anything `open_image` takes.
        num_crops: the largest number of tiles, 1 to 64.

    Raises:
        BadImage: the picture cannot be read.
        BadRequest: num_crops is not a whole number from 1 to 64.

    Example:
        >>> from PIL import Image
        >>> wrong_order(Image.new("RGB", (400, 400)), 4).rows[0]["cells in the wrong place"]
        528

    Source: `models/phi3_v/vision.py` and `processing_phi3_v.py` of mlx-vlm 0.7.10, against the image code published
    with Phi-3.5-vision-instruct.
    """
    opened = open_image(image)
    plan = layout(opened.width, opened.height, num_crops)
    shuffled, wrong = _shuffle(opened, plan)
    bent = (plan.padded[0] / opened.width) / (plan.padded[1] / opened.height)
    row: Row = {
        "rows": plan.rows,
        "columns": plan.columns,
        "cells": plan.tiles * VIEW_TOKENS,
        "cells in the wrong place": wrong,
        "stretched in width": round(bent, 3),
    }
    takeaway = _wrong_takeaway(plan, wrong, bent)
    alt = _(
        "Two pictures of {tiles}. First: the picture as it should reach the model, its ratio kept and the rest white. "
        "Second: what plain mlx-vlm makes of it. {takeaway}"
    ).format(tiles=_tiles(plan), takeaway=takeaway)
    columns = [_("rows"), _("columns"), _("cells"), _("cells in the wrong place"), _("stretched in width")]
    return Figure.from_svg(
        _draw_pair(padded(opened, plan), shuffled, plan),
        alt=alt,
        takeaway=takeaway,
        text=joined(text_table(columns, [list(row.values())], right=range(5)), takeaway),
        rows=[row],
        width=svg.WIDTH,
    )


def _shuffle(image: Image.Image, plan: Layout) -> tuple[Image.Image, int]:
    """The picture as plain mlx-vlm sees it, and how many of its cells are in the wrong place."""
    from PIL import Image

    stretched = image.resize(plan.padded, Image.Resampling.BICUBIC)
    shuffled, wrong = Image.new("RGB", plan.padded), 0
    wide, cell = plan.columns * _CELLS, TILE // _CELLS
    for place in range(plan.tiles * VIEW_TOKENS):
        tile, inside = divmod(place, VIEW_TOKENS)
        x = tile % plan.columns * _CELLS + inside % _CELLS
        y = tile // plan.columns * _CELLS + inside // _CELLS
        to = place % wide, place // wide
        wrong += to != (x, y)
        box = (x * cell, y * cell, (x + 1) * cell, (y + 1) * cell)
        shuffled.paste(stretched.crop(box), (to[0] * cell, to[1] * cell))
    return shuffled, wrong


def _wrong_takeaway(plan: Layout, wrong: int, bent: float) -> str:
    if abs(bent - 1) <= 0.01:
        if wrong:
            sentence = _("Plain mlx-vlm puts {wrong:,} of {cells:,} cells in the wrong place.")
        else:
            sentence = _("With {tiles} no cell is in the wrong place.")
    elif wrong and bent > 1:
        sentence = _(
            "Plain mlx-vlm puts {wrong:,} of {cells:,} cells in the wrong place and makes things {times:.2f} times too "
            "wide."
        )
    elif wrong:
        sentence = _(
            "Plain mlx-vlm puts {wrong:,} of {cells:,} cells in the wrong place and makes things {times:.2f} times too "
            "tall."
        )
    elif bent > 1:
        sentence = _("With {tiles} no cell is in the wrong place, but things become {times:.2f} times too wide.")
    else:
        sentence = _("With {tiles} no cell is in the wrong place, but things become {times:.2f} times too tall.")
    return sentence.format(wrong=wrong, cells=plan.tiles * VIEW_TOKENS, tiles=_tiles(plan), times=max(bent, 1 / bent))


def _draw_pair(right: Image.Image, shuffled: Image.Image, plan: Layout) -> str:
    """Both pictures as large as the width allows: a wide pair stands one above the other."""
    wide = plan.columns > plan.rows
    room = svg.WIDTH - 16 if wide else (svg.WIDTH - 16 - _GAP) // 2
    scale = min(room / plan.padded[0], 420 / plan.padded[1])
    width, height = (round(side * scale) for side in plan.padded)
    x, y = (8, 32 + height + 34) if wide else (8 + room + _GAP, 32)
    parts = [
        svg.words(8, 22, _("as it should be")),
        svg.embedded(right, 8, 32, width, height),
        svg.words(x, y - 10, _("as plain mlx-vlm sees it")),
        svg.embedded(shuffled, x, y, width, height),
    ]
    return svg.svg(parts, y + height + 12)


def size_of(image: Image.Image) -> str:
    """Width and height of a picture, in words."""
    return f"{image.width} x {image.height}"


def _tiles(plan: Layout) -> str:
    if plan.tiles == 1:
        return _("1 tile")
    return _("{count} tiles ({rows} x {columns})").format(count=plan.tiles, rows=plan.rows, columns=plan.columns)


def _formula(plan: Layout) -> str:
    return f"({plan.tiles} + 1) x {VIEW_TOKENS} + 1 + ({plan.rows} + 1) x {_CELLS}"
