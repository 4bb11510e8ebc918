"""What a model saw in a picture, and what it would have said after each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labs_helper.common.markup import Html, escape
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures import svg
from labs_helper.figures.base import Figure, Row, framed_table, records
from labs_helper.figures.text import joined, text_table, visible
from labs_helper.pictures.images import open_image

if TYPE_CHECKING:
    from labs_helper.figures.base import Table
    from labs_helper.pictures.images import PictureSource

SIDE = 420  # pixels of the picture in the drawing
NAMED = 5  # cells that get their number
ABOVE = 22  # pixels from the number of a cell to its upper side
EVEN = 1.0  # times an even share: below this a cell is not marked


def attention_on_picture(
    image: PictureSource,
    cells: Any,
    *,
    word: str = "",
    box: Sequence[tuple[int, int]] = (),
    takeaway: str = "",
) -> Figure:
    """Draw over a picture which of its cells a word looked at.

    A marked cell has a frame that is thicker the more was looked at it, and the five strongest have their share as a
    number.

    Args:
        image: anything `open_image` takes.
        cells: (rows, columns) the share of the attention on each cell, from `labs_helper.reference.looking`.
        word: the word that looked, for the caption.
        box: (row, column) cells where the thing is, drawn with a dashed frame.
        takeaway: the sentence below; without it, one that follows from the numbers.

    Returns:
        Figure: `rows` has row, column and share of every cell, the strongest first.

    Raises:
        BadRequest: `cells` is no table of shares.

    Example:
        attention_on_picture(picture, cells, word="red")
    """
    import numpy as np

    shares = np.asarray(cells, float)
    if shares.ndim != 2 or not shares.size or not np.isfinite(shares).all() or shares.min() < 0:
        raise BadRequest(
            _("The cells must be a table of shares, rows by columns."),
            _("Use labs_helper.reference.looking.on_picture."),
        )
    opened = open_image(image)
    order = np.argsort(-shares, axis=None, kind="stable")
    rows: list[Row] = [
        {"row": int(at // shares.shape[1]), "column": int(at % shares.shape[1]), "share": float(shares.flat[at])}
        for at in order
    ]
    on_thing = float(sum(shares[cell] for cell in box)) if box else None
    summary = takeaway or _summary(word, float(shares.sum()), rows[0], on_thing, len(box) / shares.size)
    alt = _("The picture with a grid of {count} cells over it; frames mark the cells that were looked at. {summary}")
    columns = [_("row"), _("column"), _("share")]
    listed = [[row["row"], row["column"], f"{row['share']:.1%}"] for row in rows[:NAMED]]
    return Figure.from_svg(
        _draw(opened, shares, box, order[:NAMED].tolist()),
        alt=alt.format(count=shares.size, summary=summary),
        takeaway=summary,
        text=joined(text_table(columns, listed, right=range(3)), summary),
        rows=rows,
        width=svg.WIDTH,
    )


def _summary(word: str, total: float, best: Row, on_thing: float | None, even: float) -> str:
    told = _("{word} gave {total:.0%} of its attention to the picture, most to row {row}, column {column}.").format(
        word=visible(word) if word else _("The token"), total=total, row=best["row"], column=best["column"]
    )
    if on_thing is None:
        return told
    return (
        told
        + " "
        + _("On the thing itself: {share:.0%}; evenly spread it would be {even:.0%}.").format(
            share=on_thing, even=even * total
        )
    )


def _draw(image: Any, shares: Any, box: Sequence[tuple[int, int]], named: Sequence[int]) -> str:
    scale = SIDE / max(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    rows, columns = shares.shape
    across, down = width / columns, height / rows
    left, top = (svg.WIDTH - width) / 2, 10
    even = shares.sum() / shares.size
    parts = [svg.embedded(image, left, top, width, height)]

    def frame(row: int, column: int, look: str) -> str:
        x, y = left + column * across, top + row * down
        return f'<rect x="{x:.1f}" y="{y:.1f}" width="{across:.1f}" height="{down:.1f}" fill="none" {look}/>'

    for row in range(rows):
        for column in range(columns):
            share = shares[row, column]
            if share > EVEN * even and share > 0:
                thick = 1 + 5 * share / shares.max()
                # White under blue: the frame is seen on any ground.
                parts.append(frame(row, column, f'stroke="#fff" stroke-width="{thick + 2:.1f}"'))
                parts.append(frame(row, column, f'stroke="#0072B2" stroke-width="{thick:.1f}"'))
    parts += [
        f'<path d="M{left + x * across:.1f} {top + y * down:.1f}{to}{length:.1f}" stroke="#000" stroke-width="2" '
        f'stroke-dasharray="4 3"/>'
        for x, y, to, length in _outline(box, across, down)
    ]
    for place in named:
        row, column = divmod(place, columns)
        if shares[row, column] > even:
            share = f"{100 * shares[row, column]:.0f}"
            # Above the cell, or it would hide the letter that was looked at; the first row has no room there.
            up = ABOVE if row else 0
            parts.append(svg.badge(left + column * across, top + row * down - up, share, 11))
    parts.append(
        svg.words(8, top + height + 22, _("Numbers: per cent of the token's attention. Dashed: where the thing is."))
    )
    return svg.svg(parts, top + height + 34)


def _outline(box: Sequence[tuple[int, int]], across: float, down: float) -> list[tuple[int, int, str, float]]:
    """The sides of cells that no other cell of the box shares: column, row, direction and length of each."""
    cells = set(box)
    sides = []
    for row, column in sorted(cells):
        sides += [(column, row + below, "h", across) for below in (0, 1) if (row + 2 * below - 1, column) not in cells]
        sides += [(column + by, row, "v", down) for by in (0, 1) if (row, column + 2 * by - 1) not in cells]
    return sides


def logit_lens(frame: Table, *, title: str = "", takeaway: str = "") -> Figure:
    """Show the best token after each layer, for one or more places.

    Args:
        frame: rows with "place", "stage", "token" and "probability", from `labs_helper.reference.looking.lens`.
        title: shown above.
        takeaway: the sentence below; without it, one that follows from the numbers.

    Returns:
        Figure: a row for each stage and a column for each place; `rows` holds what was given.

    Raises:
        BadRequest: there is nothing to show, or a column is missing.

    Example:
        logit_lens(lens(reference, run, places=[-1], pieces=pieces))
    """
    rows = records(frame)
    if not rows or not {"place", "stage", "token", "probability"} <= rows[0].keys():
        raise BadRequest(
            _("There is nothing to show: rows with place, stage, token and probability are needed."),
            _("Make them with labs_helper.reference.looking.lens."),
        )
    places, stages = (list(dict.fromkeys(row[key] for row in rows)) for key in ("place", "stage"))
    by_cell = {(row["stage"], row["place"]): row for row in rows}
    columns = [_("after"), *map(str, places)]
    plain = [[_stage(stage), *(_cell(by_cell.get((stage, place))) for place in places)] for stage in stages]
    marked = [
        [line[0], *(_mark(words, by_cell.get((stage, place))) for words, place in zip(line[1:], places, strict=True))]
        for line, stage in zip(plain, stages, strict=True)
    ]
    summary = takeaway or _lens_summary(rows, places, stages)
    return Figure(
        html=framed_table(columns, marked, summary, title=title, grid=True),
        text=joined(title, text_table(columns, plain), summary),
        alt=_("Table of the best token after each of {count} stages, for {places} places. {summary}").format(
            count=len(stages), places=len(places), summary=summary
        ),
        takeaway=summary,
        rows=tuple(rows),
    )


def _stage(stage: int) -> str:
    return _("the embedding") if stage == 0 else _("layer {layer}").format(layer=stage - 1)


def _cell(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{visible(row['token'])} {row['probability']:.0%}"


def _mark(words: str, row: Mapping[str, Any] | None) -> Html:
    """A cell with a line below that is longer the surer the model was."""
    share = 0.0 if row is None else float(row["probability"])
    look = f"display:block;width:{100 * share:.0f}%;border-top:3px solid"
    return Html(f'{escape(words)}<span style="{look}"></span>')


def _lens_summary(rows: Sequence[Mapping[str, Any]], places: Sequence[object], stages: Sequence[int]) -> str:
    final = {row["place"]: row["token"] for row in rows if row["stage"] == stages[-1]}
    first = {
        place: min(row["stage"] for row in rows if row["place"] == place and row["token"] == final[place])
        for place in places
    }
    told = ", ".join(f"{visible(final[place])}: {_stage(first[place])}" for place in places)
    return _("Where the final token is the best one for the first time: {told}.").format(told=told)
