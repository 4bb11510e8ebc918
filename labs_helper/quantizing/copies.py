"""A model whose weights are rounded while they are read: same engine, same questions, fewer values.

On a CPU, MLX's product with packed weights is far slower than one with full numbers (corrections/dequantize.py). So a
copy holds the rounded values as full numbers. Its answers are those of a packed checkpoint whose scales have 32 bits,
up to the order of summation. Its size is computed, with scales of 16 bits as published checkpoints have them.
`engines.convert` writes packed files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.corrections import dequantize
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.models.model import Model
from labs_helper.quantizing.rounding import bits_per_weight
from labs_helper.tuning.classroom import engine_of

if TYPE_CHECKING:
    import mlx.core as mx

FULL = 16  # bits that stand for "not rounded"
BITS = (2, 3, 4, 5, 6, 8, FULL)
GROUPS = (32, 64, 128)
# Formats of MLX whose groups share one small number in place of a scale and a bias: bits, group, bits of that number.
FLOATS = {"mxfp4": (4, 32, 8), "nvfp4": (4, 16, 8), "mxfp8": (8, 32, 8)}


@dataclass(frozen=True)
class Bits:
    """How a model is rounded.

    Attributes:
        bits: of each weight; 16 leaves the weights as they are.
        group: weights that share a scale and a bias.
        layers: bits of layers that get others, by name, such as {"lm_head": 8}.
        mode: "affine", or one of MLX's small floating-point formats, which have bits and groups of their own.

    Example:
        Bits(3, layers={"lm_head": 8}).of("model.layers.0.mlp.down_proj")      # 3
    """

    bits: int = 4
    group: int = 32
    layers: Mapping[str, int] = field(default_factory=dict)
    mode: str = "affine"

    def of(self, layer: str) -> int:
        """Bits of a layer."""
        return self.layers.get(layer, self.bits)

    def size_of(self, layer: str, weights: int) -> float:
        """Bits that a layer takes, its scales and biases included."""
        bits = self.of(layer)
        if bits == FULL:
            return float(FULL * weights)
        if self.mode != "affine":
            count, group, scale = FLOATS[self.mode]
            return weights * (count + scale / group)
        return weights * bits_per_weight(bits, self.group)

    def __str__(self) -> str:
        if self.mode != "affine":
            return self.mode
        if self.bits == FULL and not self.layers:
            return _("16 bits")
        told = _("{bits} bits, groups of {group}").format(bits=self.bits, group=self.group)
        if self.layers:
            told += _(", {count} layers with other bits").format(count=len(self.layers))
        return told


def check(plan: Bits) -> Bits:
    """A plan whose numbers MLX takes.

    Raises:
        BadRequest: it takes other ones.

    Example:
        check(Bits(4))
    """
    if plan.mode != "affine" and plan.mode not in FLOATS:
        known = ", ".join(("affine", *FLOATS))
        raise BadRequest(
            _("There is no mode {mode!r}.").format(mode=plan.mode), _("Use one of these: {known}.").format(known=known)
        )
    for bits in (plan.bits, *plan.layers.values()):
        if bits not in BITS:
            raise BadRequest(
                _("MLX does not round to {bits!r} bits.").format(bits=bits),
                _("Use one of these: {known}.").format(known=", ".join(map(str, BITS))),
            )
    if plan.group not in GROUPS:
        raise BadRequest(
            _("MLX has no groups of {group!r} weights.").format(group=plan.group),
            _("Use one of these: {known}.").format(known=", ".join(map(str, GROUPS))),
        )
    return plan


def layers_of(model: Any) -> dict[str, Any]:
    """The layers of a model of mlx-lm that can be rounded, by name, from the table of tokens to the head.

    Example:
        list(layers_of(engine.model))[0]      # 'model.embed_tokens'
    """
    last_first = [(name, module) for name, module in model.named_modules() if hasattr(module, "to_quantized")]
    return dict(reversed(last_first))


def rounded_like(weight: mx.array, bits: int, group: int, mode: str = "affine") -> mx.array:
    """A matrix as MLX rounds it, with full numbers again.

    Example:
        rounded_like(layer.weight, 4, 32)
    """
    import mlx.core as mx

    if mode != "affine":
        count, width, _scale = FLOATS[mode]
        packed = mx.quantize(weight, group_size=width, bits=count, mode=mode)
        return mx.dequantize(*packed, group_size=width, bits=count, mode=mode).astype(mx.float32)
    packed = mx.quantize(weight, group_size=group, bits=bits)
    return mx.dequantize(*packed, group_size=group, bits=bits)


class RoundedText(MLXText):
    """A text checkpoint whose weights are rounded as they are read. Everything is computed in 32 bits.

    Args:
        path: the checkpoint folder.
        plan: how it is rounded.
        learned: weights by layer that replace the rounded ones, from `distilling`.
    """

    def __init__(
        self, path: str | Path, plan: Bits, ships_code: bool = False, learned: Mapping[str, mx.array] | None = None
    ) -> None:
        super().__init__(path, ships_code)
        self.plan, self.learned = plan, dict(learned or {})

    def _read(self) -> tuple[Any, Any, Config]:
        model, decoder, config = super()._read()
        dequantize.apply(model)
        round_layers(model, self.plan)
        for name, weight in self.learned.items():
            layers_of(model)[name].weight = weight
        return model, decoder, config


def round_layers(model: Any, plan: Bits) -> None:
    """Round the layers of a model with full numbers, in place.

    Raises:
        BadRequest: the plan names a layer that the model does not have, or its groups do not divide a layer.

    Example:
        round_layers(engine.model, Bits(3))
    """
    import mlx.core as mx

    layers = layers_of(model)
    if unknown := sorted(set(plan.layers) - set(layers)):
        raise BadRequest(
            _("The model has no layer {name!r}.").format(name=unknown[0]),
            _("Its layers are called like these: {known}.").format(known=", ".join([*layers][:4])),
        )
    for name, layer in layers.items():
        bits = plan.of(name)
        if bits == FULL:
            continue
        width = layer.weight.shape[-1]
        if width % plan.group:
            raise BadRequest(
                _("Groups of {group} do not divide the rows of {name}, which have {width} weights.").format(
                    group=plan.group, name=name, width=width
                ),
                _("Use smaller groups."),
            )
        layer.weight = rounded_like(layer.weight, bits, plan.group, plan.mode)
        mx.eval(layer.weight)  # one after the other: packed and full numbers of all would be in memory at once


class RoundedModel(Model):
    """A model that answers with rounded weights.

    Attributes:
        plan: how it is rounded.
        sizes: the count of weights of each layer.
        others: weights that are never rounded, such as norms.

    Example:
        rounded(load("instruct"), 3).bits_per_weight      # 4.0
    """

    def __init__(self, base: Model, engine: RoundedText, note: str = "") -> None:
        self.plan = engine.plan
        card = replace(base.card, name=", ".join(part for part in (base.card.name, str(engine.plan), note) if part))
        super().__init__(card, engine, base.path, _("it was rounded here"))
        self.sizes, self.others = WORKER.call(_counts, engine)

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight on average, scales and biases included; weights that are never rounded count 16."""
        rounded_bits = sum(self.plan.size_of(name, count) for name, count in self.sizes.items())
        return (rounded_bits + FULL * self.others) / (sum(self.sizes.values()) + self.others)

    @property
    def bytes(self) -> float:
        """Of its weights in a file."""
        return self.bits_per_weight * (sum(self.sizes.values()) + self.others) / 8


def _counts(engine: RoundedText) -> tuple[dict[str, int], int]:
    from mlx.utils import tree_flatten

    engine.load()
    sizes = {name: math.prod(layer.weight.shape) for name, layer in layers_of(engine.model).items()}
    parameters = cast("list[tuple[str, mx.array]]", tree_flatten(engine.model.parameters()))
    return sizes, sum(array.size for _name, array in parameters) - sum(sizes.values())


def rounded(
    model: Model, bits: int = 4, group: int = 32, layers: Mapping[str, int] | None = None, mode: str = "affine"
) -> RoundedModel:
    """A model with its weights rounded. It is asked like any other; the original stays as it is.

    Args:
        model: from `load`; best one whose weights were never rounded.
        bits: of each weight: 2, 3, 4, 5, 6 or 8; 16 leaves them, for the comparison.
        group: weights that share a scale and a bias: 32, 64 or 128.
        layers: bits of layers that get others, by name.
        mode: "affine", "mxfp4", "nvfp4" or "mxfp8"; the last three have bits and groups of their own.

    Raises:
        BadRequest: MLX cannot round so, or the model is none of MLX's text models.

    Example:
        rounded(load("instruct"), 3).ask("Where is Lima?")
    """
    plan = check(Bits(bits, group, dict(layers or {}), mode))
    engine = engine_of(model)
    return RoundedModel(model, RoundedText(engine.path, plan, engine.ships_code))
