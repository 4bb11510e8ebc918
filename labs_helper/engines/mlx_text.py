"""Text models through mlx-lm: phi3 and phimoe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper.common.types import Config
from labs_helper.corrections import longrope
from labs_helper.engines import adapters, experts
from labs_helper.engines.adapters import Adapter
from labs_helper.engines.base import Prepared, Request
from labs_helper.engines.mlx_base import MLXEngine, import_mlx_lm

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MLXText", "import_mlx_lm"]


class MLXText(MLXEngine):
    """One text checkpoint in mlx-lm. See `MLXEngine`.

    Args:
        path, ships_code: see `MLXEngine`.
        adapter: what changes its answers; it is put on before each request.
        shared: an engine of the same checkpoint, whose weights this one uses too.

    Example:
        engine = MLXText(course_folder() / "data/checkpoints/instruct-tiny")
        taught = MLXText(engine.path, adapter=adapter, shared=engine)
    """

    def __init__(
        self,
        path: str | Path,
        ships_code: bool = False,
        adapter: Adapter | None = None,
        shared: MLXText | None = None,
    ) -> None:
        super().__init__(path, ships_code)
        self.adapter = adapter
        if shared is not None:
            self.weights = shared.weights

    def _read(self) -> tuple[Any, Any, Config]:
        from mlx_lm.utils import load_model

        model, config = load_model(self.path, trust_remote_code=False)
        return model, model, config

    def choose_table(self, total_tokens: int) -> str | None:
        self.use_adapter()
        return longrope.apply(self.model, self.config, total_tokens)

    def use_adapter(self) -> None:
        """Put this engine's adapter on the weights, unless it is on already. The weights themselves are not read."""
        weights = self.weights
        if weights.adapter is self.adapter:
            return
        adapters.take_off(weights.model)
        weights.adapter = None
        if self.adapter is not None:
            adapters.put_on(weights.model, self.adapter)
            weights.adapter = self.adapter

    def batch_tokenizer(self) -> Any:
        """mlx-lm's tokenizer, for its functions that take many prompts at once. It stops where this engine stops."""
        self.load_tokenizer()
        self._tokenizer.eos_token_ids = set(self.stop_ids)
        return self._tokenizer

    def _check(self, prepared: Prepared) -> None:
        super()._check(prepared)
        if prepared.request.without_experts:
            experts.checked(self.config, prepared.request.without_experts)

    def watch(self, request: Request) -> experts.Watch | None:
        if not (request.record_experts or request.without_experts):
            return None
        return experts.Watch(self.config, request.without_experts, request.record_experts)

    def logits(self, ids: Sequence[int], max_tokens: int = 0) -> np.ndarray:
        """The model's raw scores for every place of a sequence: an array of (len(ids), vocabulary) in fp32.

        ids: token ids.
        max_tokens: tokens that would still follow; decides the LongRoPE table together with the ids.

        Example:
            engine.logits([1, 2, 3]).shape      # (3, 2304)
        """
        self.load(len(ids))
        return self._all_logits(ids, len(ids) + max_tokens)
