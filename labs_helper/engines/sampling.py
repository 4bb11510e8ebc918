"""Pick the next token, and compute the numbers that are shown about it."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, cast

from labs_helper.engines.base import Sampling

if TYPE_CHECKING:
    import mlx.core as mx


class Picker:
    """The sampler given to mlx-lm. It also computes, in the same pass, the numbers we show.

    Reading a probability afterwards would mean one more wait for the device at every token. Each call queues
    its results; `facts` takes them in order, since mlx-lm calls the sampler one token ahead.

    Top-p is applied to the model's own distribution and the temperature after it, as mlx-lm does. Each token
    has its own random key made of seed and place, so an answer depends on nothing but its seed.
    """

    def __init__(self, sampling: Sampling, top_logprobs: int) -> None:
        self.sampling, self.top_logprobs = sampling, top_logprobs
        self._facts: deque[list[mx.array]] = deque()
        self._place = 0

    def __call__(self, logprobs: mx.array) -> mx.array:
        import mlx.core as mx

        if logprobs.dtype != mx.float32:
            # 16-bit logarithms are coarse; make them a proper distribution in fp32 again.
            logprobs = logprobs.astype(mx.float32)
            logprobs = logprobs - mx.logsumexp(logprobs, axis=-1, keepdims=True)
        token = self._pick(logprobs)
        facts = [mx.take_along_axis(logprobs, token[:, None], axis=-1)]
        if self.top_logprobs:
            best = mx.argsort(-logprobs, axis=-1)[:, : self.top_logprobs]
            facts += [best, mx.take_along_axis(logprobs, best, axis=-1)]
        mx.async_eval(token, facts)
        self._facts.append(facts)
        return token

    def _pick(self, logprobs: mx.array) -> mx.array:
        import mlx.core as mx

        how = self.sampling
        if how.temperature == 0:
            return mx.argmax(logprobs, axis=-1)
        if how.top_p < 1:
            logprobs = nucleus(logprobs, how.top_p)
        key = mx.random.key(((how.seed or 0) << 32) | self._place)
        self._place += 1
        return mx.random.categorical(logprobs / how.temperature, key=key)

    def facts(self) -> tuple[float, list[tuple[int, float]]]:
        """Log-probability of the next token in order, and the best possible tokens at its place."""
        picked, *best = self._facts.popleft()
        logprob = cast(float, picked.item())
        if not best:
            return logprob, []
        ids, values = cast("list[int]", best[0][0].tolist()), cast("list[float]", best[1][0].tolist())
        return logprob, [(token_id, value) for token_id, value in zip(ids, values, strict=True) if value > -math.inf]


def nucleus(logprobs: mx.array, top_p: float) -> mx.array:
    """Log-probabilities with everything outside the nucleus at minus infinity.

    logprobs: (1, vocabulary). top_p: in (0, 1). The nucleus is the smallest set of most likely tokens whose
    probabilities sum to at least top_p (Holtzman et al. 2019, arXiv:1904.09751).

    Example:
        nucleus(mx.log(mx.array([[0.6, 0.3, 0.1]])), 0.8)      # the last one becomes -inf
    """
    import mlx.core as mx

    ranked = mx.sort(logprobs, axis=-1)[:, ::-1]
    before = mx.cumsum(mx.exp(ranked), axis=-1, inclusive=False)  # mass of the better tokens
    kept = mx.sum(before < top_p, axis=-1, keepdims=True)
    threshold = mx.take_along_axis(ranked, kept - 1, axis=-1)
    return mx.where(logprobs < threshold, -float("inf"), logprobs)
