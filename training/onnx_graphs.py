"""The graphs of a model in ONNX: words to rows (embedding), pictures to rows (vision), rows to scores (text).

They are written node by node, with the operators, names and types of the graphs that Microsoft publishes for ONNX
Runtime GenAI, so that its runtime and ours run both. Weights of 4 bits stay as they are: MLX writes a group of 32 as
scale x number + bias, with a bias that is a whole multiple of the scale; MatMulNBits wants scale x (number - zero
point). Only a group whose numbers all have one sign may need a zero point that 4 bits cannot hold, and is rounded anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

OPSET, MICROSOFT = 20, "com.microsoft"
GROUP, LEVELS = 32, 15  # numbers that share a scale; the largest number of 4 bits
ACCURACY = 4  # MatMulNBits rounds what it multiplies with to 8 bits, as in the published model; 0 computes in fp32
PATCH, VIEW, CELLS = 14, 336, 12  # pixels of a patch and of a view; cells along a side of a view
QUICK = 1.702  # of CLIP's activation, x * sigmoid(1.702 x)


@dataclass(frozen=True)
class Packed:
    """A matrix of 4-bit numbers, (rows, columns), as MatMulNBits wants it.

    Attributes:
        numbers: (rows, groups, 16) bytes, two numbers in each, the first one in the low half.
        scales: (rows, groups).
        zeros: zero points, (rows, bytes), packed like the numbers.
        changed: how many groups had to be rounded anew.
    """

    numbers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    changed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.numbers.shape[0], self.numbers.shape[1] * GROUP


Matrix = np.ndarray | Packed


def packed_from_mlx(weight: np.ndarray, scales: np.ndarray, biases: np.ndarray) -> Packed:
    """MLX's 4-bit matrix in groups of 32 for MatMulNBits.

    Args:
        weight: (rows, columns / 8), uint32.
        scales, biases: (rows, groups).
    """
    low_first = np.ascontiguousarray(weight).view(np.uint8)
    numbers = np.stack([low_first & 15, low_first >> 4], axis=-1).reshape(len(weight), -1, GROUP).astype(np.float32)
    scales = scales.astype(np.float32)
    zeros = -biases.astype(np.float32) / scales
    fits = (np.abs(zeros - np.rint(zeros)) < 1e-3) & (np.rint(zeros) >= 0) & (np.rint(zeros) <= LEVELS)
    values = numbers * scales[..., None] + biases[..., None].astype(np.float32)
    return _packed(np.where(fits[..., None], np.nan, values), numbers, scales, np.rint(zeros), int((~fits).sum()))


def rounded(matrix: np.ndarray) -> Packed:
    """A matrix (rows, columns) rounded to 4 bits in groups of 32."""
    groups = matrix.reshape(len(matrix), -1, GROUP).astype(np.float32)
    blank = np.zeros(groups.shape[:2], np.float32)
    return _packed(groups, np.zeros_like(groups), blank, blank, groups.shape[0] * groups.shape[1])


def _packed(values: np.ndarray, numbers: np.ndarray, scales: np.ndarray, zeros: np.ndarray, changed: int) -> Packed:
    """The groups whose values are no NaN are rounded to 16 levels with zero among them; the others are packed."""
    anew = ~np.isnan(values[..., 0])
    if anew.any():
        some = values[anew]
        lowest, highest = np.minimum(some.min(-1), 0), np.maximum(some.max(-1), 0)
        step = np.maximum((highest - lowest) / LEVELS, 1e-8)
        scales, zeros, numbers = scales.copy(), zeros.copy(), numbers.copy()
        scales[anew], zeros[anew] = step, np.rint(-lowest / step)
        numbers[anew] = np.clip(np.rint(some / step[:, None]) + zeros[anew][:, None], 0, LEVELS)
    whole, points = numbers.astype(np.uint8), zeros.astype(np.uint8)
    if points.shape[1] % 2:
        points = np.pad(points, ((0, 0), (0, 1)))
    return Packed(whole[..., ::2] | whole[..., 1::2] << 4, scales, points[:, ::2] | points[:, 1::2] << 4, changed)


@dataclass
class Graph:
    """Nodes and weights of a graph that is being written. Each call of `op` adds a node and returns its output."""

    name: str
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node. Its output, or a tuple of them."""
        made = [f"{kind}_{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, made[0], domain=domain, **attributes))
        return made[0] if outputs == 1 else tuple(made)

    def contrib(self, kind: str, *inputs: str, **attributes: Any) -> Any:
        """Add one of ONNX Runtime's own nodes."""
        return self.op(kind, *inputs, domain=MICROSOFT, **attributes)

    def weight(self, name: str, values: np.ndarray) -> str:
        """Add weights under a name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def numbers(self, *values: int) -> str:
        """A list of whole numbers, as shapes and axes want it."""
        name = "numbers_" + "_".join(map(str, values))
        if name not in self.known:
            self.known[name] = self.weight(name, np.array(values, np.int64))
        return name

    def linear(
        self, x: str, name: str, matrix: Matrix, bias: np.ndarray | None = None, accuracy: int = ACCURACY
    ) -> str:
        """x times a matrix of (outputs, inputs), plus a bias."""
        if isinstance(matrix, Packed):
            rows, columns = matrix.shape
            parts = [
                self.weight(f"{name}.{part}", values)
                for part, values in (
                    ("weight_Q4", matrix.numbers),
                    ("weight_scales", matrix.scales.ravel()),
                    ("weight_zp", matrix.zeros.ravel()),
                )
            ]
            y = self.contrib(
                "MatMulNBits", x, *parts, N=rows, K=columns, bits=4, block_size=GROUP, accuracy_level=accuracy
            )
        else:
            y = self.op("MatMul", x, self.weight(f"{name}.weight", matrix.T.astype(np.float32)))
        return y if bias is None else self.op("Add", y, self.weight(f"{name}.bias", bias.astype(np.float32)))

    def model(self, inputs: dict[str, tuple[int, list[Any]]], outputs: dict[str, tuple[int, list[Any]]]) -> ModelProto:
        """The finished model. inputs, outputs: name -> (type, shape)."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(name, *told) for name, told in inputs.items()],
            [helper.make_tensor_value_info(name, *told) for name, told in outputs.items()],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="phi35-labs")

    def rename(self, old: str, new: str) -> None:
        """Give the output of a node the name of an output of the model."""
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]


# -- words ------------------------------------------------------------------------------------------------


def embedding(table: np.ndarray) -> ModelProto:
    """Ids to rows; a negative id is the place of the next row of a picture."""
    graph = Graph("embedding")
    places = graph.op("Less", "input_ids", graph.numbers(0))
    known = graph.op("Max", "input_ids", graph.numbers(0))
    rows = graph.op("Gather", graph.weight("model.embed_tokens.weight", table.astype(np.float32)), known)
    indices = graph.op("Transpose", graph.op("NonZero", places), perm=[1, 0])
    graph.rename(graph.op("ScatterND", rows, indices, "image_features"), "inputs_embeds")
    hidden = table.shape[1]
    return graph.model(
        {
            "input_ids": (TensorProto.INT64, ["batch_size", "sequence_length"]),
            "image_features": (TensorProto.FLOAT, ["num_image_tokens", hidden]),
        },
        {"inputs_embeds": (TensorProto.FLOAT, ["batch_size", "sequence_length", hidden])},
    )


# -- pictures ---------------------------------------------------------------------------------------------


def vision(config: dict, hidden: int, weight: Callable[[str], np.ndarray], bits: int | None = None) -> ModelProto:
    """One picture's views to its rows: tiles, separator, global view.

    Args:
        config: `vision_config` of config.json.
        hidden: width of the decoder.
        weight: the weights by their names in the checkpoint, without what comes before "img_processor".
        bits: 4 rounds the matrices; None keeps them in fp32.
    """
    graph, width, heads = Graph("vision"), config["hidden_size"], config["num_attention_heads"]
    clip = "img_processor.vision_model."

    def linear(x: str, name: str) -> str:
        matrix = weight(f"{name}.weight")
        return graph.linear(x, name, rounded(matrix) if bits else matrix, weight(f"{name}.bias"))

    def norm(x: str, name: str) -> str:
        parts = [graph.weight(f"{name}.{part}", weight(f"{name}.{part}")) for part in ("weight", "bias")]
        return graph.op("LayerNormalization", x, *parts, axis=-1, epsilon=config.get("layer_norm_eps", 1e-5))

    def kernel(name: str, *shape: int) -> str:
        return graph.weight(name, weight(name).reshape(shape).astype(np.float32))

    patches = kernel(f"{clip}embeddings.patch_embedding.weight", width, 3, PATCH, PATCH)
    pixels = graph.op("Reshape", "pixel_values", graph.numbers(-1, 3, VIEW, VIEW))
    x = graph.op("Conv", pixels, patches, strides=[PATCH, PATCH], kernel_shape=[PATCH, PATCH])
    x = graph.op("Transpose", graph.op("Reshape", x, graph.numbers(0, width, -1)), perm=[0, 2, 1])
    count = graph.op("Slice", graph.op("Shape", x), graph.numbers(0), graph.numbers(1))
    token = kernel(f"{clip}embeddings.class_embedding", 1, 1, width)
    token = graph.op("Expand", token, graph.op("Concat", count, graph.numbers(1, width), axis=0))
    places = graph.weight(f"{clip}places", weight(f"{clip}embeddings.position_embedding.weight").astype(np.float32))
    x = graph.op("Add", graph.op("Concat", token, x, axis=1), places)
    x = norm(x, f"{clip}pre_layrnorm")
    for layer in range(config["num_hidden_layers"] - 1):  # the last one is in the format and never asked
        name = f"{clip}encoder.layers.{layer}."
        y = norm(x, f"{name}layer_norm1")
        q, k, v = (linear(y, f"{name}self_attn.{part}_proj") for part in "qkv")
        seen = graph.contrib("MultiHeadAttention", q, k, v, num_heads=heads)
        x = graph.op("Add", x, linear(seen, f"{name}self_attn.out_proj"))
        y = linear(norm(x, f"{name}layer_norm2"), f"{name}mlp.fc1")
        x = graph.op("Add", x, linear(graph.contrib("QuickGelu", y, alpha=QUICK), f"{name}mlp.fc2"))
    x = graph.op("Slice", x, graph.numbers(1), graph.numbers(2**31 - 1), graph.numbers(1))
    rows = _arranged(graph, x, width, kernel)
    rows = linear(graph.op("Gelu", linear(rows, "img_projection.0")), "img_projection.2")
    graph.rename(rows, "image_features")
    return graph.model(
        {
            "pixel_values": (TensorProto.FLOAT, ["num_images", "max_num_crops", 3, "height", "width"]),
            "image_sizes": (TensorProto.INT64, ["num_images", 2]),
        },
        {"image_features": (TensorProto.FLOAT, ["num_image_tokens", hidden])},
    )


def _arranged(graph: Graph, x: str, width: int, kernel: Callable[..., str]) -> str:
    """Patches (views, 576, width) of one picture as lines of cells, (tokens, 4 x width)."""
    cell, side = 4 * width, CELLS
    x = graph.op("Reshape", x, graph.numbers(-1, side, 2, side, 2, width))
    x = graph.op("Reshape", graph.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5]), graph.numbers(-1, side, side, cell))
    tiles = graph.op("Div", graph.op("Reshape", "image_sizes", graph.numbers(-1)), graph.numbers(VIEW))
    down = graph.op("Slice", tiles, graph.numbers(0), graph.numbers(1))
    across = graph.op("Slice", tiles, graph.numbers(1), graph.numbers(2))
    whole = graph.op("Slice", x, graph.numbers(0), graph.numbers(1), graph.numbers(0))
    # Views beyond those of the picture are padding of the batch.
    last = graph.op("Add", graph.op("Mul", down, across), graph.numbers(1))
    parts = graph.op("Slice", x, graph.numbers(1), last, graph.numbers(0))
    shape = graph.op("Concat", down, across, graph.numbers(side, side, cell), axis=0)
    # Tiles side by side: without this exchange of axes the cells of one tile fill whole lines of the picture.
    parts = graph.op("Transpose", graph.op("Reshape", parts, shape), perm=[0, 2, 1, 3, 4])
    end = kernel("sub_GN", 1, 1, cell)

    def lines(grid: str, high: str, wide: str) -> str:
        grid = graph.op("Reshape", grid, graph.op("Concat", high, wide, graph.numbers(cell), axis=0))
        ends = graph.op("Expand", end, graph.op("Concat", high, graph.numbers(1, cell), axis=0))
        return graph.op("Reshape", graph.op("Concat", grid, ends, axis=1), graph.numbers(-1, cell))

    twelve = graph.numbers(side)
    detailed = lines(parts, graph.op("Mul", down, twelve), graph.op("Mul", across, twelve))
    return graph.op("Concat", detailed, kernel("glb_GN", 1, cell), lines(whole, twelve, twelve), axis=0)


# -- text -------------------------------------------------------------------------------------------------


def text(
    config: dict, weight: Callable[[str], np.ndarray], matrix: Callable[[str], Matrix], from_ids: bool = False
) -> ModelProto:
    """The decoder of phi3 or phi3_v: rows (or ids) and what came before to scores.

    Args:
        config: config.json.
        weight: weights by their names in the checkpoint.
        matrix: the same for a matrix that is multiplied with, packed or not.
        from_ids: whether it begins with ids and finds their rows itself, as a text model does.
    """
    graph = Graph("text")
    hidden, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    kv_heads, head = config.get("num_key_value_heads") or heads, hidden // heads
    epsilon = config["rms_norm_eps"]
    length, total = _lengths(graph)
    cosine, sine = _rotation(graph, config, head)
    if from_ids:
        table = weight("model.embed_tokens.weight").astype(np.float32)
        x = graph.op("Gather", graph.weight("model.embed_tokens.weight", table), "input_ids")
    else:
        x = "inputs_embeds"
    inputs: dict[str, tuple[int, list[Any]]] = {
        "input_ids" if from_ids else "inputs_embeds": (
            TensorProto.INT64 if from_ids else TensorProto.FLOAT,
            ["batch_size", "sequence_length", *([] if from_ids else [hidden])],
        ),
        "attention_mask": (TensorProto.INT64, ["batch_size", "total_sequence_length"]),
    }
    outputs: dict[str, tuple[int, list[Any]]] = {
        "logits": (TensorProto.FLOAT, ["batch_size", "sequence_length", config["vocab_size"]])
    }

    def norm(x: str, name: str) -> str:
        own = graph.weight(f"{name}.weight", weight(f"{name}.weight").astype(np.float32))
        return graph.op("SimplifiedLayerNormalization", x, own, axis=-1, epsilon=epsilon, stash_type=1)

    for layer in range(layers):
        name = f"model.layers.{layer}."
        past, present = [
            [f"{when}.{layer}.{part}" for part in ("key", "value")] for when in ("past_key_values", "present")
        ]
        qkv = graph.linear(norm(x, f"{name}input_layernorm"), f"{name}qkv", matrix(f"{name}self_attn.qkv_proj"))
        seen, *kept = graph.contrib(
            "GroupQueryAttention", qkv, "", "", *past, length, total, cosine, sine,
            outputs=3, num_heads=heads, kv_num_heads=kv_heads, scale=head**-0.5, do_rotary=1, rotary_interleaved=0,
        )  # fmt: skip
        for old, new in zip(kept, present, strict=True):
            graph.rename(old, new)
        x = graph.op("Add", x, graph.linear(seen, f"{name}o", matrix(f"{name}self_attn.o_proj")))
        y = norm(x, f"{name}post_attention_layernorm")
        gate, up = graph.op(
            "Split", graph.linear(y, f"{name}gate_up", matrix(f"{name}mlp.gate_up_proj")),
            outputs=2, axis=-1, num_outputs=2,
        )  # fmt: skip
        y = graph.op("Mul", graph.contrib("QuickGelu", gate, alpha=1.0), up)  # with 1.0 it is SiLU
        x = graph.op("Add", x, graph.linear(y, f"{name}down", matrix(f"{name}mlp.down_proj")))
        for names, shape, told in ((past, "past_sequence_length", inputs), (present, "total_sequence_length", outputs)):
            told.update((one, (TensorProto.FLOAT, ["batch_size", kv_heads, shape, head])) for one in names)
    graph.rename(graph.linear(norm(x, "model.norm"), "lm_head", matrix("lm_head")), "logits")
    return graph.model(inputs, outputs)


def _lengths(graph: Graph) -> tuple[str, str]:
    """How many places are filled, minus one; and the width of the mask."""
    filled = graph.op("ReduceSum", "attention_mask", graph.numbers(1), keepdims=0)
    length = graph.op("Cast", graph.op("Sub", filled, graph.numbers(1)), to=TensorProto.INT32)
    one = graph.weight("one", np.array(1, np.int64))
    wide = graph.op("Gather", graph.op("Shape", "attention_mask"), one, axis=0)
    graph.known["width"] = wide
    return length, graph.op("Cast", wide, to=TensorProto.INT32)


def _rotation(graph: Graph, config: dict, head: int) -> tuple[str, str]:
    """Cosines and sines of LongRoPE: the long table where the mask is wider than the original length."""
    most = config["max_position_embeddings"]
    scaling = config.get("rope_scaling") or {}
    base = float(config.get("rope_theta") or 10000.0)
    plain = base ** (np.arange(0, head, 2) / head)
    original = config.get("original_max_position_embeddings") or most

    def tables(factors: list[float] | None, length: int, scale: float) -> list[np.ndarray]:
        angles = np.arange(length)[:, None] / (plain * np.array(factors or 1.0))
        return [(scale * wave(angles)).astype(np.float32) for wave in (np.cos, np.sin)]

    if "short_factor" not in scaling:
        made = tables(None, most, 1.0)
        return tuple(graph.weight(f"{name}_cache", each) for name, each in zip(("cos", "sin"), made, strict=True))
    scale = math.sqrt(1 + math.log(most / original) / math.log(original)) if most > original else 1.0
    branches = {}
    for branch, size, kind, length in (("then", "large", "long", most), ("else", "small", "short", original)):
        nodes, told = [], []
        for name, values in zip(("cos", "sin"), tables(scaling[f"{kind}_factor"], length, scale), strict=True):
            full = f"{name}_cache_{size}"
            tensor = numpy_helper.from_array(values)
            nodes.append(helper.make_node("Constant", [], [full], f"/{size}/{name}_cache/Constant", value=tensor))
            told.append(helper.make_tensor_value_info(full, TensorProto.FLOAT, list(values.shape)))
        branches[f"{branch}_branch"] = helper.make_graph(nodes, f"{size}_rope_caches_graph", [], told)
    limit = graph.weight("original_length", np.array(original, np.int64))
    cosine, sine = graph.op("If", graph.op("Greater", graph.known["width"], limit), outputs=2, **branches)
    return cosine, sine
