"""How well the model in a folder predicts a text, with one layer in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.corrections import before_mlx, longrope
from labs_helper.corrections.vision.table import choose_table
from labs_helper.engines.base import Stopped
from labs_helper.engines.mlx_vision import model_classes
from labs_helper.engines.refusing import Refusing


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text. perplexity: exp of the mean loss a token. best: its choice at each place."""

    perplexity: float
    best: tuple[int, ...]


def read_lazily(path: Path, config: Config) -> Any:
    """The model of a folder, its weights not read yet."""
    from mlx_lm.utils import load_model

    options = {"get_model_classes": lambda config: model_classes()} if config["model_type"] == "phi3_v" else {}
    # `config` goes over what config.json says: mlx-lm merges the two.
    return load_model(path, lazy=True, model_config=config, trust_remote_code=False, **options)[0]


def score(path: str | Path, ids: list[int], config: Config, cancelled: Callable[[], bool] = lambda: False) -> Score:
    """How well the model in a folder predicts a text. Only one layer is in memory at a time.

    ids: the tokens of the text.
    config: in mlx-lm's keys, see `rope_settings.classic`.
    On a CPU quantized weights are expanded first: the same values, computed faster (corrections/dequantize.py).
    To be called in the worker's thread.

    Example:
        WORKER.call(score, path, ids, store.read_json(path / "config.json")).perplexity
    """
    before_mlx()
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_map
    from mlx_lm.models.base import create_attention_mask
    from mlx_lm.utils import dequantize_model

    def drop(module: nn.Module) -> None:
        module.update(tree_map(lambda _array: mx.array([]), module.parameters()))

    path = Path(path)
    with Refusing(path, _("weights")):
        model = read_lazily(path, config)
        if mx.default_device().type == mx.DeviceType.cpu:
            dequantize_model(model)
            model.set_dtype(mx.float32)
        choose = choose_table if config["model_type"] == "phi3_v" else longrope.apply
        choose(model, config, len(ids))
        core, tied = model.model, config.get("tie_word_embeddings") and config["model_type"] == "phi3"
        x = core.embed_tokens(mx.array([ids]))
        mx.eval(x)
        if not tied:
            drop(core.embed_tokens)
        mask = create_attention_mask(x, None)
        for layer in core.layers:
            stop_if(cancelled)
            x = layer(x, mask, None)
            mx.eval(x)
            drop(layer)
            mx.clear_cache()
        x = core.norm(x)
        logits = (core.embed_tokens.as_linear(x) if tied else model.lm_head(x))[0].astype(mx.float32)
        losses = nn.losses.cross_entropy(logits[:-1], mx.array(ids[1:]))
        mean, best = cast(float, losses.mean().item()), logits[:-1].argmax(axis=-1).tolist()
    mx.clear_cache()
    return Score(math.exp(mean) if mean < 700 else math.inf, tuple(best))


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise Stopped once somebody has asked to stop."""
    if cancelled():
        raise Stopped
