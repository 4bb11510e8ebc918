"""The weights of a checkpoint as NumPy arrays of 32 bits. What MLX has packed into 4 or 8 bits is unpacked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper import store
from labs_helper.common.translate import _
from labs_helper.common.types import Config, Table
from labs_helper.common.units import size
from labs_helper.errors import CheckpointRefused, NotEnoughMemory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]  # in practice of 32 bits
    Weights = dict[str, Array]

MOST_WEIGHTS = 100_000_000  # 400 MB with 32 bits each; NumPy needs some 20 ms for each token then
PACKED = (4, 8)  # bits that divide a word of 32 in a way that is easy to read


def read_weights(path: Path, config: Config) -> Weights:
    """All arrays of a checkpoint by name, unpacked.

    Args:
        path: a folder that `labs_helper.store.verify` has checked.
        config: its config.json.

    Raises:
        CheckpointRefused: the weights are packed in a way that the reference does not read.
        NotEnoughMemory: the checkpoint is too large for NumPy; the message says what it would cost.

    Example:
        read_weights(folder, config)["model.embed_tokens.weight"].shape      # (2560, 256)
    """
    from safetensors import safe_open

    table = store.weight_table(path)
    refuse_large(path, count_weights(config, table))
    arrays: dict[str, Any] = {}
    for file in sorted(path.glob("model*.safetensors")):
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 (the reader cannot be iterated)
                if opened.get_slice(name).get_dtype() == "BF16":
                    raise CheckpointRefused(
                        _("{name} has numbers of the type bfloat16, which NumPy does not know.").format(name=name),
                        _("Use a copy in float32 or float16, or one that MLX has rounded to 4 or 8 bits."),
                    )
                arrays[name] = opened.get_tensor(name)
    whole = {}
    for name, array in arrays.items():
        layer, _dot, part = name.rpartition(".")
        if f"{layer}.scales" not in arrays:
            whole[name] = array.astype(np.float32)
        elif part == "weight":
            bits, _group = packing(config, layer)
            whole[name] = unpack(array, arrays[f"{layer}.scales"], arrays[f"{layer}.biases"], bits)
        elif part not in ("scales", "biases"):  # the bias of a linear layer is never packed
            whole[name] = array.astype(np.float32)
    return join_experts(whole)


def join_experts(arrays: Weights) -> Weights:
    """Checkpoints as published keep each expert apart (experts.3.w1); MLX's keep all of a layer in one array (E, ...).

    Example:
        join_experts(arrays)["model.layers.0.block_sparse_moe.switch_mlp.up_proj.weight"].shape      # (16, 128, 256)
    """
    joined = dict(arrays)
    for first in [name for name in arrays if ".experts.0.w" in name]:
        block, own = first.split(".experts.0.")
        part = {"w1": "gate", "w2": "down", "w3": "up"}[own.removesuffix(".weight")]
        count = sum(name.startswith(f"{block}.experts.") and name.endswith(own) for name in arrays)
        each = [joined.pop(f"{block}.experts.{number}.{own}") for number in range(count)]
        joined[f"{block}.switch_mlp.{part}_proj.weight"] = np.stack(each)
    return joined


def packing(config: Config, layer: str) -> tuple[int, int]:
    """Bits and group of a packed layer.

    Raises:
        CheckpointRefused: the reference does not unpack these.

    Example:
        packing(config, "lm_head")      # (8, 32) for moe-tiny
    """
    how = config.get("quantization") or config.get("quantization_config") or {}
    own = how.get(layer) if isinstance(how.get(layer), dict) else {}
    bits, group = (int({**how, **(own or {})}[key]) for key in ("bits", "group_size"))
    mode = (own or {}).get("mode") or how.get("mode") or "affine"
    if mode != "affine" or bits not in PACKED:
        raise CheckpointRefused(
            _("{layer} is rounded to {bits} bits in the format {mode}.").format(layer=layer, bits=bits, mode=mode),
            _("The reference reads weights of 4 or 8 bits in MLX's affine format, and those that are not rounded."),
        )
    return bits, group


def unpack(words: NDArray[np.uint32], scales: Array, biases: Array, bits: int) -> Array:
    """Weights from MLX's affine format: `code * scale + bias`, with one scale and one bias for each group.

    Args:
        words: (..., rows, width * bits / 32); each word of 32 bits holds 32 / bits codes, the first in its lowest bits.
        scales, biases: (..., rows, width / group).
        bits: of a code, 4 or 8.

    Returns:
        (..., rows, width).

    Example:
        unpack(np.array([[0x21]], np.uint32), np.ones((1, 1)), np.zeros((1, 1)), 4)[0, :2]      # 1, 2
    """
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    codes = (words[..., None] >> shifts) & np.uint32(2**bits - 1)
    codes = codes.reshape(*scales.shape, -1).astype(np.float32)
    whole = codes * scales[..., None].astype(np.float32) + biases[..., None].astype(np.float32)
    return np.asarray(whole.reshape(*whole.shape[:-2], -1), np.float32)


def count_weights(config: Config, table: Table) -> int:
    """How many weights a checkpoint has once they are unpacked, from the table of contents alone.

    Example:
        count_weights(config, store.weight_table(folder))
    """
    total = 0
    for name, entry in table.items():
        layer, _dot, part = name.rpartition(".")
        if f"{layer}.scales" in table and part in ("scales", "biases"):
            continue
        packed = part == "weight" and f"{layer}.scales" in table
        total += math.prod(entry["shape"]) * (32 // packing(config, layer)[0] if packed else 1)
    return total


def refuse_large(path: Path, count: int) -> None:
    """Refuse a checkpoint that NumPy could hold or compute only with pain.

    Raises:
        NotEnoughMemory: with what it would cost.

    Example:
        refuse_large(folder, 3_900_000)
    """
    if count <= MOST_WEIGHTS:
        return
    raise NotEnoughMemory(
        _(
            "{name} has {count:,} weights. In NumPy they would take {memory} of memory, and each token "
            "{count:,} multiplications."
        ).format(name=path.name, count=count, memory=size(4 * count)),
        _('The reference is for models of up to {most:,} weights, such as load("instruct", tier="tiny").').format(
            most=MOST_WEIGHTS
        ),
    )
