"""From scores to text: pick a token, append it, run again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labs_helper.reference import parts
from labs_helper.reference.changes import NOTHING, Change
from labs_helper.reference.model import Cache, Reference

if TYPE_CHECKING:
    from labs_helper.reference.weights import Array


def pick(logits: Array, temperature: float = 0.0, top_p: float = 1.0, chance: np.random.Generator | None = None) -> int:
    """The next token from its scores, (vocabulary,).

    Args:
        logits: the scores at the last place.
        temperature: 0 takes the best token; higher values make rare tokens likelier.
        top_p: only the best tokens that together have this probability may be drawn. It is applied before the
            temperature, as mlx-lm does.
        chance: where the draws come from.

    Example:
        pick(run.logits[-1])
    """
    if temperature == 0:
        return int(logits.argmax())
    chances = parts.softmax(logits.astype(np.float64))
    order = np.argsort(-chances, kind="stable")
    before = np.cumsum(chances[order]) - chances[order]  # what the better tokens have together
    allowed = order[before < top_p]
    draws = parts.softmax(np.log(chances[allowed]) / temperature)
    return int((chance or np.random.default_rng()).choice(allowed, p=draws))


def generate(
    reference: Reference,
    ids: Sequence[int],
    max_tokens: int = 128,
    *,
    stop: Collection[int] = (),
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    change: Change = NOTHING,
    rows: Array | None = None,
) -> Iterator[int]:
    """Tokens one by one, until one of `stop` has come or there are `max_tokens`.

    The prompt runs once and fills the cache. After that each token runs alone.

    Args:
        reference: the model.
        ids: the prompt.
        max_tokens: of the answer; with the prompt they choose LongRoPE's table.
        stop: ids that end an answer; the one that came is the last token.
        temperature, top_p, seed: see `pick`. Draws are not those of MLX with the same seed.
        change: see `Change`; it holds for prompt and answer.
        rows: see `Reference.run`.

    Example:
        list(generate(reference, model.prompt("Where is Lima?").ids, 40, stop=stops(reference)))
    """
    cache, chance = Cache(), np.random.default_rng(seed)
    total = len(ids) + max_tokens
    new = ids
    for _step in range(max_tokens):
        run = reference.run(new, cache=cache, total=total, change=change, rows=rows)
        token = pick(run.logits[-1], temperature, top_p, chance)
        yield token
        if token in stop:
            return
        new, rows = [token], None


def greedy(reference: Reference, ids: Sequence[int], max_tokens: int = 128, *, stop: Collection[int] = ()) -> list[int]:
    """The most likely answer, as ids."""
    return list(generate(reference, ids, max_tokens, stop=stop))
