"""What an experiment switches off or puts in: heads, layers, experts, and a token's vector between two layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from labs_helper.reference.shape import Shape
    from labs_helper.reference.weights import Array


@dataclass(frozen=True)
class Change:
    """A change of a run. All numbers count from 0.

    Attributes:
        heads: (layer, head) pairs whose mixture becomes zeros.
        layers: layers that pass on what they get.
        experts: (layer, expert) pairs that no token may choose.
        put: vectors by (stage, position). Stage 0 is the embedding, and stage n + 1 is what layer n passes on, as in
            `Run.residual`.

    Example:
        Change(heads=[(2, 4), (2, 5)])
    """

    heads: Collection[tuple[int, int]] = ()
    layers: Collection[int] = ()
    experts: Collection[tuple[int, int]] = ()
    put: Mapping[tuple[int, int], Array] = field(default_factory=dict)

    def checked(self, shape: Shape) -> Change:
        """The same change with its numbers as sets.

        Raises:
            BadRequest: the model has no such head, layer, expert or stage.

        Example:
            Change(heads=[(9, 0)]).checked(shape)      # BadRequest: There is no layer 9.
        """
        heads, layers, experts = frozenset(self.heads), frozenset(self.layers), frozenset(self.experts)
        for layer in {*layers, *(layer for layer, _head in heads), *(layer for layer, _expert in experts)}:
            _within(layer, shape.layers, _("There is no layer {number}."), _("This model has layers 0 to {last}."))
        for _layer, head in heads:
            _within(head, shape.heads, _("There is no head {number}."), _("Each layer has heads 0 to {last}."))
        if experts and not shape.experts:
            raise BadRequest(
                _("This model has no experts: every token goes through all of it."),
                _('Use a model with experts: load("moe").'),
            )
        for _layer, expert in experts:
            _within(expert, shape.experts, _("There is no expert {number}."), _("Layers have experts 0 to {last}."))
        for layer in range(shape.layers if experts else 0):
            gone = sum(place == layer for place, _expert in experts)
            if shape.experts - gone < shape.chosen:
                raise BadRequest(
                    _("Layer {layer} has too few experts left.").format(layer=layer),
                    _("Each token needs {count}: leave at least that many.").format(count=shape.chosen),
                )
        for (stage, _position), vector in self.put.items():
            _within(
                stage,
                shape.layers + 1,
                _("There is no stage {number}."),
                _("Stage 0 is the embedding, {last} the end."),
            )
            if np.shape(vector) != (shape.width,):
                raise BadRequest(
                    _("A vector of the shape {shape} cannot stand for a token.").format(shape=np.shape(vector)),
                    _("Put in {width} numbers, such as run.residual[stage, position].").format(width=shape.width),
                )
        return Change(heads, layers, experts, dict(self.put))

    def mute(self, layer: int, mixtures: Array) -> Array:
        """The mixtures (H, T, D) of a layer, zeros for heads that are off."""
        off = [head for place, head in self.heads if place == layer]
        if off:
            mixtures = mixtures.copy()
            mixtures[off] = 0
        return mixtures

    def close(self, layer: int, gates: Array) -> Array:
        """The router's values (T, E) of a layer, minus infinity for experts that are off."""
        off = [expert for place, expert in self.experts if place == layer]
        if off:
            gates = gates.copy()
            gates[:, off] = -np.inf
        return gates

    def replace(self, stage: int, first: int, x: Array) -> Array:
        """What stands for the tokens (T, W) at a stage, with what was put in; `first` is their first position."""
        for (place, position), vector in self.put.items():
            if place == stage and first <= position < first + len(x):
                x = x.copy()
                x[position - first] = vector
        return x


NOTHING = Change()


def _within(number: int, count: int, what: str, do: str) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number < count:
        raise BadRequest(what.format(number=number), do.format(last=count - 1))
