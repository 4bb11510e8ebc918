"""Choose one of LongRoPE's tables for a whole request.

What: mlx-vlm chooses the table for each chunk of a prompt, so a long prompt mixes two tables.
Where: mlx_vlm/models/rope_utils.py, `SuScaledRoPE` (mlx-vlm 0.7.10); lablup/mlxcel#1358 describes the same trap.
Rule: as in corrections/longrope.py. mlx-vlm compares the end of each chunk with the original length; with that length
    out of the way its own code picks one table throughout.
"""

from __future__ import annotations

from typing import Any

from labs_helper.common.types import Config
from labs_helper.corrections import longrope
from labs_helper.corrections.vision import upstream

_OUT_OF_REACH = 2**30


def choose_table(model: Any, config: Config, total_tokens: int) -> str | None:
    """Install one LongRoPE table for a whole request in an mlx-vlm model.

    Args:
        model: mlx-vlm's phi3_v.
        config: its config.json.
        total_tokens: tokens of the prompt, pictures included, plus max_tokens.

    Returns:
        "short", "long", or None for a model without LongRoPE.

    Example:
        choose_table(model, config, 300)      # 'short'
    """
    name = longrope.table_for(config, total_tokens)
    if name is not None and not upstream.is_right(probe):
        for layer in model.layers:
            rope = layer.self_attn.rope
            if hasattr(rope, "original_max_position_embeddings"):
                rope.original_max_position_embeddings = _OUT_OF_REACH if name == "short" else 0
    return name


def probe() -> bool:
    """Whether a prompt that crosses the original length gives the same numbers in one pass and in two chunks.

    Example:
        probe()      # False with mlx-vlm 0.7.10
    """
    model = upstream.small_decoder()
    import mlx.core as mx
    from mlx_lm.models.cache import KVCache

    x = mx.sin(mx.arange(24 * 32, dtype=mx.float32) * 1.7).reshape(1, 24, 32)
    attention, cache = model.layers[0].self_attn, KVCache()
    whole = attention(x, "causal")
    chunks = mx.concatenate([attention(x[:, :12], "causal", cache), attention(x[:, 12:], "causal", cache)], axis=1)
    return bool(mx.allclose(whole, chunks, atol=1e-4).item())
