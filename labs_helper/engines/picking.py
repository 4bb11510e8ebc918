"""Pick the next token with NumPy, for engines whose scores come as an array on the CPU (see `engines.sampling`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.engines.base import Sampling

if TYPE_CHECKING:
    import numpy as np


class ArrayPicker:
    """Picks one token after another from scores, and tells the numbers that are shown about each.

    Top-p is applied to the model's own distribution and the temperature after it, as `sampling.Picker` does. Each
    token has random numbers of its own, made of seed and place, so an answer depends on nothing but its seed. The
    draws are others than MLX's for the same seed.

    Args:
        sampling: how to pick.
        top_logprobs: how many of the likeliest tokens to tell of each place.

    Example:
        token_id, logprob, best = ArrayPicker(Sampling(), 3).pick(scores)
    """

    def __init__(self, sampling: Sampling, top_logprobs: int) -> None:
        self.sampling, self.top_logprobs = sampling, top_logprobs
        self._place = 0

    def pick(self, scores: np.ndarray) -> tuple[int, float, list[tuple[int, float]]]:
        """The next token, its log-probability, and the likeliest tokens with theirs, best first.

        Args:
            scores: (vocabulary,); minus infinity rules a token out.
        """
        import numpy as np

        logprobs = scores.astype(np.float64)
        logprobs -= logprobs.max()
        logprobs -= np.log(np.exp(logprobs).sum())
        token_id = self._choose(logprobs)
        best: list[tuple[int, float]] = []
        if self.top_logprobs:
            order = np.argsort(-logprobs, kind="stable")[: self.top_logprobs]
            best = [(int(other), float(logprobs[other])) for other in order if logprobs[other] > -np.inf]
        return token_id, float(logprobs[token_id]), best

    def _choose(self, logprobs: np.ndarray) -> int:
        import numpy as np

        how = self.sampling
        if how.temperature == 0:
            return int(logprobs.argmax())
        kept = nucleus(logprobs, how.top_p) if how.top_p < 1 else logprobs
        weights = np.exp((kept - kept.max()) / how.temperature)
        bounds = np.cumsum(weights)
        drawn = np.random.default_rng([how.seed or 0, self._place]).random() * bounds[-1]
        self._place += 1
        return int(np.searchsorted(bounds, drawn, side="right"))


def nucleus(logprobs: np.ndarray, top_p: float) -> np.ndarray:
    """Log-probabilities with everything outside the nucleus at minus infinity; see `sampling.nucleus`.

    Args:
        logprobs: (vocabulary,).
        top_p: in (0, 1).

    Example:
        nucleus(np.log([0.6, 0.3, 0.1]), 0.8)      # the last one becomes -inf
    """
    import numpy as np

    ranked = np.sort(logprobs)[::-1]
    before = np.cumsum(np.exp(ranked)) - np.exp(ranked)  # mass of the better tokens
    threshold = ranked[int((before < top_p).sum()) - 1]
    return np.where(logprobs < threshold, -np.inf, logprobs)
