"""Where one engine's answer leaves another's, and how close the choice was there.

llama.cpp multiplies 4-bit weights with activations that it rounds to 8 bits. Measured at every token of four prompts of
instruct-tiny (63 to 262 tokens, both LongRoPE tables, its 20 likeliest tokens at each), that moves a log-probability by
.04 to .05 on average and by .38 at most; in fp32 the two engines differ by .00007 at most, and with the wrong table by
.2 to .4 on average. So answers may part, but only where two tokens are nearly equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence

from labs_helper.engines.base import Token

NEAR = 0.25  # log-probabilities closer than this are a near tie


def parting(ids: Sequence[int], tokens: Sequence[Token]) -> tuple[int, float] | None:
    """The place where `ids` leave an answer, and how much less likely that token was there; None if they never do.

    Args:
        ids: of the other engine's answer.
        tokens: the answer, asked for with `top_logprobs`; a token that is not among those is infinitely less likely.

    Example:
        parting([token.id for token in theirs], ours)      # (7, 0.067)
    """
    for place, (token_id, token) in enumerate(zip(ids, tokens)):
        if token_id != token.id:
            likely = {other.id: other.logprob for other in token.top_logprobs}
            return place, token.logprob - likely.get(token_id, -float("inf"))
    return None if len(ids) == len(tokens) else (min(len(ids), len(tokens)), float("inf"))
