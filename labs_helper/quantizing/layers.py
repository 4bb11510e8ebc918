"""Which layers a rounding hurts most, and where to spend bits that are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing.copies import Bits, RoundedModel, layers_of, rounded, rounded_like
from labs_helper.quantizing.copies import check as check_plan
from labs_helper.quantizing.likelihood import Interval, Reading, compare, read

if TYPE_CHECKING:
    import mlx.core as mx

    from labs_helper.models.model import Model
    from labs_helper.tuning.textbook import Talk


@dataclass(frozen=True)
class Hurt:
    """What rounding one layer alone does.

    Attributes:
        layer: its name.
        weights: their count.
        divergence: from the model without the rounding, in nats a place.
        same: the share of places whose most likely token is the same.

    Example:
        sensitivity(twin, talks, bits=2)[0].layer
    """

    layer: str
    weights: int
    divergence: Interval
    same: float


def sensitivity(model: Model, talks: Sequence[Talk], bits: int = 2, group: int = 32) -> list[Hurt]:
    """Round one layer at a time and see what it does. All others keep their numbers.

    Args:
        model: best one whose weights were never rounded.
        talks: what is read each time.
        bits, group: of the one layer.

    Returns:
        One entry for each layer, in the order of the model.

    Raises:
        BadRequest: MLX cannot round so.

    Example:
        max(sensitivity(twin, talks), key=lambda hurt: hurt.divergence.value).layer
    """
    check_plan(Bits(bits, group))
    full = rounded(model, 16)
    before = read(full, talks)
    try:
        return [_hurt(full, name, bits, group, before, talks) for name in full.sizes]
    finally:
        full.release()


def _hurt(full: RoundedModel, name: str, bits: int, group: int, before: Reading, talks: Sequence[Talk]) -> Hurt:
    def put(weight: mx.array | None) -> mx.array:
        layer = layers_of(full.engine.model)[name]  # type: ignore[attr-defined]  # an MLXText, see `rounded`
        kept: mx.array = layer.weight
        layer.weight = rounded_like(kept, bits, group) if weight is None else weight
        return kept

    kept = WORKER.call(put, None)
    try:
        distance = compare(before, read(full, talks))
    finally:
        WORKER.call(put, kept)
    return Hurt(name, full.sizes[name], distance.divergence, distance.same)


def spend(
    gains: Mapping[str, float], weights: Mapping[str, int], extra: float, *, worst: bool = False
) -> tuple[str, ...]:
    """The layers that should get more bits: those that gain most for each bit, until the budget is spent.

    Greedy, as mlx-lm's dynamic quantization: a threshold on the gain for each weight. The best choice is a knapsack
    problem; with a few dozen layers the difference is small.

    Args:
        gains: what more bits save in each layer, such as its divergence.
        weights: the count of weights of each layer.
        extra: how many weights may get more bits.
        worst: begin with those that gain least for each weight, as a control.

    Raises:
        BadRequest: a layer has no count of weights.

    Example:
        spend({"a": 2.0, "b": 1.0}, {"a": 10, "b": 1}, extra=5)      # ('b',)
    """
    if missing := sorted(set(gains) - set(weights)):
        raise BadRequest(
            _("The layer {name!r} has no count of weights.").format(name=missing[0]), _("Give one for each layer.")
        )
    chosen, left = [], extra
    for name in sorted(gains, key=lambda name: gains[name] / weights[name], reverse=not worst):
        if weights[name] <= left and gains[name] > 0:
            chosen.append(name)
            left -= weights[name]
    return tuple(chosen)
