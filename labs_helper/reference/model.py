"""A Phi in NumPy: tokens in, scores for the next token out, and everything in between on request.

`Reference.run` is the model, `_layer` one of its layers. The formulas are in `parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.errors import BadRequest, NotEnoughMemory
from labs_helper.reference import parts
from labs_helper.reference.changes import NOTHING, Change
from labs_helper.reference.shape import Shape

if TYPE_CHECKING:
    from labs_helper.common.types import Config
    from labs_helper.reference.weights import Array, Weights

MOST_RECORD = 1_000_000_000  # bytes of attention that one run may keep


@dataclass
class Cache:
    """Keys and values of all tokens so far, (H, S, D) by layer: a later run need not compute them again.

    Attributes:
        length: how many tokens it holds, which is the position of the next one.
    """

    keys: dict[int, Array] = field(default_factory=dict)
    values: dict[int, Array] = field(default_factory=dict)
    length: int = 0

    def add(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """Append the keys and values of new tokens, and return those of all tokens."""
        if layer in self.keys:
            k, v = np.concatenate([self.keys[layer], k], axis=1), np.concatenate([self.values[layer], v], axis=1)
        self.keys[layer], self.values[layer] = k, v
        return k, v


@dataclass
class Run:
    """What came out of one pass, for T new tokens.

    Attributes:
        ids: the tokens.
        logits: (T, vocabulary) a score for each token that could come next.
        residual: (layers + 1, T, W) what stands for each token: entry 0 is the embedding, entry n + 1 what layer n
            passes on. Only with `record`, like all below.
        attention: (layers, H, T, S) how much each token looked at each.
        router_inputs: (layers, T, W) what the routers of a phimoe read; None for other models.
        gates: (layers, T, E) what they made of it.
        experts, weights: (layers, T, chosen) whom they chose, and with what weight.
    """

    ids: tuple[int, ...]
    logits: Array
    residual: Any = None
    attention: Any = None
    router_inputs: Any = None
    gates: Any = None
    experts: Any = None
    weights: Any = None


class Reference:
    """A model in NumPy. Get one from `labs_helper.reference.read`.

    Attributes:
        shape: its sizes.
        weights: its arrays by name, 32 bits each.
        path, config: where it was read, and its config.json.

    Example:
        read(load("instruct", tier="tiny")).run([1, 2, 3]).logits.shape      # (3, 2560)
    """

    def __init__(self, shape: Shape, weights: Weights, path: Path, config: Config) -> None:
        self.shape, self.weights, self.path, self.config = shape, weights, path, config

    def run(
        self,
        ids: Sequence[int],
        *,
        cache: Cache | None = None,
        total: int | None = None,
        record: bool = False,
        change: Change = NOTHING,
        rows: Array | None = None,
    ) -> Run:
        """One pass through the model.

        Args:
            ids: the tokens, or the new ones if a cache holds those before them.
            cache: what earlier runs computed; the new keys and values are added to it.
            total: length of prompt and answer together, which chooses LongRoPE's table; the tokens so far by default.
            record: keep attention and what passes between the layers.
            change: what to switch off or put in.
            rows: (T, W) in place of the tokens' embeddings, for prompts with pictures; see `vision.embed`.

        Raises:
            BadRequest: no tokens, tokens that the model does not have, too many, or a change that cannot be made.
            NotEnoughMemory: the record would be too large.

        Example:
            reference.run(ids, record=True, change=Change(heads=[(2, 4)])).logits
        """
        first = cache.length if cache else 0
        self._check(ids, first, record, rows)
        if change is not NOTHING:
            change = change.checked(self.shape)
        if record and change.layers:
            raise BadRequest(_("A layer that is off has no attention to record."), _("Run without record."))
        cos, sin = parts.turns(self.shape.positions, first, len(ids), total or first + len(ids))
        kept: dict[str, list[Any]] = {}

        x = self.weights["model.embed_tokens.weight"][list(ids)] if rows is None else rows
        x = change.replace(0, first, x)
        _keep(kept, record, residual=x)
        for layer in range(self.shape.layers):
            if layer not in change.layers:
                x = self._layer(layer, x, cos, sin, cache, change, kept, record)
            x = change.replace(layer + 1, first, x)
            _keep(kept, record, residual=x)
        if cache is not None:
            cache.length += len(ids)
        return Run(tuple(ids), self.scores(x), **{name: np.stack(values) for name, values in kept.items()})

    def scores(self, x: Array) -> Array:
        """Scores for the next token from what stands for a token, (..., W): the last norm and the head.

        After the last layer this is what the model says. After an earlier one it is the logit lens.
        """
        scores = self._norm("model.norm", x) @ self.weights["lm_head.weight"].T
        return scores + self.weights["lm_head.bias"] if "lm_head.bias" in self.weights else scores

    def _layer(
        self,
        layer: int,
        x: Array,
        cos: Array,
        sin: Array,
        cache: Cache | None,
        change: Change,
        kept: dict[str, list[Any]],
        record: bool,
    ) -> Array:
        """One layer: look at other tokens, then think about each by itself. Both add to x, (T, W)."""
        name = f"model.layers.{layer}"
        q, k, v = self._queries_keys_values(name, self._norm(f"{name}.input_layernorm", x))
        q, k = parts.rotate(q, cos, sin), parts.rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.add(layer, k, v)
        mixed, looked = parts.attend(q, self._for_each_head(k), self._for_each_head(v))
        _keep(kept, record, attention=looked)
        mixed = change.mute(layer, mixed)
        x = x + self._linear(f"{name}.self_attn.o_proj", mixed.transpose(1, 0, 2).reshape(len(x), -1))

        y = self._norm(f"{name}.post_attention_layernorm", x)
        if self.shape.experts:
            return x + self._experts(layer, y, change, kept, record)
        mlp = f"{name}.mlp"
        return x + parts.swiglu(y, self.weights[f"{mlp}.gate_up_proj.weight"], self.weights[f"{mlp}.down_proj.weight"])

    def _queries_keys_values(self, name: str, x: Array) -> tuple[Array, Array, Array]:
        """Queries (H, T, D), keys and values (KV heads, T, D). phi3 keeps the three matrices in one."""
        heads, kv_heads, head = self.shape.heads, self.shape.kv_heads, self.shape.head
        if self.shape.kind == "phimoe":
            q, k, v = (self._linear(f"{name}.self_attn.{part}_proj", x) for part in "qkv")
        else:
            whole = self._linear(f"{name}.self_attn.qkv_proj", x)
            q, k, v = np.split(whole, [heads * head, (heads + kv_heads) * head], axis=-1)
        return parts.split_heads(q, heads), parts.split_heads(k, kv_heads), parts.split_heads(v, kv_heads)

    def _for_each_head(self, x: Array) -> Array:
        """Keys or values (KV heads, S, D) as (H, S, D): neighbouring heads may share them, as in Phi-3.5-MoE."""
        shared = self.shape.heads // self.shape.kv_heads
        return x if shared == 1 else x.repeat(shared, axis=0)

    def _experts(self, layer: int, x: Array, change: Change, kept: dict[str, list[Any]], record: bool) -> Array:
        """The MLP of a phimoe: each token goes through the few experts that the router chose. (T, W) in and out."""
        name = f"model.layers.{layer}.block_sparse_moe"
        gates = x @ self.weights[f"{name}.gate.weight"].T
        chosen, weights = parts.sparsemixer(change.close(layer, gates), self.shape.chosen, self.shape.jitter)
        _keep(kept, record, router_inputs=x, gates=gates, experts=chosen, weights=weights)
        gate, up, down = (self.weights[f"{name}.switch_mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
        y = np.zeros_like(x)
        for expert in np.unique(chosen):
            tokens, rank = np.nonzero(chosen == expert)
            both = np.concatenate([gate[expert], up[expert]])
            y[tokens] += weights[tokens, rank][:, None] * parts.swiglu(x[tokens], both, down[expert])
        return y

    def _norm(self, name: str, x: Array) -> Array:
        weight, eps = self.weights[f"{name}.weight"], self.shape.eps
        if self.shape.kind == "phimoe":
            return parts.layer_norm(x, weight, self.weights[f"{name}.bias"], eps)
        return parts.rms_norm(x, weight, eps)

    def _linear(self, name: str, x: Array) -> Array:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def _check(self, ids: Sequence[int], first: int, record: bool, rows: Array | None) -> None:
        if not len(ids):
            raise BadRequest(_("There are no tokens to run."), _("Give at least one."))
        if rows is None and not all(0 <= token < self.shape.vocabulary for token in ids):
            raise BadRequest(
                _("The model has tokens 0 to {last} only.").format(last=self.shape.vocabulary - 1),
                _("Take the ids from model.prompt(...).ids; for prompts with pictures use reference.embed."),
            )
        length = first + len(ids)
        if length > self.shape.context:
            raise BadRequest(
                _("{length:,} tokens exceed the model's context of {context:,}.").format(
                    length=length, context=self.shape.context
                ),
                _("Use fewer tokens."),
            )
        if record:
            self.refuse_record(len(ids), length)

    def refuse_record(self, new: int, length: int) -> None:
        """Refuse to keep what `new` tokens looked at in a text of `length`, if that is too much.

        Raises:
            NotEnoughMemory: with what it would cost.
        """
        cost = 4 * self.shape.layers * self.shape.heads * new * length
        if cost > MOST_RECORD:
            raise NotEnoughMemory(
                _("The attention of {length:,} tokens would take {memory}.").format(length=length, memory=size(cost)),
                _("Record a shorter prompt or a shorter answer."),
            )


def _keep(kept: dict[str, list[Any]], record: bool, **values: Any) -> None:
    """Add the values of a layer to what is kept by name."""
    if record:
        for name, value in values.items():
            kept.setdefault(name, []).append(value)
