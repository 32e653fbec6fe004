"""ONNX files are looked into before an engine sees them: an engine does whatever a graph says.

A graph of a bundle is one plain data flow. What it cannot hold: weights outside its file (which no
hash covers; OpenVINO even reads them from an address in memory), control flow (a loop may never
end), functions, subgraphs, operations that are not in :data:`OPERATIONS`, tensors whose bytes do
not fit their shape. A field that is not known is refused, because an engine may know it.

It says nothing about memory and time that a run takes: a product of two large matrices is allowed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from runtime import protobuf
from runtime.errors import BundleError
from runtime.plain_text import printable
from runtime.protobuf import BYTES, FIXED32, FIXED64, VARINT, Fields, Malformed, View

# What our graphs are made of, in every family and precision, and their close relatives. None of
# them runs another graph, opens a file or depends on chance.
OPERATIONS = frozenset(
    """
    Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv
    ConvTranspose Cos CumSum DequantizeLinear Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp
    Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
    GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul
    MatMulInteger Max MaxPool Mean Min Mod Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum
    ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus
    Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where
    """.split()
)
DOMAINS = ("", "ai.onnx")
SAME_NUMBERS = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
MOST_NODES = MOST_TENSORS = 20_000
MOST_RANK = 8
MOST_ELEMENTS = 1 << 31  # of a shape that a constant asks for
MOST_TYPED = 1 << 20  # bytes of a list of varints: large constants are raw
MOST_METADATA = 64 << 20  # bytes of a text beside the graph: a tagger's labels
# Beginnings of other formats that an engine would tell by these bytes.
OTHER_FORMATS = (b"ORTM", b"TFL3")

# Bytes of an element, by its number in ONNX's TensorProto.DataType.
SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
FLOAT, INT64 = 1, 7

Shape: TypeAlias = "tuple[int | None, ...]"
Node: TypeAlias = "tuple[str, list[str], list[str]]"


@dataclass(frozen=True)
class Tensor:
    """A constant.

    Attributes:
        dims: its shape.
        values: of a short list of whole numbers.
        raw: its bytes in the file, little-endian, unless it is a list of numbers there.
        is_float: it holds float32.
    """

    dims: tuple[int, ...]
    values: tuple[int, ...] = ()
    raw: View | None = field(default=None, repr=False, compare=False)
    is_float: bool = field(default=False, compare=False)


@dataclass
class OnnxGraph:
    """What a reader of bundles wants to know of a graph.

    Attributes:
        inputs: names, and shapes; an axis without a fixed length is None.
        outputs: the same.
        tensors: constants by name.
        nodes: each operation's name, inputs and outputs.
        metadata: texts that lie beside the graph, by name.
    """

    inputs: dict[str, Shape] = field(default_factory=dict[str, Shape])
    outputs: dict[str, Shape] = field(default_factory=dict[str, Shape])
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    nodes: list[Node] = field(default_factory=list[Node])
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    def rows(self, indices: str) -> int | None:
        """Length of the constant table that an input picks rows of, if there is one."""
        same = {indices}
        for operation, inputs, outputs in self.nodes:
            if operation in SAME_NUMBERS and inputs[:1] and inputs[0] in same:
                same.update(outputs)
            if operation == "DequantizeLinear" and inputs and inputs[0] in self.tensors:
                self.tensors.setdefault(outputs[0], self.tensors[inputs[0]])
            if operation == "Gather" and len(inputs) == 2 and inputs[1] in same:
                table = self.tensors.get(inputs[0])
                return table.dims[0] if table is not None and table.dims else None
        return None


def check(data: bytes, name: str) -> OnnxGraph:
    """Look through an ONNX file, without copying its weights.

    Args:
        data: the file.
        name: of it, for the message.

    Raises:
        BundleError: it is not an ONNX file that a bundle may hold.
    """
    try:
        return _model(memoryview(data))
    except Malformed as problem:
        raise BundleError(
            f"'{name}' is not used: {printable(str(problem))}. A bundle's graph is one file of "
            "plain operations with its weights inside. Export the bundle again."
        ) from None


def _model(data: View) -> OnnxGraph:
    if bytes(data[4:8]) in OTHER_FORMATS or bytes(data[:1]) != b"\x08":
        raise Malformed("it is no ONNX model")
    result: OnnxGraph | None = None
    domains: set[str] = set()
    metadata: dict[str, str] = {}
    for number, value in protobuf.fields(data, _MODEL, "model"):
        if number == 7:
            if result is not None:  # protobuf would merge them
                raise Malformed("it holds two graphs")
            result = _graph(value)
        elif number == 8:
            domains.update(
                protobuf.text(v) for n, v in protobuf.fields(value, _OPSET, "opset") if n == 1
            )
        elif number == 14:
            entry = dict(protobuf.fields(value, _ENTRY, "metadata"))
            name = protobuf.text(entry.get(1, data[:0]))
            if name in metadata:
                raise Malformed(f"its metadata has two texts '{name}'")
            metadata[name] = protobuf.text(entry.get(2, data[:0]), MOST_METADATA)
    if result is None:
        raise Malformed("it holds no graph")
    strange = sorted(domains - set(DOMAINS))
    if strange:
        raise Malformed(f"it uses operations of '{strange[0]}', which are not ONNX's own")
    result.metadata.update(metadata)
    return result


def _graph(data: View) -> OnnxGraph:
    graph = OnnxGraph()
    made: set[str] = set()
    for number, value in protobuf.fields(data, _GRAPH, "graph"):
        if number == 1:
            operation, inputs, outputs, constant = _node(value)
            graph.nodes.append((operation, inputs, outputs))
            if constant is not None and outputs:
                graph.tensors[outputs[0]] = constant
            made.update(outputs)
            if len(graph.nodes) > MOST_NODES:
                raise Malformed(f"it has more than {MOST_NODES} operations")
        elif number == 5:
            name, tensor = _tensor(value)
            graph.tensors[name] = tensor
            if len(graph.tensors) > MOST_TENSORS:
                raise Malformed(f"it has more than {MOST_TENSORS} constants")
        elif number in (11, 12):
            name, shape = _value_info(value)
            (graph.inputs if number == 11 else graph.outputs)[name] = shape
    for name in graph.outputs:
        if name not in made:
            raise Malformed(f"nothing in it makes its output '{name}'")
    for operation, inputs, _ in graph.nodes:
        _check_size(operation, [graph.tensors.get(name) for name in inputs])
    return graph


def _check_size(operation: str, inputs: list[Tensor | None]) -> None:
    """Refuse constants that ask for a tensor beyond all measure."""
    asked = inputs[1] if operation in ("Expand", "Tile", "Reshape") and len(inputs) > 1 else None
    if asked is not None:
        _product([abs(n) for n in asked.values])
    if operation == "Range" and any(
        abs(n) > MOST_ELEMENTS for tensor in inputs if tensor for n in tensor.values
    ):
        raise Malformed("a range in it is longer than any tensor")
    if operation == "Pad" and len(inputs) > 1 and inputs[1]:
        for n in inputs[1].values:
            _product([abs(n)])


def _product(shape: list[int]) -> int:
    total = 1
    for n in shape:
        total *= max(n, 1)
    if total > MOST_ELEMENTS:
        raise Malformed(f"a tensor of {total} elements is asked for")
    return total if all(shape) else 0


def _node(data: View) -> tuple[str, list[str], list[str], Tensor | None]:
    inputs: list[str] = []
    outputs: list[str] = []
    operation, constant = "", None
    for number, value in protobuf.fields(data, _NODE, "operation"):
        if number == 1:
            inputs.append(protobuf.text(value))
        elif number == 2:
            outputs.append(protobuf.text(value))
        elif number == 4:
            operation = protobuf.text(value)
            if operation not in OPERATIONS:
                raise Malformed(f"it holds the operation '{operation}', which is not on the list")
        elif number == 5:
            constant = _attribute(value) or constant
        elif number == 7 and protobuf.text(value) not in DOMAINS:
            raise Malformed(
                f"it uses an operation of '{protobuf.text(value)}', which is not one of ONNX's own"
            )
    if not operation:
        raise Malformed("an operation has no name")
    return operation, inputs, outputs, constant if operation == "Constant" else None


def _attribute(data: View) -> Tensor | None:
    """The attribute's tensor, if it is one."""
    found = None
    for number, value in protobuf.fields(data, _ATTRIBUTE, "attribute"):
        if number in (5, 10):
            found = _tensor(value)[1]
    return found


def _tensor(data: View) -> tuple[str, Tensor]:
    dims: list[int] = []
    kind, name, raw, typed = 0, "", None, 0
    values: View | None = None
    for number, value in protobuf.fields(data, _TENSOR, "constant"):
        if number == 1:
            dims += [value] if isinstance(value, int) else protobuf.varints(value, MOST_RANK)
        elif number == 2:
            kind = value
        elif number == 8:
            name = protobuf.text(value)
        elif number == 9:
            raw = value
        elif number in (4, 10):  # packed floats or doubles
            size = 4 if number == 4 else 8
            if isinstance(value, int) or len(value) % size:
                raise Malformed(f"constant '{name}' has numbers in a form that is not read")
            typed += len(value) // size
        elif number in (5, 7, 11):  # packed whole numbers
            if isinstance(value, int) or len(value) > MOST_TYPED:
                raise Malformed(f"constant '{name}' has numbers in a form that is not read")
            typed += protobuf.count(value)
            values = value if number == 7 else values
        elif number == 14 and value != 0:
            raise Malformed(f"constant '{name}' lies outside the file")
    if kind not in SIZES:
        raise Malformed(f"constant '{name}' is of a type ({kind}) that no graph of ours has")
    if len(dims) > MOST_RANK or any(n < 0 for n in dims):
        raise Malformed(f"constant '{name}' has the shape {dims}")
    count = _product(dims)
    found = typed if raw is None else len(raw) / SIZES[kind]
    if found != count or (raw is not None and typed):
        raise Malformed(f"constant '{name}' of shape {dims} holds {found:g} numbers")
    whole: tuple[int, ...] = ()
    if kind == INT64 and count <= 2 * MOST_RANK:
        whole = struct.unpack(f"<{count}q", raw) if raw is not None else ()
        if values is not None:
            whole = tuple(protobuf.varints(values, count))
    return name, Tensor(tuple(dims), whole, raw, kind == FLOAT)


def _value_info(data: View) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape of an input or output."""
    name, shape = "", ()
    for number, value in protobuf.fields(data, _VALUE_INFO, "input"):
        if number == 1:
            name = protobuf.text(value)
        elif number == 2:
            for kind, tensor in protobuf.fields(value, _TYPE, "type"):
                if kind == 1:
                    shape = _shape(tensor)
    return name, shape


def _shape(data: View) -> tuple[int | None, ...]:
    axes: list[int | None] = []
    for number, value in protobuf.fields(data, _TENSOR_TYPE, "type"):
        if number == 2:
            for kind, axis in protobuf.fields(value, _SHAPE, "shape"):
                if kind == 1:
                    found = dict(protobuf.fields(axis, _AXIS, "axis"))
                    axes.append(found.get(1))
    return tuple(axes)


# Fields of each message: their numbers, the wire type of each, and what a refused one would be. A
# field of another wire type is refused, but lists of numbers may be packed or not.
_MODEL: Fields = {
    1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES,
    20: "training", 25: "functions", 26: "a configuration of devices",
}  # fmt: skip
_OPSET: Fields = {1: BYTES, 2: VARINT}
_ENTRY: Fields = {1: BYTES, 2: BYTES}
_GRAPH: Fields = {
    1: BYTES, 2: BYTES, 5: BYTES, 10: BYTES, 11: BYTES, 12: BYTES, 13: BYTES, 14: BYTES,
    15: "sparse constants", 16: BYTES,
}  # fmt: skip
_NODE: Fields = {
    1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES, 7: BYTES,
    8: "an overloaded function", 9: BYTES, 10: "a configuration of devices",
}  # fmt: skip
_ATTRIBUTE: Fields = {
    1: BYTES, 2: FIXED32, 3: VARINT, 4: BYTES, 5: BYTES, 6: "a graph inside an operation",
    7: (FIXED32, BYTES), 8: (VARINT, BYTES), 9: BYTES, 10: BYTES,
    11: "graphs inside an operation", 13: BYTES, 14: "a type as an attribute",
    15: "types as an attribute", 20: VARINT, 21: "a function's attribute",
    22: "a sparse constant", 23: "sparse constants",
}  # fmt: skip
_TENSOR: Fields = {
    1: (VARINT, BYTES), 2: VARINT, 3: "a constant in segments", 4: (FIXED32, BYTES),
    5: (VARINT, BYTES), 6: "a constant of texts", 7: (VARINT, BYTES), 8: BYTES, 9: BYTES,
    10: (FIXED64, BYTES), 11: (VARINT, BYTES), 12: BYTES,
    13: "a constant outside the file", 14: VARINT, 16: BYTES,
}  # fmt: skip
_VALUE_INFO: Fields = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES}
_TYPE: Fields = {
    1: BYTES, 4: "a sequence as input", 5: "a map as input", 6: BYTES, 7: "an opaque type",
    8: "a sparse input", 9: "an optional input",
}  # fmt: skip
_TENSOR_TYPE: Fields = {1: VARINT, 2: BYTES}
_SHAPE: Fields = {1: BYTES}
_AXIS: Fields = {1: VARINT, 2: BYTES, 3: BYTES}
