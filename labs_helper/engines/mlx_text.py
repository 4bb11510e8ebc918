"""Text models through mlx-lm: phi3 and phimoe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labs_helper.common.types import Config
from labs_helper.corrections import longrope
from labs_helper.engines import experts
from labs_helper.engines.base import Prepared, Request
from labs_helper.engines.mlx_base import MLXEngine, import_mlx_lm

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MLXText", "import_mlx_lm"]


class MLXText(MLXEngine):
    """One text checkpoint in mlx-lm. See `MLXEngine`.

    Example:
        engine = MLXText(course_folder() / "data/checkpoints/instruct-tiny")
    """

    def _read(self) -> tuple[Any, Any, Config]:
        from mlx_lm.utils import load_model

        model, config = load_model(self.path, trust_remote_code=False)
        return model, model, config

    def choose_table(self, total_tokens: int) -> str | None:
        return longrope.apply(self.model, self.config, total_tokens)

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
