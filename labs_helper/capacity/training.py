"""How much memory it takes to train an adapter: weights, adapter, optimizer, activations. Computed from the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labs_helper import store
from labs_helper.capacity import estimate, limits
from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.common.types import Config, Table
from labs_helper.common.units import size
from labs_helper.errors import NotEnoughMemory

KEYS = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
# Arrays that stay alive for the way back, in multiples of the hidden and the feed-forward width in each layer, and of
# the vocabulary once. Fitted to mlx 0.32.4's measured peaks for `instruct-tiny`, 264 to 1,056 tokens a batch.
_HIDDEN, _WIDE, _VOCABULARY = 16, 6, 4
_SCORES = 1  # tables of attention scores that each layer keeps


@dataclass(frozen=True)
class Training:
    """What decides the memory of a training.

    Attributes:
        rank: of the adapter.
        layers: how many blocks have one, from the last.
        batch, tokens: examples in a step, and the length of the longest.
        checkpoint: keep only what goes into each layer, and compute the rest again on the way back.
        keys: the layers of a block that have an adapter.
        kind: "lora"; "dora", which also learns a number for each row of a matrix; "full", which learns whole matrices.

    Example:
        Training(rank=8, layers=32, batch=1, tokens=512)
    """

    rank: int
    layers: int
    batch: int
    tokens: int
    checkpoint: bool = False
    keys: Sequence[str] = KEYS
    kind: str = "lora"


@dataclass(frozen=True)
class TrainingNeed:
    """Bytes that a training needs.

    Attributes:
        weights: of the model; they do not change.
        adapter: what learns, in fp32: the two matrices of each layer, or whole ones.
        optimizer: a gradient and Adam's two means for each of these numbers.
        activations: what the way back needs of the way there.
    """

    weights: int
    adapter: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """What must be free before the model is loaded."""
        return self.weights + self.adapter + self.optimizer + self.activations + estimate.SPARE

    def __str__(self) -> str:
        return _(
            "{total}: {weights} weights, {adapter} adapter, {optimizer} optimizer, {activations} activations"
        ).format(
            total=size(self.total),
            weights=size(self.weights),
            adapter=size(self.adapter),
            optimizer=size(self.optimizer),
            activations=size(self.activations),
        )


def adapter_parameters(config: Config, rank: int, layers: int, keys: Sequence[str] = KEYS, kind: str = "lora") -> int:
    """Numbers that learn: rank x (in + out) for each layer with an adapter, in x out for a whole matrix.

    Example:
        adapter_parameters(config, rank=8, layers=4)      # 114688 for instruct-tiny
    """
    hidden, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    heads = int(config["num_attention_heads"])
    head = hidden // heads
    key_values = int(config.get("num_key_value_heads") or heads) * head
    widths = {
        "self_attn.qkv_proj": (hidden, hidden + 2 * key_values),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, key_values),
        "self_attn.v_proj": (hidden, key_values),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_up_proj": (hidden, 2 * wide),
        "mlp.down_proj": (wide, hidden),
    }
    pairs = [widths[key] for key in keys if key in widths]
    if kind == "full":
        return layers * sum(inner * outer for inner, outer in pairs)
    lengths = sum(outer for _inner, outer in pairs) if kind == "dora" else 0
    return layers * (rank * sum(inner + outer for inner, outer in pairs) + lengths)


def training_need(config: Config, table: Table, training: Training, *, on_cpu: bool) -> TrainingNeed:
    """What a training needs.

    Args:
        config: config.json.
        table: the tensors, from `store.weight_table` or `estimate.table_of`.
        training: how it is trained.
        on_cpu: MLX computes in 32 bits on a CPU, and expands small quantized models (corrections.dequantize).

    Example:
        training_need(config, estimate.table_of(config), Training(8, 32, 1, 512), on_cpu=False).total
    """
    weights, _expanded = estimate.weight_bytes(config, table, on_cpu)
    width = 4 if on_cpu else 2
    numbers = adapter_parameters(config, training.rank, training.layers, training.keys, training.kind)
    hidden, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    places = training.batch * training.tokens
    scores = _SCORES * int(config["num_attention_heads"]) * training.tokens * places
    layer = places * (_HIDDEN * hidden + _WIDE * wide) + scores
    inside = training.layers * places * hidden + layer if training.checkpoint else training.layers * layer
    ends = places * _VOCABULARY * int(config["vocab_size"])
    return TrainingNeed(weights, 4 * numbers, 12 * numbers, width * (inside + ends))


def require_training(path: str | Path, training: Training) -> TrainingNeed:
    """Refuse a training that does not fit, before anything is read.

    Raises:
        NotEnoughMemory: it does not fit. The message names what would.

    Example:
        require_training(model.path, Training(8, 4, 8, 64))
    """
    on_cpu, room = not platforms.has_mlx_gpu(), limits.free()
    config, table = store.read_json(Path(path) / "config.json"), store.weight_table(path)
    need = training_need(config, table, training, on_cpu=on_cpu)
    if need.total <= room:
        return need
    raise NotEnoughMemory(
        _("This training needs {need}. {free} are free.").format(need=need, free=size(room)),
        _fitting(config, table, training, on_cpu, room),
    )


def _fitting(config: Config, table: Table, training: Training, on_cpu: bool, room: int) -> str:
    """The first change that would make it fit, from the one that costs least."""
    changed = {
        _("It fits with checkpoint=True, which computes more and keeps less."): (training.batch, True),
        _("It fits with batch=1 and checkpoint=True."): (1, True),
    }
    for advice, (batch, checkpoint) in changed.items():
        smaller = replace(training, batch=batch, checkpoint=checkpoint)
        if training_need(config, table, smaller, on_cpu=on_cpu).total <= room:
            return advice
    return _("Shorten the examples, teach fewer layers, or close other programs.")
