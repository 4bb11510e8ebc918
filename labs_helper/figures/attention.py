"""Where heads look: all heads of a model small, or one of them large with each token's numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

from labs_helper.common.markup import Html, escape, html_table
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row
from labs_helper.figures.canvas import canvas, drawable
from labs_helper.figures.choice import Box, Entry, choice, frames
from labs_helper.figures.text import joined, shorten, text_table, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from labs_helper.models.answers import Answer
    from labs_helper.reference.record import Attention

BEST = 3  # places that are named for each token
FIRST = 0  # a head that has nothing to do looks at the first token: it is named, and not taken for a finding
LABELS = 60  # tokens that a large picture can still name
CROWDED = 36  # with more tokens than these the picture is larger and its letters smaller
LISTED = 24  # tokens of an answer whose places the list of heads names


def attention_view(
    record: Answer | Attention,
    layer: int | None = None,
    head: int | None = None,
    *,
    tokens: Collection[int] | None = None,
    title: str = "",
    takeaway: str = "",
) -> Figure:
    """Draw what heads looked at: all heads small, those of one layer, or one head large.

    In each picture a row is a token that looks, and a column one that it looks at. Below it is a list of heads or of
    tokens, for mouse and keyboard: the chosen one is framed in the picture and says in numbers where it looked.

    Args:
        record: an `Answer` that was asked for with record_attention=True, or its `attention`.
        layer, head: from 0; without them, all.
        tokens: positions that are listed below a large picture; the written ones by default, without an answer all.
        title: shown above.
        takeaway: the sentence below; without it, one that follows from the numbers.

    Returns:
        Figure: `rows` has layer, head, position, token, and the places it looked at most with their shares.

    Raises:
        BadRequest: the attention was not recorded, or there is no such layer, head or token.

    Example:
        answer = load("instruct", tier="tiny").ask("Where is Lima?", record_attention=True)
        attention_view(answer, layer=2, head=4)

    Source: why idle heads of large models look at the first token: Xiao et al. 2023, arXiv:2309.17453.
    """
    seen = _record_of(record)
    if head is not None and layer is None:
        raise BadRequest(
            _("Which layer is head {head} in?").format(head=head), _("Name a layer too: layer=2, head=4, for example.")
        )
    if layer is None or head is None:
        if layer is not None:
            seen.head(layer, 0)  # refuses a layer that is not there
        return _small(seen, range(seen.layers) if layer is None else [layer], title, takeaway)
    return _large(seen, layer, head, _positions(seen, tokens), title, takeaway)


def _record_of(record: Answer | Attention) -> Attention:
    return cast("Attention", getattr(record, "attention", record))


def _positions(seen: Attention, tokens: Collection[int] | None) -> list[int]:
    """The places to list; a token is written by what the one before it looked at, so that one is listed."""
    count = len(seen)
    if tokens is None:
        return list(range(max(0, seen.prompt_tokens - 1), count - 1)) or list(range(count))
    for place in tokens:
        if not 0 <= place < count:
            raise BadRequest(
                _("There is no token {place}.").format(place=place),
                _("This record has tokens 0 to {last}.").format(last=count - 1),
            )
    return sorted(tokens)


def _best(shares: Any, count: int = BEST) -> list[tuple[int, float]]:
    """The places that a token looked at most, best first."""
    import numpy as np

    order = np.argsort(-shares, kind="stable")[:count]
    return [(int(place), float(shares[place])) for place in order if shares[place] > 0]


def _row(seen: Attention, layer: int, head: int, place: int) -> Row:
    best = _best(seen.weights[layer, head, place])
    return {
        "layer": layer,
        "head": head,
        "position": place,
        "token": seen.pieces[place],
        "looked at": tuple((at, seen.pieces[at], share) for at, share in best),
    }


def _told(entry: tuple[int, str, float]) -> str:
    at, piece, share = entry
    return _("{token} ({position}) {share:.0%}").format(token=visible(piece), position=at, share=share)


# -- one head -----------------------------------------------------------------------------------------------------


def _large(seen: Attention, layer: int, head: int, places: list[int], title: str, takeaway: str) -> Figure:
    shares = seen.head(layer, head)
    rows = [_row(seen, layer, head, place) for place in places]
    name = title or _("layer {layer}, head {head}").format(layer=layer, head=head)
    summary = takeaway or _summary(rows, seen)
    drawing, axis = _draw_large(shares, seen.pieces, name)
    entries = [_token_entry(row) for row in rows]
    picture = Figure.from_matplotlib(
        drawing,
        alt=_("Heat map of {name}: {count} tokens that look, by {count} that are looked at. {summary}").format(
            name=name, count=len(seen), summary=summary
        ),
        takeaway=summary,
        over=lambda: frames(_lines(_place(axis), places, len(seen))),
    )
    label = _("Choose a token to see where it looked (with the keyboard: arrows, Home, End):")
    columns = [_("position"), _("token"), _("looked at"), _("then"), _("then")]
    cells = [
        [row["position"], visible(row["token"]), *(_told(entry) for entry in _filled(row["looked at"]))] for row in rows
    ]
    return Figure(
        html=choice(picture.html, label, entries, chosen=_sharpest(rows)),
        text=joined(name, text_table(columns, cells, right=[0]), summary),
        alt=picture.alt,
        takeaway=summary,
        rows=tuple(rows),
    )


def _filled(best: Sequence[tuple[int, str, float]]) -> list[tuple[int, str, float]]:
    """The first token looks at itself alone; its line says so as often as the others name places."""
    return [*best, *[best[-1]] * (BEST - len(best))]


def _token_entry(row: Row) -> Entry:
    """The line of a token, and the places that it looked at most. Each bar repeats a number."""
    best = row["looked at"]
    token = _("{position}: {token}").format(position=row["position"], token=visible(row["token"]))
    line = _("{position}: {token} looked at {told}").format(
        position=row["position"], token=visible(row["token"]), told=_told(best[0])
    )
    cells = [[visible(piece), at, f"{share:.1%}", _bar(share)] for at, piece, share in best]
    table = html_table([_("looked at"), _("position"), _("share"), ""], cells, caption=token, right=[1, 2])
    return Entry(line, table)


def _sharpest(rows: Sequence[Row]) -> int:
    """The row with the sharpest look at another place than the very first token; the first row if there is none."""
    return max(range(len(rows)), key=lambda n: max((e[2] for e in rows[n]["looked at"] if e[0] != FIRST), default=0.0))


def _place(axis: Axes) -> Box:
    """Where an axis is in a picture that has been drawn."""
    around = axis.get_position()
    return Box(around.x0, 1 - around.y1, around.width, around.height)


def _lines(around: Box, places: Sequence[int], count: int) -> list[Box]:
    """The rows of a heat map of `count` tokens at these places."""
    each = around.height / count
    return [Box(around.left, around.top + each * place, around.width, each) for place in places]


def _bar(share: float) -> Html:
    look = f"display:inline-block;width:{share * 12:.2f}em;border-top:0.7em solid"
    return Html(f'<span style="{look}"></span>')


def _summary(rows: Sequence[Row], seen: Attention) -> str:
    """What the listed tokens did most sharply, besides looking at the very first token."""
    best = [(row, entry) for row in rows for entry in row["looked at"] if entry[0] != FIRST]
    resting = sum(row["looked at"][0][0] == FIRST for row in rows)
    if not best:
        return _("Every listed token looked at the first one, as idle heads do.")
    row, (at, piece, share) = max(best, key=lambda pair: pair[1][2])
    return _(
        "The sharpest look: {token} ({position}) at {piece} ({at}), {share:.0%}. {resting} of {count} listed tokens "
        "looked mostly at the first token."
    ).format(
        token=visible(row["token"]),
        position=row["position"],
        piece=visible(piece),
        at=at,
        share=share,
        resting=resting,
        count=len(rows),
    )


def _draw_large(shares: Any, pieces: Sequence[str], name: str) -> tuple[Canvas, Axes]:
    count = len(pieces)
    crowded = count > CROWDED
    side = 5.4 if count > LABELS else 8.2 if crowded else 6.4
    fig, (axis,) = canvas(side + 1.6, side, 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    if count <= LABELS:
        size = 7 if crowded else 8
        names = [shorten(visible(piece), 10) for piece in pieces]
        axis.set_xticks(range(count), names, rotation=90, fontsize=size)
        axis.set_yticks(range(count), names, fontsize=size)
    axis.set(title=drawable(name), xlabel=_("is looked at"), ylabel=_("looks"))
    fig.colorbar(image, ax=axis, shrink=0.7, label=_("share"))
    return fig, axis


# -- all heads ----------------------------------------------------------------------------------------------------


def _small(seen: Attention, layers: Sequence[int], title: str, takeaway: str) -> Figure:
    places = _positions(seen, None)
    rows, cells, entries = [], [], []
    for layer in layers:
        for head in range(seen.heads):
            own = [_row(seen, layer, head, place) for place in places]
            resting = sum(row["looked at"][0][0] == FIRST for row in own) / len(own)
            sharpest = max(own, key=lambda row: max((e[2] for e in row["looked at"] if e[0] != FIRST), default=0.0))
            entry = max((e for e in sharpest["looked at"] if e[0] != FIRST), key=lambda e: float(e[2]), default=None)
            rows.append({**sharpest, "at the first token": resting})
            told = _told(entry) if entry else ""
            cells.append(
                [layer, head, f"{resting:.0%}", f"{visible(sharpest['token'])} ({sharpest['position']})", told]
            )
            entries.append(_head_entry(rows[-1], told, own))
    quiet = sum(row["at the first token"] > 0.5 for row in rows)
    if quiet:
        summary = _("{quiet} of {count} heads look mostly at the first token, as idle heads do in large models.")
    else:
        summary = _("None of {count} heads looks mostly at the first token, as idle heads do in large models.")
    summary = takeaway or summary.format(quiet=quiet, count=len(rows))
    columns = [_("layer"), _("head"), _("at the first token"), _("sharpest look of"), _("at")]
    drawing, axes = _draw_small(seen, layers)
    picture = Figure.from_matplotlib(
        drawing,
        alt=_("Small heat maps of {count} heads, a row for each layer. {summary}").format(
            count=len(rows), summary=summary
        ),
        takeaway=summary,
        over=lambda: frames([_place(axis) for axis in axes], thick=4),
    )
    label = _("Choose a head to see where each token looked (with the keyboard: arrows, Home, End):")
    return Figure(
        html=choice(picture.html, label, entries),
        text=joined(title, text_table(columns, cells, right=[0, 1, 2]), summary),
        alt=picture.alt,
        takeaway=summary,
        rows=tuple(rows),
    )


def _head_entry(row: Row, told: str, own: Sequence[Row]) -> Entry:
    """The line of a head, and the place that each token looked at most."""
    names = {"layer": row["layer"], "head": row["head"], "share": row["at the first token"]}
    token = {"token": visible(row["token"]), "position": row["position"], "told": told}
    if told:
        line = _("layer {layer}, head {head}: {share:.0%} at the first token; sharpest {token} ({position}) at {told}")
    else:
        line = _("layer {layer}, head {head}: {share:.0%} at the first token")
    looks = [
        _("{token} ({position}) at {told}").format(
            token=visible(each["token"]), position=each["position"], told=_told(each["looked at"][0])
        )
        for each in own[:LISTED]
    ]
    facts = _("layer {layer}, head {head}").format(**names)
    return Entry(
        line.format(**names, **token), f"<p><strong>{escape(facts)}</strong><br>{escape('; '.join(looks))}</p>"
    )


def _draw_small(seen: Attention, layers: Sequence[int]) -> tuple[Canvas, list[Axes]]:
    import numpy as np
    from matplotlib.gridspec import GridSpec

    fig, (axis,) = canvas(min(9.0, 0.95 * seen.heads + 0.6), 1.12 * len(layers) + 0.3, 1)
    axis.remove()
    grid = GridSpec(len(layers), seen.heads, figure=fig)
    drawn = []
    for line, layer in enumerate(layers):
        for head in range(seen.heads):
            small = fig.add_subplot(grid[line, head])
            # The square root lets weak looks be seen; the numbers are in the table.
            small.imshow(np.sqrt(seen.weights[layer, head]), cmap="Blues", vmin=0, vmax=1, interpolation="none")
            small.set_xticks([])
            small.set_yticks([])
            small.set_title(f"{layer}.{head}", fontsize=8, pad=2)
            drawn.append(small)
    return fig, drawn
