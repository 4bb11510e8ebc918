"""`load` a model by its role, and see where the memory is."""

from __future__ import annotations

import sys
from collections.abc import Hashable

from labs_helper import corrections
from labs_helper.capacity import limits
from labs_helper.capacity.report import MemoryReport
from labs_helper.engines.base import Engine
from labs_helper.engines.llama_cpp import LlamaCpp
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.openai_api import OpenAIApi
from labs_helper.models.live import LIVE
from labs_helper.models.model import Model
from labs_helper.models.selection import Choice, choose


def load(name: str = "instruct", tier: str | None = None) -> Model:
    """A model by its role. Returns at once; the weights are read with the first question.

    The same model asked for twice is the same object. Nothing is downloaded. Loading one that is not bundled first
    gives back the others that are not, unless LABS_KEEP_MODELS=1.

    Args:
        name: a role ("instruct", "instruct-previous"), a catalog name ("instruct-tiny"), a checkpoint folder or
            GGUF file, or "endpoint" for the server that LABS_ENDPOINT names.
        tier: "auto", "tiny", "real" or "endpoint"; the default comes from LABS_MODELS, else "auto", which takes the
            real model if it is here and can run well, and the bundled one otherwise. `model.reason` says why.

    Raises:
        BadRequest: unknown name or tier.
        ModelNotHere: its folder is missing.

    Example:
        model = load("instruct")
        model.ask("Where is Changsha?")
    """
    corrections.before_mlx()
    choice = choose(name, tier)
    key: Hashable = choice.endpoint or choice.path
    model = LIVE.get(key)
    if model is None:
        model = LIVE[key] = Model(choice.card, _engine(choice), choice.path, choice.reason)
    return model


def _engine(choice: Choice) -> Engine:
    """What runs a model: MLX, llama.cpp, or a server. Engines are cheap to make; the weights are read later."""
    if choice.endpoint is not None:
        return OpenAIApi(choice.endpoint)
    assert choice.path is not None  # a model without a server has a folder
    if choice.card.format == "gguf":
        return LlamaCpp(choice.path, ships_code=choice.card.ships_code)
    if choice.card.architecture == "phi3_v":
        return MLXVision(choice.path, ships_code=choice.card.ships_code)
    return MLXText(choice.path, ships_code=choice.card.ships_code)


def memory() -> MemoryReport:
    """Where the memory is: the machine, each model that is loaded, and MLX. Loads nothing.

    Example:
        memory()
    """
    here = [model for model in list(LIVE.values()) if model.loaded and model.tier != "endpoint"]
    models = tuple((model.name, model.engine.weight_bytes) for model in here)
    active = peak = cache = None
    if "mlx.core" in sys.modules:
        import mlx.core as mx

        active, peak, cache = mx.get_active_memory(), mx.get_peak_memory(), mx.get_cache_memory()
    return MemoryReport(limits.total(), limits.free(), models, active, peak, cache)
