"""Refuse a quantized KV cache with a sentence.

What: with `kv_bits` the quantized keys reach an attention that cannot take them: a bare TypeError.
Where: mlx_vlm/models/phi3_v/phi3_v.py, `Attention` (mlx-vlm 0.7.10). No thread found upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labs_helper.common.translate import _
from labs_helper.corrections.vision import upstream
from labs_helper.errors import BadRequest


def install() -> None:
    """Put the refusal into mlx_vlm's attention.

    Example:
        install()
    """
    upstream.import_mlx_vlm()
    from mlx_vlm.models.phi3_v.phi3_v import Attention

    upstream.replace(Attention, "__call__", _refusing(Attention.__call__))


def _refusing(attention: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: Any, x: Any, mask: Any = None, cache: Any = None) -> Any:
        if hasattr(cache, "bits"):
            raise BadRequest(
                _("The KV cache of Phi-3.5-vision cannot be quantized in this version of mlx-vlm."),
                _("Leave kv_bits out."),
            )
        return attention(self, x, mask, cache)

    return checked


def probe() -> bool:
    """Whether an attention takes a quantized cache.

    Example:
        probe()      # False with mlx-vlm 0.7.10
    """
    model = upstream.small_decoder()
    import mlx.core as mx
    from mlx_lm.models.cache import QuantizedKVCache

    try:
        mx.eval(model.layers[0].self_attn(mx.zeros((1, 3, 32)), None, QuantizedKVCache(group_size=32, bits=8)))
    except (TypeError, ValueError):
        return False
    return True
