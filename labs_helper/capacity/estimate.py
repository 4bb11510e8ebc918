"""How much memory a model needs for a request: weights, KV cache, and room to work. Computed, never looked up.

Everything comes from config.json and the headers of the weight files; nothing is loaded, and MLX is not imported.
For a model that is not here yet the catalog knows the shapes, so the question can be asked before a download.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labs_helper import store
from labs_helper.catalog import ModelCard
from labs_helper.common.translate import _
from labs_helper.common.types import Config, Table
from labs_helper.corrections import dequantize
from labs_helper.store import gguf, onnx_folder

USUAL_TOKENS = 4096  # prompt and answer of an ordinary conversation
SPARE = 200 * 2**20  # bytes that stay free for Python, the tokenizer and everything else
CACHE_STEP = 256  # tokens; mlx-lm makes room in the cache in steps of this size
# Tokens that go through the model at once while it reads a prompt. Stop is heard between two chunks, and on a CPU a
# chunk takes a while; 2,048 is mlx-lm's own.
CHUNK_CPU, CHUNK_GPU = 512, 2048
# Head sizes for which MLX's GPU attention never stores the table of scores (mlx/backend/metal,
# scaled_dot_product_attention.cpp, for more than one query). Phi-3.5-mini's 96 is not among them.
_FUSED_HEADS = (64, 80, 128)
# Arrays of one chunk that are alive at once inside a layer, in multiples of the hidden and the feed-forward width.
# Fitted to mlx 0.32.4's measured peaks on Linux for two widths and prompts of 100, 1,000 and 3,000 tokens.
_HIDDEN_ARRAYS, _WIDE_ARRAYS = 13, 6
_EXPERT_ARRAYS = 3  # of the feed-forward width for each expert of a token: gate, up and their product
ONNX_CHUNK = 256  # tokens that engines.onnx_genai reads at once
ONNX_TOWER: Config = {"hidden_size": 1024, "intermediate_size": 4096}  # CLIP ViT-L/14, where nothing says otherwise
_EXPANDING = 1.85  # peak while quantized weights are expanded, as a multiple of the result (measured: 1.76, 1.80)


@dataclass(frozen=True)
class Need:
    """Bytes that a request needs.

    Attributes:
        tokens: prompt and answer together; not bytes.
        weights: in memory.
        cache: keys and values of all tokens.
        work: arrays that are alive while the prompt is read.
        loading: the peak while the weights are read, before the request runs.
    """

    tokens: int
    weights: int
    cache: int
    work: int
    loading: int

    @property
    def total(self) -> int:
        """What must be free before the load, in bytes."""
        return max(self.loading, self.weights + self.cache + self.work) + SPARE

    def __str__(self) -> str:
        return _(
            "{total:.2f} GB: {weights:.2f} weights, {cache:.2f} cache for {tokens:,} tokens, {work:.2f} to work with"
        ).format(
            total=self.total / 1e9,
            weights=self.weights / 1e9,
            cache=self.cache / 1e9,
            tokens=self.tokens,
            work=(self.total - self.weights - self.cache) / 1e9,
        )


def need(config: Config, table: Table, tokens: int, *, on_cpu: bool, views: int = 0) -> Need:
    """What a request needs.

    Args:
        config: config.json.
        table: the tensors, from `store.weight_table` or `table_of`.
        tokens: prompt and answer together.
        on_cpu: MLX computes in 32 bits on a CPU; then 16-bit numbers take twice as many bytes as on disk.
        views: of 336 x 336 pixels that go through the tower, one after the other.

    Example:
        need(config, store.weight_table(path), 4096, on_cpu=False).total
    """
    weights, expanded = weight_bytes(config, table, on_cpu)
    single = on_cpu or all(entry["dtype"] not in ("F16", "BF16") for entry in table.values())
    width = 4 if single else 2
    cache = cache_bytes(config, tokens, width)
    # Pictures are looked at before the prompt is read, so the larger of the two counts.
    work = max(_work_bytes(config, tokens, width, on_cpu), _tower_bytes(config, views, width))
    return Need(tokens, weights, cache, work, int(weights * _EXPANDING) if expanded else weights)


def of_folder(path: str | Path, tokens: int = USUAL_TOKENS, *, on_cpu: bool, views: int = 0) -> Need:
    """What a request to the model in a folder needs.

    Reads config.json and the headers of the weights, or the front of a GGUF file.

    Raises:
        CheckpointRefused: they cannot be read.

    Example:
        of_folder(course_folder() / "data/checkpoints/instruct-tiny", 512, on_cpu=True)
    """
    return _of(*_shapes(path), tokens, on_cpu=on_cpu, views=views)


def longest_of_folder(path: str | Path, room: int, *, on_cpu: bool, views: int = 0) -> int:
    """The longest sequence that the model in a folder can hold in `room` bytes, in steps of 256 tokens.

    Returns:
        Tokens; 0 if not even one step fits.

    Example:
        longest_of_folder(course_folder() / "data/checkpoints/instruct-tiny", 10**9, on_cpu=True)
    """
    config, table = _shapes(path)
    return _longest(config, room, lambda tokens: _of(config, table, tokens, on_cpu=on_cpu, views=views))


def _shapes(path: str | Path) -> tuple[Config, Table | int]:
    """A folder's config and its table of tensors; for a GGUF file its size instead."""
    file = store.gguf_file(path)
    if file is not None:
        return gguf.read(file).config(), file.stat().st_size
    if onnx_folder.is_one(Path(path)):
        folder = onnx_folder.read(Path(path))
        return folder.config(), OnnxBytes(folder.bytes)
    return store.read_json(Path(path) / "config.json"), store.weight_table(path)


def _of(config: Config, table: Table | int, tokens: int, *, on_cpu: bool, views: int) -> Need:
    if isinstance(table, OnnxBytes):
        return _of_onnx(config, table, tokens, views)
    if isinstance(table, int):
        return _of_gguf(config, table, tokens)
    return need(config, table, tokens, on_cpu=on_cpu, views=views)


def _of_gguf(config: Config, size: int, tokens: int) -> Need:
    """A GGUF file keeps its size in memory; llama.cpp's cache has 16 bits per number."""
    return Need(tokens, size, cache_bytes(config, tokens, 2), _work_bytes(config, tokens, 4, on_cpu=True), size)


class OnnxBytes(int):
    """The size of the graphs and weights of an ONNX folder."""


def _of_onnx(config: Config, size: int, tokens: int, views: int) -> Need:
    """ONNX Runtime packs the weights and gives the old ones back; its cache and its numbers have 32 bits.

    The views of a picture go through the tower together. Sizes that the folder's settings do not give are those of
    Phi-3 (feed-forward) and of CLIP ViT-L/14 at 336 pixels (tower).
    """
    shapes = {"intermediate_size": config["hidden_size"] * 8 // 3, **config}
    tower = config.get("vision_config") or ONNX_TOWER
    work = _work_bytes(shapes, min(tokens, ONNX_CHUNK), 4, on_cpu=True)
    work += ONNX_CHUNK * int(config.get("vocab_size", 0)) * 4  # the graph gives the scores of every place
    looking = _tower_together_bytes(tower, config["hidden_size"], views) if views else 0
    return Need(tokens, size, cache_bytes(config, tokens, 4), max(work, looking), size)


def _tower_together_bytes(tower: Config, hidden: int, views: int) -> int:
    patches: int = (tower.get("image_size", 336) // tower.get("patch_size", 14)) ** 2 + 1
    arrays: int = 6 * tower["hidden_size"] + 4 * tower["intermediate_size"]  # fitted to measured peaks of 2 and 5 views
    rows: int = patches // 4 * (4 * tower["hidden_size"] + 2 * hidden)
    return views * (patches * arrays + rows) * 4


def of_card(card: ModelCard, tokens: int = USUAL_TOKENS, *, on_cpu: bool, views: int = 0) -> Need | None:
    """What a request to a model of the catalog needs, before it is downloaded.

    Returns:
        None if its shapes, or the size of its GGUF file, are not known.

    Example:
        of_card(catalog.find("moe", "real")[0], on_cpu=False).total
    """
    if card.config is None:
        return None
    if card.format == "onnx":
        return None if card.bytes_on_disk is None else _of_onnx(card.config, card.bytes_on_disk, tokens, views)
    if card.format == "gguf":
        return None if card.bytes_on_disk is None else _of_gguf(card.config, card.bytes_on_disk, tokens)
    return need(card.config, table_of(card.config), tokens, on_cpu=on_cpu, views=views)


def _longest(config: Config, room: int, needed: Callable[[int], Need]) -> int:
    low, high = 0, int(config.get("max_position_embeddings", 131072)) // CACHE_STEP
    while low < high:
        middle = (low + high + 1) // 2
        if needed(middle * CACHE_STEP).total <= room:
            low = middle
        else:
            high = middle - 1
    return low * CACHE_STEP


# -- the parts --------------------------------------------------------------------------------------------


def weight_bytes(config: Config, table: Table, on_cpu: bool) -> tuple[int, bool]:
    """Bytes of the weights in memory, and whether quantized ones are expanded (see corrections.dequantize).

    Example:
        weight_bytes(config, store.weight_table(path), on_cpu=True)
    """
    if expands(config, table, on_cpu):
        return _expanded_bytes(config, table), True
    total = 0
    for entry in table.values():
        half = on_cpu and entry["dtype"] in ("F16", "BF16")
        total += math.prod(entry["shape"]) * store.DTYPE_BYTES[entry["dtype"]] * (2 if half else 1)
    return total, False


def expands(config: Config, table: Table, on_cpu: bool) -> bool:
    """Whether the quantized weights of a checkpoint are expanded to fp32 when it is loaded (corrections.dequantize).

    Example:
        expands(config, store.weight_table(path), on_cpu=True)
    """
    packed = any(entry["dtype"] == "U32" for entry in table.values())
    return packed and dequantize.wanted(_expanded_bytes(config, table), on_cpu)


def _expanded_bytes(config: Config, table: Table) -> int:
    return dequantize.expanded_bytes(table, (config.get("quantization") or {}).get("group_size", 64))


def cache_bytes(config: Config, tokens: int, width: int) -> int:
    """Bytes of the KV cache: 2 (keys, values) x layers x KV heads x head size x bytes of a number x tokens.

    Args:
        config: config.json.
        tokens: of the sequence; rounded up to the next step of 256.
        width: bytes of a number.

    Example:
        cache_bytes(config, 4096, width=2)      # 1,610,612,736 for Phi-3.5-mini
    """
    heads, head = _heads(config)
    layers, kv_heads = int(config.get("num_hidden_layers", 0)), int(config.get("num_key_value_heads") or heads)
    return 2 * layers * kv_heads * head * width * -(-tokens // CACHE_STEP) * CACHE_STEP


def _heads(config: Config) -> tuple[int, int]:
    """How many heads of queries there are, and numbers in each."""
    heads = int(config.get("num_attention_heads") or 1)
    return heads, int(config.get("head_dim") or config.get("hidden_size", 0) // heads)


def _work_bytes(config: Config, tokens: int, width: int, on_cpu: bool) -> int:
    heads, head = _heads(config)
    chunk = min(tokens, CHUNK_CPU if on_cpu else CHUNK_GPU)
    wide = _WIDE_ARRAYS
    if config.get("num_local_experts"):
        wide = _EXPERT_ARRAYS * config.get("num_experts_per_tok", 2)
    arrays: int = _HIDDEN_ARRAYS * config.get("hidden_size", 0) + wide * config.get("intermediate_size", 0)
    whole = tokens // chunk * chunk if chunk else 0  # tokens in full chunks; the rest is a shorter one
    scores = max(chunk * whole, (tokens - whole) * tokens) if on_cpu or head not in _FUSED_HEADS else 0
    return (chunk * arrays + heads * scores) * width


def _tower_bytes(config: Config, views: int, width: int) -> int:
    tower = config.get("vision_config") or {}
    if not views or "hidden_size" not in tower:
        return 0
    patches: int = (tower.get("image_size", 336) // tower.get("patch_size", 14)) ** 2 + 1
    arrays: int = _HIDDEN_ARRAYS * tower["hidden_size"] + _WIDE_ARRAYS * tower.get("intermediate_size", 0)
    # The arrays of one view, what all views have become, and their rows in the decoder's width, twice (two layers).
    rows: int = views * patches // 4 * (4 * tower["hidden_size"] + 2 * config.get("hidden_size", 0))
    return (patches * arrays + rows) * width


# -- tensors of a model that is not here ------------------------------------------------------------------


def table_of(config: Config) -> Table:
    """The tensors that an MLX checkpoint with this configuration has, as `store.weight_table` would list them.

    Quantized if config["quantization"] gives bits and group_size: packed weights (U32), scales and biases (F16) for
    every matrix. Names are shortened: only types and shapes matter here.

    Example:
        table_of({**shapes, "quantization": {"bits": 4, "group_size": 64}})
    """
    table: Table = {}
    quantization = config.get("quantization")
    hidden, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    heads, head = _heads(config)
    kv_heads = config.get("num_key_value_heads") or heads
    moe = config["model_type"] == "phimoe"

    def vector(name: str, size: int) -> None:
        table[name] = {"dtype": "F16", "shape": [size]}

    def matrix(name: str, rows: int, columns: int, bias: bool = False) -> None:
        if bias:
            vector(f"{name}.bias", rows)
        if quantization is None or columns % quantization["group_size"]:
            table[f"{name}.weight"] = {"dtype": "F16", "shape": [rows, columns]}
            return
        groups = [rows, columns // quantization["group_size"]]
        table[f"{name}.weight"] = {"dtype": "U32", "shape": [rows, columns * quantization["bits"] // 32]}
        table[f"{name}.scales"] = table[f"{name}.biases"] = {"dtype": "F16", "shape": groups}

    matrix("embed", vocabulary, hidden)
    matrix("head", vocabulary, hidden, bias=moe)
    for layer in range(layers):
        matrix(f"{layer}.qkv", (heads + 2 * kv_heads) * head, hidden, bias=moe)
        matrix(f"{layer}.out", hidden, heads * head, bias=moe)
        experts, wide = config.get("num_local_experts") or 1, config["intermediate_size"]
        if moe:
            matrix(f"{layer}.router", experts, hidden)
        matrix(f"{layer}.up", experts * 2 * wide, hidden)
        matrix(f"{layer}.down", experts * hidden, wide)
        vector(f"{layer}.norms", hidden * (4 if moe else 2))  # LayerNorm has a bias, RMSNorm has none
    vector("norm", hidden * (2 if moe else 1))
    if tower := config.get("vision_config"):
        width, wide = tower["hidden_size"], tower["intermediate_size"]
        matrix("patches", width, 3 * tower["patch_size"] ** 2)
        matrix("places", (tower["image_size"] // tower["patch_size"]) ** 2 + 1, width)
        for layer in range(tower["num_hidden_layers"]):
            matrix(f"tower.{layer}.attention", 4 * width, width, bias=True)
            matrix(f"tower.{layer}.up", wide, width, bias=True)
            matrix(f"tower.{layer}.down", width, wide, bias=True)
            vector(f"tower.{layer}.norms", 4 * width)
        matrix("projection.0", hidden, 4 * width, bias=True)
        matrix("projection.1", hidden, hidden, bias=True)
    return table
