"""What tokens cost. Prices change every few weeks and differ by contract, so the course has none: you fill them in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """What a service asks for, in one currency, for a million tokens.

    Attributes:
        prompt: for tokens that it reads.
        answer: for tokens that it writes; usually several times as much.
        cached: for tokens that it has read before; None where that makes no difference.

    Example:
        Prices(prompt=0.5, answer=1.5)
    """

    prompt: float
    answer: float
    cached: float | None = None

    def __post_init__(self) -> None:
        for name, price in (("prompt", self.prompt), ("answer", self.answer), ("cached", self.cached)):
            if price is None and name == "cached":
                continue
            if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < math.inf:
                raise BadRequest(
                    _("The price {name}={price!r} is not a price.").format(name=name, price=price),
                    _("Look it up on the service's own page, and write it for a million tokens."),
                )


@dataclass(frozen=True)
class Bill:
    """What some tokens cost.

    Attributes:
        prompt: for reading what had not been read before.
        cached: for reading what had.
        answer: for writing.
    """

    prompt: float
    cached: float
    answer: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.prompt + self.cached + self.answer

    def __str__(self) -> str:
        return _("{total:.4f}: {prompt:.4f} for the prompts, {cached:.4f} cached, {answer:.4f} for the answers").format(
            total=self.total, prompt=self.prompt, cached=self.cached, answer=self.answer
        )


def bill(prompt_tokens: int, answer_tokens: int, prices: Prices, *, cached_tokens: int = 0) -> Bill:
    """What these tokens cost at these prices.

    Args:
        prompt_tokens: everything that was read, cached tokens included, as servers report it.
        answer_tokens: everything that was written.
        prices: yours.
        cached_tokens: of the prompt tokens, those that the server had read before.

    Raises:
        BadRequest: a count is negative, or more tokens were cached than read.

    Example:
        bill(2_000_000, 500_000, Prices(prompt=0.5, answer=1.5)).total      # 1.75
    """
    if min(prompt_tokens, answer_tokens, cached_tokens) < 0 or cached_tokens > prompt_tokens:
        raise BadRequest(
            _("{prompt} prompt tokens, {cached} of them cached, and {answer} for the answers cannot be.").format(
                prompt=prompt_tokens, cached=cached_tokens, answer=answer_tokens
            ),
            _("Take the counts from the usage that the server reports."),
        )
    cached = prices.prompt if prices.cached is None else prices.cached
    return Bill(
        (prompt_tokens - cached_tokens) * prices.prompt / MILLION,
        cached_tokens * cached / MILLION,
        answer_tokens * prices.answer / MILLION,
    )
