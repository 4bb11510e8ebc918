"""The token view: every generated token, how sure the model was, and what else it considered."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from labs_helper.common.markup import escape, html_table
from labs_helper.common.translate import _, _n
from labs_helper.figures.base import Figure, Row, caption, heading
from labs_helper.figures.text import joined, percent, text_table, visible

if TYPE_CHECKING:
    from labs_helper.engines.base import Candidate, Token
    from labs_helper.models.answers import Answer

BOX = "display:inline-block;margin:0 2px 6px 0;padding:1px 3px;text-align:center;vertical-align:top;line-height:1.35"


def token_view(answer: Answer | Iterable[Token], *, title: str = "") -> Figure:
    """Show each generated token with its probability and the tokens that could have come instead.

    The line under a token is thicker when the model was surer; the number says the same. Spaces and line breaks
    are shown as signs. The alternatives are in a table that opens with a click or a key and needs no script.

    Args:
        answer: an `Answer`, or a list of its tokens. Ask with `top_logprobs` to see alternatives.
        title: a heading above the tokens.

    Returns:
        Figure: `rows` holds position, token, id, probability and alternatives.

    Example:
        token_view(load("instruct").ask("Hello", top_logprobs=3))

    Source of the number: probability = exp(log-probability) of the token that was chosen.
    """
    tokens = list(answer if isinstance(answer, Iterable) else answer.tokens)
    rows = [_row(position, token) for position, token in enumerate(tokens, 1)]
    columns = ["#", _("token"), _("id"), _("probability"), _("alternatives")]
    cells = [
        [str(position), visible(_piece(token)), str(token.id), percent(token.logprob), _rivals(token)]
        for position, token in enumerate(tokens, 1)
    ]
    if not any(token.top_logprobs for token in tokens):
        columns, cells = columns[:4], [row[:4] for row in cells]
    takeaway = _takeaway(rows)
    details = _("All tokens as a table, with the alternatives")
    html = (
        f'<figure style="margin:0.5em 0">{heading(title)}<div>{"".join(map(_box, rows, tokens))}</div>'
        f"{caption(takeaway)}"
        f"<details><summary>{escape(details)}</summary>{html_table(columns, cells)}</details></figure>"
    )
    return Figure(
        html=html,
        text=joined(title, text_table(columns, cells, right=[0, 2, 3]), takeaway),
        alt=_alt(len(tokens), getattr(answer, "model", ""), takeaway),
        takeaway=takeaway,
        rows=tuple(rows),
    )


def _row(position: int, token: Token) -> Row:
    return {
        "position": position,
        "token": _piece(token),
        "id": token.id,
        "probability": _probability(token),
        "alternatives": tuple((other.piece, other.id, _probability(other)) for other in token.top_logprobs),
    }


def _probability(token: Token | Candidate) -> float:
    return math.exp(min(0.0, token.logprob))


def _piece(token: Token) -> str:
    """The token itself: its text is empty for a stop token and for the first bytes of a long character."""
    return token.piece or token.text


def _rivals(token: Token) -> str:
    return ", ".join(f"{visible(other.piece)} {percent(other.logprob)}" for other in token.top_logprobs)


def _box(row: Row, token: Token) -> str:
    thickness = 1 + round(5 * row["probability"])
    hover = _("token {position}, id {id}, {probability}").format(
        position=row["position"], id=token.id, probability=percent(token.logprob)
    )
    if token.top_logprobs:
        hover += _("; also: {alternatives}").format(alternatives=_rivals(token))
    # Thickness carries the same fact as the number. Nothing is said by colour.
    return (
        f'<span style="{BOX}" title="{escape(hover)}">'
        f'<span style="font-family:monospace;display:block;min-height:1.4em;'
        f'border-bottom:{thickness}px solid">{escape(visible(_piece(token)))}</span> '
        f'<small style="opacity:0.8">{escape(percent(token.logprob))}</small></span> '
    )


def _takeaway(rows: list[Row]) -> str:
    if not rows:
        return _("No token was generated.")
    least = min(rows, key=lambda row: float(row["probability"]))
    return _(
        "{sure} of {count} tokens had a probability of 90 % or more; the least sure was token {position} ({token}, "
        "{probability})."
    ).format(
        sure=sum(row["probability"] >= 0.9 for row in rows),
        count=len(rows),
        position=least["position"],
        token=visible(least["token"]),
        probability=percent(math.log(max(least["probability"], 1e-30))),
    )


def _alt(count: int, model: str, takeaway: str) -> str:
    if model:
        words = _n(
            "{count} generated token of {model}, with its probability. {takeaway}",
            "{count} generated tokens of {model}, each with its probability. {takeaway}",
            count,
        )
    else:
        words = _n(
            "{count} generated token, with its probability. {takeaway}",
            "{count} generated tokens, each with its probability. {takeaway}",
            count,
        )
    return words.format(count=count, model=model, takeaway=takeaway)
