"""MLX's affine quantization in torch, so that the last part of the training sees the rounded weights."""

from __future__ import annotations

import re

import torch
from torch import nn
from torch.nn.utils import parametrize

from training.config import BITS, GROUP


def round_like_mlx(weight: torch.Tensor, bits: int = BITS, group: int = GROUP) -> torch.Tensor:
    """Quantize and dequantize as `mx.quantize(w, group_size, bits)` in affine mode.

    Each group of `group` values along the last axis gets a scale and a bias such that its larger end is met exactly
    and zero stays zero (source: the affine_quantize kernel of ml-explore/mlx; a test compares the two).

    Args:
        weight: (..., n) with n a multiple of `group`.
    """
    top = 2**bits - 1
    groups = weight.reshape(*weight.shape[:-1], -1, group)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = ((high - low) / top).clamp_min(1e-7)
    from_low = low.abs() > high.abs()
    scale = torch.where(from_low, scale, -scale)
    edge = torch.where(from_low, low, high)
    at = torch.round(edge / scale)
    scale = torch.where(at != 0, edge / at, scale)
    bias = torch.where(at != 0, edge, torch.zeros_like(edge))
    rounded = torch.round((groups - bias) / scale).clamp(0, top) * scale + bias
    return rounded.reshape(weight.shape)


class StraightThrough(nn.Module):
    """Rounds the weight forward; lets the gradient through as if it had not (Bengio et al. 2013, arXiv:1308.3432)."""

    def __init__(self, bits: int = BITS):
        super().__init__()
        self.bits = bits

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            change = round_like_mlx(weight, self.bits) - weight
        return weight + change


def start_rounding(model: nn.Module) -> None:
    """From now on every linear and embedding weight is seen rounded: to `module.bits` where a module says so.

    A module that holds stacks of matrices names them in `module.stacked`.
    """
    for module in list(model.modules()):
        names = ("weight",) if isinstance(module, nn.Linear | nn.Embedding) else getattr(module, "stacked", ())
        for name in () if parametrize.is_parametrized(module) else names:
            parametrize.register_parametrization(module, name, StraightThrough(getattr(module, "bits", BITS)))


def plain_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with the original (unrounded) weights under their usual names."""
    return {
        re.sub(r"parametrizations\.(\w+)\.original$", r"\1", key): value for key, value in model.state_dict().items()
    }
