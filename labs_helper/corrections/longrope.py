"""Choose LongRoPE's table by the length of the request.

What: Phi-3.5 has two tables of rotary factors: the short one for sequences up to the original context length,
    the long one beyond it. mlx-lm 0.32.2 builds its table from `long_factor` only and never reads
    `short_factor`, so below 4096 tokens Phi-3.5-mini and Phi-3.5-MoE run with the wrong table.
Where: mlx_lm/models/rope_utils.py, SuScaledRoPE. Discussed in ml-explore/mlx-lm#660; the table factors are in
    lablup/mlxcel#1358; mlx-vlm repaired its own copy in Blaizzy/mlx-vlm#1927.
Rule: one table for a whole request, short when prompt + max_tokens fit the original length, as vLLM does
    (vllm-project/vllm#27431). The keys in a prompt cache are rotated already, so a cache never outlives its table.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from labs_helper.common.types import Config

if TYPE_CHECKING:
    import mlx.core as mx


def table_for(config: Config, total_tokens: int) -> str | None:
    """Which table a request of this length needs: "short", "long", or None for a model without LongRoPE.

    Args:
        config: the checkpoint's config.json.
        total_tokens: tokens of the prompt plus max_tokens.

    Example:
        table_for({"rope_scaling": {"short_factor": [], "long_factor": []},
                   "original_max_position_embeddings": 4096}, 4097)      # 'long'
    """
    scaling = config.get("rope_scaling") or {}
    if "short_factor" not in scaling or "long_factor" not in scaling:
        return None
    return "short" if total_tokens <= original_length(config) else "long"


def original_length(config: Config) -> int:
    """The length in tokens up to which the short table holds (4096 where the config does not say).

    Example:
        original_length({})      # 4096
    """
    return int(config.get("original_max_position_embeddings") or 4096)


def apply(model: Any, config: Config, total_tokens: int) -> str | None:
    """Install the right table in every layer of an mlx-lm phi3 or phimoe model, unless mlx-lm is right itself.

    Wavelengths of one table: factor_i * base^(2i / d), i = 0 .. d/2 - 1 (LongRoPE, arXiv:2402.13753).

    Args:
        model: the model that `mlx_lm.load` returned.
        config: its config.json.
        total_tokens: tokens of the prompt plus max_tokens.

    Returns:
        The table's name, or None for a model without LongRoPE.

    Example:
        apply(model, config, total_tokens=300)      # 'short'
    """
    name = table_for(config, total_tokens)
    if name is not None and not upstream_is_right():
        _install(model, config, name)
    return name


def _install(model: Any, config: Config, name: str) -> None:
    import mlx.core as mx
    from mlx_lm.models.rope_utils import SuScaledRoPE

    scaling = config["rope_scaling"]
    base = config.get("rope_theta") or 10000.0
    freqs = None
    for layer in model.layers:
        rope = layer.self_attn.rope
        if not isinstance(rope, SuScaledRoPE):
            continue
        if freqs is None:
            exponents = mx.arange(0, rope.dim, 2, dtype=mx.float32) / rope.dim
            freqs = mx.array(scaling[f"{name}_factor"], dtype=mx.float32) * base**exponents
            mx.eval(freqs)
        # mlx-lm has no public name for either.
        rope._freqs = freqs  # noqa: SLF001
        if scaling.get(f"{name}_mscale"):
            rope._scale = scaling[f"{name}_mscale"]  # noqa: SLF001  (phimoe names a scale for each table)


@cache
def upstream_is_right() -> bool:
    """Whether the installed mlx-lm picks the short table itself. Tried once per process.

    Example:
        upstream_is_right()      # False with mlx-lm 0.32.2
    """
    return probe()


def probe() -> bool:
    """Run a tiny phi3 below its original length, as mlx-lm built it and then with the short table put in.

    If nothing changes, mlx-lm is right and this correction steps aside.

    Example:
        probe()      # False with mlx-lm 0.32.2
    """
    import mlx.core as mx
    from mlx.utils import tree_map_with_path
    from mlx_lm.models import phi3

    config = {
        "model_type": "phi3",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "intermediate_size": 32,
        "num_attention_heads": 1,
        "rms_norm_eps": 1e-5,
        "vocab_size": 16,
        "max_position_embeddings": 64,
        "original_max_position_embeddings": 16,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [8.0] * 16},
    }
    model = phi3.Model(phi3.ModelArgs.from_dict(config))
    model.update(tree_map_with_path(fixed_weight, model.parameters()))
    tokens = mx.array([[3, 1, 4, 1, 5, 9]])
    before = model(tokens)
    mx.eval(before)
    _install(model, config, "short")
    return bool(mx.allclose(before, model(tokens), atol=1e-4).item())


def fixed_weight(name: str, value: mx.array) -> mx.array:
    """Weights for a probe: fixed and not random, so that its verdict is the same each time.

    Example:
        model.update(tree_map_with_path(fixed_weight, model.parameters()))
    """
    import mlx.core as mx

    return mx.sin(mx.arange(value.size, dtype=mx.float32) * 1.7 + len(name)).reshape(value.shape)
