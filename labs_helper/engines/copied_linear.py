"""A linear layer whose whole matrix learns, on a copy: full fine-tuning that can be taken off like an adapter."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn


class CopiedLinear(nn.Module):
    """In place of a linear layer, which it keeps as `linear` and does not change.

    Args:
        linear: the layer; one of a few bits is expanded, since rounded weights cannot learn.

    Example:
        CopiedLinear(nn.Linear(256, 768, bias=False))
    """

    def __init__(self, linear: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # mlx.nn has no types
        self.linear = linear
        self.linear.freeze()
        weight = linear.weight
        if isinstance(linear, nn.QuantizedLinear):
            weight = mx.dequantize(
                weight, linear.scales, linear.biases, group_size=linear.group_size, bits=linear.bits, mode=linear.mode
            )
        self.whole = mx.array(weight, dtype=mx.float32)

    def __call__(self, x: mx.array) -> mx.array:
        out = x @ self.whole.T
        return out + self.linear.bias if "bias" in self.linear else out

    def fuse(self, dequantize: bool = False) -> Any:
        """A plain layer with the trained matrix as its weights. mlx-lm's layers have a method of this name."""
        assert dequantize, "rounding comes after folding, for the whole model at once"
        outer, inner = self.whole.shape
        folded = nn.Linear(inner, outer, bias="bias" in self.linear)
        folded.weight = self.whole
        if "bias" in self.linear:
            folded.bias = self.linear.bias
        return folded
