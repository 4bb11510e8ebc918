"""What a model looked at while it answered: one pass of the reference over prompt and answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.reference.changes import Change
from labs_helper.reference.model import Reference
from labs_helper.reference.vision import embed

if TYPE_CHECKING:
    from labs_helper.engines.base import Prepared, Token
    from labs_helper.reference.weights import Array


@dataclass(frozen=True)
class Attention:
    """What each token of a prompt and its answer looked at, and what stood for it between the layers.

    Attributes:
        weights: (layers, heads, tokens, tokens) row t is what token t looked at, itself included. It sums to 1. The
            token that was written next, t + 1, was chosen with it.
        residual: (layers + 1, tokens, width) as in `Run.residual`.
        pieces: the readable form of each token.
        prompt_tokens: how many of them are the prompt.
        distance: the largest difference between the reference's log-probability of a written token and the engine's.
            NaN where the engine's are not comparable: with a schema, or with no token written.

    Example:
        model.ask("Where is Lima?", record_attention=True).attention.weights.shape
    """

    weights: Any
    residual: Any
    pieces: tuple[str, ...]
    prompt_tokens: int
    distance: float = float("nan")

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.weights.shape[0])

    @property
    def heads(self) -> int:
        """How many heads each layer has."""
        return int(self.weights.shape[1])

    def head(self, layer: int, head: int) -> Array:
        """What one head looked at, (tokens, tokens).

        Raises:
            BadRequest: there is no such head.

        Example:
            answer.attention.head(2, 4)[-1]
        """
        if not (0 <= layer < self.layers and 0 <= head < self.heads):
            raise BadRequest(
                _("There is no head {head} in layer {layer}.").format(head=head, layer=layer),
                _("The layers are 0 to {layers}, and each has heads 0 to {heads}.").format(
                    layers=self.layers - 1, heads=self.heads - 1
                ),
            )
        looked: Array = self.weights[layer, head]
        return looked

    def first(self, tokens: int) -> Attention:
        """The record of the first tokens only."""
        return replace(
            self,
            weights=self.weights[:, :, :tokens, :tokens],
            residual=self.residual[:, :tokens],
            pieces=self.pieces[:tokens],
        )


def record(reference: Reference, prepared: Prepared, written: Sequence[Token], num_crops: int = 1) -> Attention:
    """Run prompt and answer through the reference once, and keep what it saw.

    The tokens are those that the engine wrote, so the answer is the same. `Attention.distance` says how well the two
    agree about them.

    Args:
        reference: of the model that answered.
        prepared: the request, as the engine prepared it.
        written: the tokens of the answer.
        num_crops: as the request's pictures were cut.

    Example:
        record(read(model), prepared, answer.tokens)
    """
    request, prompt = prepared.request, prepared.prompt
    ids = [*prompt.ids, *(token.id for token in written)]
    run = reference.run(
        ids,
        total=max(prepared.total_tokens, len(ids)),
        record=True,
        change=Change(experts=request.without_experts),
        rows=embed(reference, ids, request.images, num_crops) if request.images else None,
    )
    first = len(prompt.ids)
    distance = float("nan")
    if written and request.schema is None:
        scores = run.logits[first - 1 : -1].astype(np.float64)
        shares = scores - np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1, keepdims=True))
        shares -= scores.max(-1, keepdims=True)
        ours = shares[np.arange(len(written)), ids[first:]]
        distance = float(np.abs(ours - [token.logprob for token in written]).max())
    pieces = (*prompt.pieces, *(token.piece for token in written))
    return Attention(run.attention, run.residual, pieces, first, distance)
