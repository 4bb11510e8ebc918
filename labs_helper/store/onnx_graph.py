"""What an ONNX graph says about itself: its operators, and the files in which its weights are. No weights are read.

The format: github.com/onnx/onnx, onnx/onnx.proto. The package onnx is not needed; the graph is data and never run here.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path

from labs_helper.common.translate import _
from labs_helper.errors import CheckpointRefused
from labs_helper.store import manifest
from labs_helper.store.protobuf import Damaged, fields, message, numbers, text

LARGEST = 500_000_000  # bytes of a graph without its weights; the largest of the course has 52 million
_DEEPEST = 8  # graphs within graphs; the models of the course have two
_STANDARD, _MICROSOFT = ("", "ai.onnx"), "com.microsoft"
# Operators that compute on tensors and touch nothing else. Microsoft's EPContext, for one, loads a binary.
_STANDARD_OPERATORS = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat ConcatFromSequence Constant
ConstantOfShape Conv Cos CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Equal Erf Exp Expand Flatten
Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool Greater GreaterOrEqual HardSigmoid Identity If IsInf
IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop MatMul MatMulInteger Max MaxPool Mean Min Mod
Mul Neg NonZero Not OneHot Or Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize RotaryEmbedding Round Scan ScatterElements ScatterND
SequenceAt SequenceConstruct SequenceEmpty SequenceInsert SequenceLength Shape Sigmoid Sign
SimplifiedLayerNormalization Sin Size Slice Softmax Softplus Split SplitToSequence Sqrt Squeeze Sub Sum Tanh Tile TopK
Transpose Trilu Unsqueeze Where Xor
"""
_MICROSOFT_OPERATORS = """
Attention BiasAdd BiasGelu BiasSplitGelu DequantizeLinear DynamicQuantizeMatMul FastGelu FusedConv FusedGemm
FusedMatMul GatherBlockQuantized Gelu GroupQueryAttention LayerNormalization MatMulBnb4 MatMulIntegerToFloat
MatMulNBits MultiHeadAttention QAttention QLinearAdd QuantizeLinear QuickGelu RotaryEmbedding
SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization
"""
OPERATORS = {"": frozenset(_STANDARD_OPERATORS.split()), _MICROSOFT: frozenset(_MICROSOFT_OPERATORS.split())}


@dataclass
class Graph:
    """What a graph says about itself.

    Attributes:
        file: its file.
        operators: (domain, name) of every node, also in branches, loops and functions.
        weights: the files beside it that hold weights, with the byte after the last one that is used.
        branch_shapes: the shapes of tensors inside branches: LongRoPE's tables are there.
    """

    file: Path
    operators: set[tuple[str, str]] = field(default_factory=set)
    weights: dict[str, int] = field(default_factory=dict)
    branch_shapes: list[tuple[int, ...]] = field(default_factory=list)


def read(file: Path) -> Graph:
    """Read the front of a graph.

    Raises:
        CheckpointRefused: it is missing, too large, or no ONNX graph.

    Example:
        read(folder / "phi-3.5-v-instruct-text.onnx").operators
    """
    if not file.is_file():
        raise CheckpointRefused(
            _("{file} is missing in {parent}.").format(file=file.name, parent=file.parent),
            _("Copy the whole checkpoint again."),
        )
    graph, found = Graph(file), False
    try:
        size = file.stat().st_size
        if not 0 < size <= LARGEST:
            raise Damaged(f"it has {size:,} bytes")
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            whole = memoryview(mapped)
            try:
                found = _model(graph, whole)
            finally:
                whole.release()
        if not found:
            raise Damaged("it holds no graph")
    except (Damaged, OSError, BufferError) as error:
        raise CheckpointRefused(
            _("{file} in {parent} is not an ONNX graph that can be read ({reason}).").format(
                file=file.name, parent=file.parent, reason=error
            ),
            _("Copy or download it again."),
        ) from error
    return graph


def check(graph: Graph) -> None:
    """Refuse a graph that asks for code, or for files that are not beside it.

    Raises:
        CheckpointRefused: an operator is not among those that models of the course need; or weights are outside of the
            folder, missing or cut short.

    Example:
        check(read(folder / "phi-3.5-v-instruct-text.onnx"))
    """
    unknown = sorted(
        f"{domain}.{name}".lstrip(".") for domain, name in graph.operators if name not in OPERATORS.get(domain, ())
    )
    if unknown:
        raise CheckpointRefused(
            _("{file} in {parent} uses operators that no model of the course needs ({names}).").format(
                file=graph.file.name, parent=graph.file.parent, names=", ".join(unknown[:3])
            ),
            _("They may need code from elsewhere. Take the model from a source you trust."),
        )
    for name, end in graph.weights.items():
        if not manifest.is_plain(name):
            raise CheckpointRefused(
                _("{file} in {parent} wants its weights from {name!r}, outside of the folder.").format(
                    file=graph.file.name, parent=graph.file.parent, name=name[:80]
                ),
                _("Take the model from a source you trust."),
            )
        weights = graph.file.with_name(name)
        if not weights.is_file():
            raise CheckpointRefused(
                _("{name} is missing in {parent}: it holds the weights of {file}.").format(
                    name=name, parent=weights.parent, file=graph.file.name
                ),
                _("Copy or download the missing file."),
            )
        if weights.stat().st_size < end:
            raise CheckpointRefused(
                _("{name} in {parent} is cut short: it has {size:,} bytes and needs {end:,}.").format(
                    name=name, parent=weights.parent, size=weights.stat().st_size, end=end
                ),
                _("The copy or the download did not finish: do it again."),
            )


# -- the format: numbers of fields in onnx.proto ----------------------------------------------------------


def _model(graph: Graph, model: memoryview) -> bool:
    found = False
    for number, value in fields(model):
        if number == 7:  # graph
            _graph(graph, message(value), 0)
            found = True
        elif number == 25:  # functions
            for part, inner in fields(message(value)):
                if part == 7:
                    _node(graph, message(inner), 1)
        elif number == 20:  # training_info, whose graphs nobody here runs
            raise Damaged("it holds a training loop")
    return found


def _graph(graph: Graph, view: memoryview, depth: int) -> None:
    if depth > _DEEPEST:
        raise Damaged("its branches are nested too deeply")
    for number, value in fields(view):
        if number == 1:
            _node(graph, message(value), depth)
        elif number == 5:
            _tensor(graph, message(value), depth)
        elif number == 15:
            _sparse(graph, message(value), depth)


def _node(graph: Graph, view: memoryview, depth: int) -> None:
    kind = domain = ""
    for number, value in fields(view):
        if number == 4:
            kind = text(value)
        elif number == 7:
            domain = text(value)
        elif number == 5:
            _attribute(graph, message(value), depth)
    graph.operators.add(("" if domain in _STANDARD else domain, kind))


def _attribute(graph: Graph, view: memoryview, depth: int) -> None:
    for number, value in fields(view):
        if number in (5, 10):  # t, tensors
            _tensor(graph, message(value), depth)
        elif number in (6, 11):  # g, graphs
            _graph(graph, message(value), depth + 1)
        elif number in (22, 23):  # sparse_tensor, sparse_tensors
            _sparse(graph, message(value), depth)


def _sparse(graph: Graph, view: memoryview, depth: int) -> None:
    for number, value in fields(view):
        if number in (1, 2):  # values, indices
            _tensor(graph, message(value), depth)


def _tensor(graph: Graph, view: memoryview, depth: int) -> None:
    shape: list[int] = []
    outside: dict[str, str] = {}
    for number, value in fields(view):
        if number == 1:  # dims
            shape += numbers(value)
        elif number == 13:  # external_data
            entry = {part: text(inner) for part, inner in fields(message(value))}
            outside[entry.get(1, "")] = entry.get(2, "")
    if depth:
        graph.branch_shapes.append(tuple(shape))
    if outside:
        try:
            end = int(outside.get("offset") or 0) + int(outside.get("length") or 0)
        except ValueError as error:
            raise Damaged("a place of weights is no number") from error
        name = outside.get("location", "")
        graph.weights[name] = max(end, graph.weights.get(name, 0))
