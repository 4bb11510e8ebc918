"""The token view: every generated token, how sure the model was, and what else it considered."""

from __future__ import annotations

import math
from typing import Any

from labs_helper.common.markup import escape
from labs_helper.figures.base import Figure, caption
from labs_helper.figures.text import percent, text_table, visible

_BOX = "display:inline-block;margin:0 2px 6px 0;padding:1px 3px;text-align:center;vertical-align:top;line-height:1.35"


def token_view(answer: Any, *, title: str = "") -> Figure:
    """Show each generated token with its probability and the best alternatives.

    The line under a token is thicker when the model was surer; the number says the same. Spaces and line breaks
    are shown as signs. The alternatives are in a table that opens with a click or a key and needs no script.

    Arguments:
        answer: an `Answer`, or anything with `.tokens`; each token has `.text` (and `.piece`), `.id`, `.logprob`
            (natural logarithm) and `.top_logprobs` (same fields, best first). A list of such tokens also works.
        title: a heading above the tokens.

    Returns:
        Figure: `rows` holds position, token, id, probability and alternatives.

    Example:
        >>> from labs_helper import load                                       # doctest: +SKIP
        >>> token_view(load("instruct").ask("Hello", top_logprobs=3))          # doctest: +SKIP

    Source of the number: probability = exp(log-probability) of the token that was chosen.
    """
    tokens = list(getattr(answer, "tokens", answer))
    name = getattr(answer, "model", "")
    rows = [
        {
            "position": index + 1,
            "token": _piece(token),
            "id": token.id,
            "probability": math.exp(min(0.0, token.logprob)),
            "alternatives": tuple(
                (other.text, other.id, math.exp(min(0.0, other.logprob))) for other in token.top_logprobs
            ),
        }
        for index, token in enumerate(tokens)
    ]
    shown = [
        [
            str(row["position"]),
            visible(_piece(token)),
            str(token.id),
            percent(token.logprob),
            ", ".join(f"{visible(other.text)} {percent(other.logprob)}" for other in token.top_logprobs),
        ]
        for row, token in zip(rows, tokens, strict=True)
    ]
    columns = ["#", "token", "id", "probability", "alternatives"]
    if not any(token.top_logprobs for token in tokens):
        columns, shown = columns[:4], [row[:4] for row in shown]

    takeaway = _takeaway(rows)
    who = f" of {name}" if name else ""
    alt = f"{len(tokens)} generated tokens{who}, each with its probability. {takeaway}"
    table = _table(columns, shown)
    boxes = "".join(_box(row, token) for row, token in zip(rows, tokens, strict=True))
    heading = f"<p><strong>{escape(title)}</strong></p>" if title else ""
    html = (
        f'<figure style="margin:0.5em 0">{heading}<div>{boxes}</div>'
        f"{caption(takeaway)}"
        f"<details><summary>All tokens as a table, with the alternatives</summary>{table}</details></figure>"
    )
    text = "\n".join(part for part in (title, text_table(columns, shown, right=[0, 2, 3]), takeaway) if part)
    return Figure(html=html, text=text, alt=alt, takeaway=takeaway, rows=tuple(rows))


def _piece(token: Any) -> str:
    """The token itself: its text is empty for a stop token and for the first bytes of a long character."""
    return getattr(token, "piece", "") or token.text


def _box(row: dict[str, Any], token: Any) -> str:
    probability = row["probability"]
    thickness = 1 + round(5 * probability)
    hover = f"token {row['position']}, id {token.id}, {percent(token.logprob)}"
    if token.top_logprobs:
        hover += "; also: " + ", ".join(f"{visible(o.text)} {percent(o.logprob)}" for o in token.top_logprobs)
    # Thickness carries the same fact as the number. Nothing is said by colour.
    return (
        f'<span style="{_BOX}" title="{escape(hover)}">'
        f'<span style="font-family:monospace;display:block;min-height:1.4em;'
        f'border-bottom:{thickness}px solid currentColor">{escape(visible(_piece(token)))}</span> '
        f'<small style="opacity:0.8">{escape(percent(token.logprob))}</small></span> '
    )


def _table(columns: list[str], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col" style="text-align:left;padding:1px 8px">{escape(c)}</th>' for c in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left;padding:1px 8px">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _takeaway(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No token was generated."
    least = min(rows, key=lambda row: row["probability"])
    sure = sum(row["probability"] >= 0.9 for row in rows)
    return (
        f"{sure} of {len(rows)} tokens had a probability of 90 % or more; the least sure was token "
        f"{least['position']} ({visible(least['token'])}, {percent(math.log(max(least['probability'], 1e-30)))})."
    )
