"""The prompt cache of an MLX model: what the last request left in it, and how much of it the next one can use."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any


class PromptCache:
    """Keys and values of the last request, with the identity of the token at each place.

    Example:
        kept = PromptCache()
        cache, reused = kept.take(decoder, prompt.ids, table="short")
        ...
        kept.keep(cache, (*prompt.ids, *generated), table="short")
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        self._cache: list[Any] | None = None
        self._ids: tuple[Hashable, ...] = ()
        self._table: str | None = None

    def take(self, decoder: Any, ids: Sequence[Hashable], table: str | None) -> tuple[list[Any], int]:
        """A cache for a request that begins with `ids`, and how many of them are in it already.

        While a request runs nobody else may use its cache: a nested request starts with a new one.

        Args:
            decoder: the model that the cache is for.
            ids: the identity of each place of the prompt; equal identities mean equal content.
            table: LongRoPE's table; keys made with another one are of no use.
        """
        from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

        cache, known, old_table = self._cache, self._ids, self._table
        self.clear()
        if cache is not None and old_table == table and can_trim_prompt_cache(cache):
            limit = min(len(known), len(ids) - 1)  # at least one token has to go through the model
            shared = next((n for n in range(limit) if known[n] != ids[n]), limit)
            if shared > 0:
                trim_prompt_cache(cache, len(known) - shared)
                return cache, shared
        return make_prompt_cache(decoder), 0

    def keep(self, cache: list[Any], ids: Sequence[Hashable], table: str | None) -> None:
        """Remember a cache with the ids that are truly in it.

        mlx-lm computes one token ahead, and a stopped prefill leaves fewer tokens than the prompt has, so the
        cache's own offset decides.
        """
        from mlx_lm.models.cache import trim_prompt_cache

        if not all(hasattr(layer, "offset") for layer in cache):
            return
        offset = cache[0].offset
        if offset > len(ids):
            trim_prompt_cache(cache, offset - len(ids))
            offset = len(ids)
        self._cache, self._ids, self._table = cache, tuple(ids[:offset]), table
