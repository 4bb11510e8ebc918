"""Two other ways to the logits of a sequence, for the parity tests; both run in the thread that owns MLX."""

from __future__ import annotations

import numpy as np

from labs_helper.corrections import longrope
from labs_helper.engines.mlx_text import import_mlx_lm
from labs_helper.engines.worker import WORKER


def plain(folder, ids) -> np.ndarray:
    """What mlx-lm computes by itself, without any correction."""

    def work():
        import_mlx_lm()
        import mlx.core as mx
        from mlx_lm.utils import load_model

        model, _ = load_model(folder)
        return np.array(model(mx.array(ids[None]))[0])

    return WORKER.call(work)


def in_chunks(engine, ids, chunk: int) -> np.ndarray:
    """What our engine computes chunk by chunk over a cache, with the table of the whole sequence."""
    ids, length = ids.tolist(), len(ids)

    def work():
        import mlx.core as mx
        from mlx_lm.models.cache import make_prompt_cache

        engine.load()
        longrope.apply(engine.model, engine.config, length)
        cache = make_prompt_cache(engine.model)
        rows = [engine.model(mx.array([ids[i : i + chunk]]), cache=cache)[0] for i in range(0, length, chunk)]
        return np.array(mx.concatenate(rows))

    return WORKER.call(work)
