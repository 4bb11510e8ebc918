"""On a Linux CPU, expand quantized weights into the fp32 values they stand for.

What: MLX's quantized matrix product on the CPU is one plain loop, about 1.8 GFLOPS at any size, and 7 to 50
    times slower still with 16-bit scales. The same product in fp32 through OpenBLAS reaches 68 to 107 GFLOPS
    (measured, mlx 0.32.4). Answers stay the same up to the order of summation.
Where: mlx/backend/cpu/quantized.cpp. No thread found upstream.
When: only on the CPU, only with OpenBLAS, and only for models that are small in fp32. LABS_DEQUANTIZE=0 never,
    =1 always, =auto (the default) by this rule.
"""

from __future__ import annotations

import math
from typing import Any

from labs_helper.common import settings
from labs_helper.common.types import Table
from labs_helper.corrections import blas

BUDGET = 1_000_000_000  # bytes in fp32; more than this is no longer a small model


def wanted(fp32_bytes: int, on_cpu: bool) -> bool:
    """Whether a model of this size should be expanded.

    Args:
        fp32_bytes: what its weights take in fp32.
        on_cpu: whether MLX computes on the CPU.

    Raises:
        BadRequest: LABS_DEQUANTIZE has another value than 0, 1 or auto.

    Example:
        wanted(12_000_000, on_cpu=True)
    """
    choice = settings.DEQUANTIZE.get()
    if choice is None:
        return on_cpu and blas.preload().fast and fp32_bytes <= BUDGET
    return choice


def expanded_bytes(table: Table, group_size: int) -> int:
    """What the weights of a checkpoint take in fp32, from its table of contents.

    Args:
        table: from `labs_helper.store.weight_table`.
        group_size: weights that share a scale. With it the number of scales tells the number of weights, also where
            layers have bits of their own; packed weights are stored as U32.

    Example:
        expanded_bytes(store.weight_table(path), group_size=64)
    """
    total = 0
    for name, entry in table.items():
        count = math.prod(entry["shape"])
        scales = table.get(f"{name.removesuffix('.weight')}.scales")
        if entry["dtype"] == "U32" and scales is not None:
            total += math.prod(scales["shape"]) * group_size * 4
        elif not name.endswith((".scales", ".biases")):
            total += count * 4
    return total


def apply(model: Any) -> int:
    """Replace every quantized layer of a model by its fp32 form. Returns how many were replaced.

    Example:
        apply(model)      # 17 for a phi3 with 4 layers
    """
    import mlx.core as mx
    import mlx.nn as nn
    from mlx_lm.utils import dequantize_model

    layers = [layer for _name, layer in model.named_modules()]
    quantized = [layer for layer in layers if isinstance(layer, (nn.QuantizedLinear, nn.QuantizedEmbedding))]
    dequantize_model(model)
    model.set_dtype(mx.float32)
    mx.eval(model.parameters())
    return len(quantized)
