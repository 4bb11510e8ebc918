"""When to ask a server again, and after how long.

A POST is not repeated blindly. As long as nothing has come back, another attempt costs time and nothing else. Once an
answer has begun, the server has worked, and something may have been done with the part that arrived; then the caller
has to say that its request may be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

# (attempts so far, status or None for a broken connection, whether an answer had begun, seconds that the server asks
# for) -> seconds to wait before the next attempt, or None for no other.
Again = Callable[[int, int | None, bool, float | None], float | None]

MAY_PASS = frozenset((408, 425, 429, 500, 502, 503, 504))  # states of a server that another moment may find changed


@dataclass(frozen=True)
class Backoff:
    """Wait twice as long each time, with a random part, so that many clients do not come back at the same moment.

    Attributes:
        most: attempts in all.
        first: seconds before the second attempt.
        longest: seconds, at most, unless the server asks for more.
        repeatable: also ask again after an answer that had begun. Only for requests whose repetition changes nothing
            in the world: a question, not an order.

    Example:
        Backoff()(1, 503, False, None)      # 0.375 to 0.5
        Backoff()(1, None, True, None)      # None: an answer had begun
    """

    most: int = 8
    first: float = 0.5
    longest: float = 4.0
    repeatable: bool = False

    def __call__(self, attempts: int, status: int | None, began: bool, wish: float | None) -> float | None:
        if attempts >= self.most or (began and not self.repeatable):
            return None
        if status is not None and status not in MAY_PASS:
            return None
        own = min(self.longest, self.first * 2.0 ** (attempts - 1)) * random.uniform(0.75, 1)
        return own if wish is None else max(own, wish)
