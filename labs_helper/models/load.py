"""`load` a model by its role, and see where the memory is."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from pathlib import Path

from labs_helper import corrections, store
from labs_helper.capacity import limits
from labs_helper.capacity.report import MemoryReport
from labs_helper.common.translate import _
from labs_helper.engines import adapters
from labs_helper.engines.adapters import Adapter
from labs_helper.engines.base import Engine
from labs_helper.engines.llama_cpp import LlamaCpp
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.onnx_genai import OnnxGenAI
from labs_helper.engines.openai_api import OpenAIApi
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.models.live import LIVE
from labs_helper.models.model import Model
from labs_helper.models.selection import Choice, choose


def load(name: str = "instruct", tier: str | None = None, adapter: str | Path | Adapter | None = None) -> Model:
    """A model by its role. Returns at once; the weights are read with the first question.

    The same model asked for twice is the same object. Nothing is downloaded. Loading one that is not bundled first
    gives back the others that are not, unless LABS_KEEP_MODELS=1.

    Args:
        name: a role ("instruct", "instruct-previous"), a catalog name ("instruct-tiny"), a checkpoint folder or
            GGUF file, or "endpoint" for the server that LABS_ENDPOINT names.
        tier: "auto", "tiny", "real" or "endpoint"; the default comes from LABS_MODELS, else "auto", which takes the
            real model if it is here and can run well, and the bundled one otherwise. `model.reason` says why.
        adapter: what the model has learned besides (lab 05): a name that `labs models list` shows, a folder, or an
            adapter that was trained a moment ago. The weights are shared with the model without it, and are not read
            again.

    Raises:
        BadRequest: unknown name or tier, or a model that takes no adapter.
        ModelNotHere: the folder of the model or of the adapter is missing.
        CheckpointRefused: the adapter belongs to another model, or is no plain data.

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
    return model if adapter is None else _taught(model, choice, adapter)


def _taught(plain: Model, choice: Choice, wanted: str | Path | Adapter) -> Model:
    """The model with an adapter. It shares the weights of the plain one."""
    engine = plain.engine
    if not isinstance(engine, MLXText) or choice.path is None:
        raise BadRequest(
            _("{name} takes no adapter.").format(name=plain.name),
            _('Use a text model in MLX\'s format, such as load("instruct").'),
        )
    made = wanted if isinstance(wanted, Adapter) else None
    key: Hashable = (choice.path, wanted)
    if made is None:
        folder = store.adapters.locate(str(wanted)).resolve()
        weights = folder / store.adapters.WEIGHTS
        # Trained again under the same name, it is another adapter.
        key = (choice.path, folder, weights.stat().st_mtime_ns if weights.is_file() else 0)
    model = LIVE.get(key)
    if model is None:
        made = made or WORKER.call(adapters.read, folder, choice.path)
        taught = MLXText(choice.path, ships_code=choice.card.ships_code, adapter=made, shared=engine)
        model = LIVE[key] = Model(choice.card, taught, choice.path, choice.reason, made.name)
    return model


def _engine(choice: Choice) -> Engine:
    """What runs a model. Engines are cheap to make; the weights are read later."""
    if choice.endpoint is not None:
        return OpenAIApi(choice.endpoint)
    assert choice.path is not None  # a model without a server has a folder
    if choice.card.format == "gguf":
        return LlamaCpp(choice.path, ships_code=choice.card.ships_code)
    if choice.card.format == "onnx":
        sees = choice.card.architecture == "phi3_v"
        return OnnxGenAI(choice.path, sees, ships_code=choice.card.ships_code)
    if choice.card.architecture == "phi3_v":
        return MLXVision(choice.path, ships_code=choice.card.ships_code)
    return MLXText(choice.path, ships_code=choice.card.ships_code)


def memory() -> MemoryReport:
    """Where the memory is: the machine, each model that is loaded, and MLX. Loads nothing.

    Example:
        memory()
    """
    here = [model for model in list(LIVE.values()) if model.loaded and model.tier != "endpoint"]
    # Models that differ in their adapter share one set of weights, and that is counted once.
    apart = {id(getattr(model.engine, "weights", model)): model for model in reversed(here)}
    models = tuple((model.name, model.engine.weight_bytes) for model in here if model in apart.values())
    active = peak = cache = None
    if "mlx.core" in sys.modules:
        import mlx.core as mx

        active, peak, cache = mx.get_active_memory(), mx.get_peak_memory(), mx.get_cache_memory()
    return MemoryReport(limits.total(), limits.free(), models, active, peak, cache)
