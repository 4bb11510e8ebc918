"""What can be read off a record: where a word is, tokens after each layer, and cells that were looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.pictures.images import Layout, image_tokens
from labs_helper.reference import parts
from labs_helper.reference.model import Reference

if TYPE_CHECKING:
    from labs_helper.models.answers import Answer
    from labs_helper.reference.weights import Array

CELLS = 12  # on each side of a view


def span(pieces: Sequence[str], word: str) -> tuple[int, ...]:
    """Which tokens hold a word, the first time that it occurs; none if it does not.

    Args:
        pieces: the readable tokens of a text.
        word: what to look for.

    Example:
        >>> span([" It", " is", " in", " Pe", "ru", "."], "Peru")
        (3, 4)
    """
    at = "".join(pieces).find(word) if word else -1
    if at < 0:
        return ()
    ends = np.cumsum([len(piece) for piece in pieces])
    first, last = np.searchsorted(ends, (at, at + len(word) - 1), side="right")
    return tuple(range(int(first), int(last) + 1))


def stages(reference: Reference, residual: Array, place: int) -> Array:
    """The probability of each token after each stage at one place, as if the rest of the model were not there.

    Args:
        reference: the model.
        residual: (layers + 1, tokens, width) from a record.
        place: position of the token, negative ones from the end.

    Returns:
        (layers + 1, vocabulary).

    Source: "interpreting GPT: the logit lens", nostalgebraist 2020.

    Example:
        stages(reference, run.residual, -1)[:, right].argmax()
    """
    return parts.softmax(reference.scores(residual[:, place]))


def lens(
    reference: Reference, residual: Array, pieces: Sequence[str], places: Sequence[int], vocabulary: Sequence[str]
) -> list[dict[str, Any]]:
    """The best token after each stage at some places, for `labs_helper.figures.logit_lens`.

    Args:
        reference, residual: see `stages`.
        pieces: the readable tokens of the text, for the names of the places.
        places: positions.
        vocabulary: the readable form of every token.

    Example:
        lens(reference, run.residual, pieces, [12, 13], vocabulary)
    """
    rows = []
    for place in places:
        if not -len(pieces) <= place < len(pieces):
            raise BadRequest(
                _("There is no token {place}.").format(place=place),
                _("This text has tokens 0 to {last}.").format(last=len(pieces) - 1),
            )
        chances = stages(reference, residual, place)
        for stage, best in enumerate(chances.argmax(-1)):
            rows.append(
                {
                    "place": f"{place % len(pieces)}: {pieces[place].strip() or pieces[place]}",
                    "stage": stage,
                    "token": vocabulary[best],
                    "probability": float(chances[stage, best]),
                }
            )
    return rows


def looked_at(answer: Answer, word: str, layer: int, head: int, plan: Layout) -> Array:
    """What one head looked at in a picture when a word of the answer was chosen, cell by cell.

    The word's first token is chosen with the attention of the token before it.

    Args:
        answer: to a question with one picture, asked with record_attention=True.
        word: as the answer writes it.
        layer, head: from 0.
        plan: how the picture was cut.

    Raises:
        BadRequest: the answer does not say the word, its attention was not recorded, or there is no such head.

    Example:
        looked_at(answer, "orange", 2, 0, layout(336, 336, 1))
    """
    places = span([token.piece for token in answer.tokens], word)
    if not places:
        raise BadRequest(_("The answer does not say {word!r}.").format(word=word), _("Choose a word of answer.text."))
    row: Array = answer.attention.head(layer, head)[answer.prompt_tokens + places[0] - 1]
    return on_picture(row, answer.prompt.ids, plan)


def on_picture(shares: Array, ids: Sequence[int], plan: Layout, picture: int = 1) -> Array:
    """What one token looked at in a picture, cell by cell: the tiles and the global view added up.

    Args:
        shares: (tokens,) what it looked at.
        ids: of the prompt; the rows of picture i have the id -i.
        plan: how the picture was cut.
        picture: which one, from 1.

    Returns:
        (12 * rows, 12 * columns) of the tiles. A cell of the global view is spread over the cells that it covers, and
        the rows that end a line or part the views belong to no cell.

    Raises:
        BadRequest: the prompt has another number of rows for this picture.

    Example:
        on_picture(answer.attention.head(1, 0)[place], answer.prompt.ids, layout(*image.size, 1))
    """
    places = np.flatnonzero(np.asarray(ids) == -picture)
    if len(places) != image_tokens(plan.rows, plan.columns):
        raise BadRequest(
            _("The prompt has {count} rows for picture {picture}, and this layout has {rows}.").format(
                count=len(places), picture=picture, rows=image_tokens(plan.rows, plan.columns)
            ),
            _("Use the layout of the same picture with the same num_crops."),
        )
    row = shares[places]
    high, wide = CELLS * plan.rows, CELLS * plan.columns
    tiles = row[: high * (wide + 1)].reshape(high, wide + 1)[:, :-1]
    whole = row[high * (wide + 1) + 1 :].reshape(CELLS, CELLS + 1)[:, :-1]
    spread = whole.repeat(plan.rows, axis=0).repeat(plan.columns, axis=1) / (plan.rows * plan.columns)
    seen: Array = tiles + spread
    return seen
