"""Watch a phimoe's routers at work, or take experts away from them, during one request.

mlx-lm's block looks `sparsemixer` up in its module at every call. While a step of the request is computed, that name
means a function that hands the gate values on to the original and keeps what it decides. The model stays as it is.
Only the thread that watches is concerned, and only during a step: another model in another thread, or a question
asked between two tokens, is not affected.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    import mlx.core as mx
    import numpy as np
    import pandas

T = TypeVar("T")


@dataclass(frozen=True)
class Routing:
    """What the routers did with each token, in order: numpy arrays.

    experts: (tokens, layers, rank) the chosen experts, best first.
    weights: (tokens, layers, rank) what each one's output is multiplied with. The two need not sum to 1.
    gates: (tokens, layers, experts) the router's value for every expert, before any was taken away.
    pieces: the readable form of each token; empty if only ids went through the model.
    prompt_tokens: how many of the tokens are the prompt.
    """

    experts: np.ndarray
    weights: np.ndarray
    gates: np.ndarray
    pieces: tuple[str, ...] = ()
    prompt_tokens: int = 0

    def __len__(self) -> int:
        return len(self.experts)

    def frame(self) -> pandas.DataFrame:
        """Which experts each token went to: a row for each token, layer and rank.

        Columns: position (from 0), token, part ("prompt" or "answer"), layer, expert, rank (1 is the better), weight
        (what the expert's output is multiplied with; the two of a token need not sum to 1) and gate (the router's
        value for this expert; `gates` has those of all experts). The last token of an answer is here too: it went
        through the model, though nothing came after it.

        Example:
            answer = load("moe").ask("What is 47 + 38?", record_experts=True)
            answer.routing.frame().query("layer == 0 and rank == 1")
        """
        import numpy as np
        import pandas

        position, layer, rank = np.indices(self.experts.shape).reshape(3, -1)
        tokens = np.array(self.pieces or [""] * len(self), dtype=object)
        return pandas.DataFrame(
            {
                "position": position,
                "token": tokens[position],
                "part": np.where(position < self.prompt_tokens, "prompt", "answer"),
                "layer": layer,
                "expert": self.experts.ravel(),
                "rank": rank + 1,
                "weight": self.weights.ravel(),
                "gate": np.take_along_axis(self.gates, self.experts, axis=-1).ravel(),
            }
        )

    def first(self, tokens: int) -> Routing:
        """The record of the first tokens only."""
        return replace(
            self,
            experts=self.experts[:tokens],
            weights=self.weights[:tokens],
            gates=self.gates[:tokens],
            pieces=self.pieces[:tokens],
        )


def checked(config: Config, without: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Experts to take away, by layer.

    config: config.json of a phimoe.
    without: pairs of (layer, expert), both counted from 0.
    Raises BadRequest for a layer or expert that is not there, or if fewer remain in a layer than a token needs.

    Example:
        checked(config, [(0, 3), (0, 5)])      # {0: [3, 5]}
    """
    layers, experts = config["num_hidden_layers"], config["num_local_experts"]
    gone: dict[int, list[int]] = {}
    for layer, expert in sorted(set(without)):
        if not 0 <= layer < layers:
            raise BadRequest(
                _("There is no layer {layer}.").format(layer=layer),
                _("This model has layers 0 to {last}.").format(last=layers - 1),
            )
        if not 0 <= expert < experts:
            raise BadRequest(
                _("There is no expert {expert}.").format(expert=expert),
                _("This model has experts 0 to {last}.").format(last=experts - 1),
            )
        gone.setdefault(layer, []).append(expert)
    needed = config.get("num_experts_per_tok", 2)
    for layer, numbers in gone.items():
        if experts - len(numbers) < needed:
            raise BadRequest(
                _("Without {gone} of {experts} experts, layer {layer} has too few left.").format(
                    gone=len(numbers), experts=experts, layer=layer
                ),
                _("Each token needs {needed}: leave at least {needed} in every layer.").format(needed=needed),
            )
    return gone


class Watch:
    """A context for the steps of one request; enter it for each step. Runs in the thread that owns MLX.

    config: config.json of the phimoe. without: see `checked`. record: whether to keep what the routers decide.

    Example:
        watch = Watch(engine.config)
        with watch:
            engine.logits(ids)
        watch.routing().experts.shape      # (len(ids), layers, 2)
    """

    def __init__(self, config: Config, without: Iterable[tuple[int, int]] = (), record: bool = True) -> None:
        import mlx.core as mx

        self.record = record
        self._layers = config["num_hidden_layers"]
        self._masks = {
            layer: mx.array([expert in gone for expert in range(config["num_local_experts"])])
            for layer, gone in checked(config, without).items()
        }
        self._passed = 0  # calls so far: every pass through the model makes one a layer
        self._calls: list[tuple[mx.array, mx.array, mx.array]] = []  # experts, weights and gates of a pass
        self._settled = 0

    def __enter__(self) -> Watch:
        from mlx_lm.models import phimoe

        self._original, self._thread = phimoe.sparsemixer, threading.get_ident()
        phimoe.sparsemixer = self._choose
        return self

    def __exit__(self, *error: object) -> None:
        from mlx_lm.models import phimoe

        phimoe.sparsemixer = self._original
        if error[0] is None:
            self.settle()

    def _choose(self, gates: mx.array, **options: Any) -> tuple[mx.array, mx.array]:
        if threading.get_ident() != self._thread:
            return cast("tuple[mx.array, mx.array]", self._original(gates, **options))
        import mlx.core as mx

        mask = self._masks.get(self._passed % self._layers)
        self._passed += 1
        seen = gates if mask is None else mx.where(mask, -float("inf"), gates)
        chosen, weights = self._original(seen, **options)
        if self.record:
            self._calls.append((chosen, weights, gates))
        return chosen, weights

    def settle(self) -> None:
        """Have what was recorded so far computed. An array that waits keeps everything it is made of in memory."""
        import mlx.core as mx

        mx.async_eval(self._calls[self._settled :])
        self._settled = len(self._calls)

    def routing(
        self, tokens: int | None = None, pieces: tuple[str, ...] = (), prompt_tokens: int = 0
    ) -> Routing | None:
        """The record of all tokens, or of the first `tokens`; None if there is none. See `Routing`."""
        if not self._calls:
            return None
        import mlx.core as mx
        import numpy as np

        found = []
        for kind in range(3):
            layers = [
                mx.concatenate([call[kind][0] for call in self._calls[layer :: self._layers]])
                for layer in range(self._layers)
            ]
            found.append(np.array(mx.stack(layers, axis=1).astype(mx.int32 if kind == 0 else mx.float32)))
        experts, weights, gates = found
        whole = Routing(experts, weights, gates, pieces, prompt_tokens)
        return whole if tokens is None else whole.first(tokens)


def while_watching(watch: Watch | None, steps: Generator[T, None, None]) -> Generator[T, None, None]:
    """The items of `steps`, each computed under the watch; nothing is watched while the caller has the item.

    Example:
        for token, logprobs in while_watching(watch, generate_step(...)): ...
    """
    if watch is None:
        yield from steps
        return
    try:
        while True:
            with watch:
                item = next(steps, None)
            if item is None:
                return
            yield item
    finally:
        steps.close()
