"""INT8 graphs: weights per channel, activations by steps seen on real inputs (static QDQ).

Static, because dynamic quantisation takes one range for a whole batch, and so gives a clip another
embedding beside other clips. As QuantizeLinear and DequantizeLinear, because engines fuse these
into their own integer kernels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from clap_export.export.passes import drop_unused_initializers
from clap_export.precision.ranges import Steps

TABLE_ROWS = 1000  # a lookup table with fewer is not worth its rounding


@dataclass(frozen=True)
class Layer:
    """A node that can run in integers.

    Attributes:
        node: name of its output, which names it.
        data: the tensor that comes in.
        weight: initializer of its weights.
        axis: of the weights, that of the outputs.
        after: the tensor behind it that is quantised too, or None. Convolutions have integer
            kernels only from integers to integers; a ReLU behind one is part of it.
    """

    node: str
    data: str
    weight: str
    axis: int
    after: str | None


def layers(graph: onnx.GraphProto) -> list[Layer]:
    """Products with constant matrices, and 2-D convolutions.

    What lies before :func:`first_encoder_node` stays as it is: int8 would round decibels by a whole
    one.
    """
    sizes = {i.name: len(i.dims) for i in graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found: list[Layer] = []
    for node in graph.node[first_encoder_node(graph) :]:
        rank = sizes.get(node.input[1]) if len(node.input) > 1 else None
        if node.input and node.input[0] in sizes:
            continue
        out, weight = node.output[0], node.input[1] if rank else ""
        if node.op_type == "MatMul" and rank == 2:
            found.append(Layer(out, node.input[0], weight, 1, None))
        elif node.op_type == "Gemm" and rank == 2 and not _attribute(node, "transA"):
            found.append(Layer(out, node.input[0], weight, 1 - _attribute(node, "transB"), None))
        elif _is_conv2d(node, sizes):
            behind = users.get(out, [])
            relu = len(behind) == 1 and behind[0].op_type == "Relu"
            found.append(Layer(out, node.input[0], weight, 0, behind[0].output[0] if relu else out))
    return found


def first_encoder_node(graph: onnx.GraphProto) -> int:
    """Index of an audio graph's first 2-D convolution: what lies before it is the mel frontend, and
    the stretch of its decibels to an image. 0 for a text graph."""
    sizes = {i.name: len(i.dims) for i in graph.initializer}
    return next((i for i, node in enumerate(graph.node) if _is_conv2d(node, sizes)), 0)


def quantise(
    model: onnx.ModelProto, steps: dict[str, Steps], chosen: Collection[str]
) -> onnx.ModelProto:
    """A copy of a graph with integer layers, and tables of word embeddings in int8.

    Args:
        model: FP32 graph.
        steps: of the tensors that go into and out of the layers.
        chosen: which :func:`layers` to quantise, by their node.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {i.name: i for i in graph.initializer}
    picked = {layer.node: layer for layer in layers(graph) if layer.node in chosen}
    wanted = {layer.data for layer in picked.values()}
    wanted |= {layer.after for layer in picked.values() if layer.after}
    nodes: list[onnx.NodeProto] = []
    made: dict[str, onnx.TensorProto] = {}
    for name in (i.name for i in graph.input):
        if name in wanted:
            nodes += round_trip(name, steps[name], made)
    for node in graph.node:
        layer = picked.get(node.output[0])
        if layer is not None:
            weight = constants[layer.weight]
            nodes += integer_weight(weight, layer.axis, made)
            node.input[1] = f"{weight.name}_dq"
        if _is_table(node, constants):
            nodes += _lookup(node, constants[node.input[0]], made)
            continue
        outs = [name for name in node.output if name in wanted]
        nodes.append(node)
        for name in outs:
            nodes += round_trip(name, steps[name], made)
    # Every reader of a quantised tensor gets the values of its integers. A ReLU that is fused into
    # a convolution comes before them.
    for node in nodes:
        if node.op_type != "QuantizeLinear":
            node.input[:] = [f"{n}_dq" if n in wanted else n for n in node.input]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(made.values())
    drop_unused_initializers(graph)
    del graph.value_info[:]  # some of these tensors are gone
    return result


def round_trip(
    name: str, steps: Steps, made: dict[str, onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    """Nodes from a tensor to its integers and back, as ``NAME_dq``; their constants go to made."""
    for suffix, value in (
        ("scale", np.array(steps.scale, np.float32)),
        ("zero", np.array(steps.zero_point, np.uint8)),
    ):
        made[f"{name}_{suffix}"] = numpy_helper.from_array(value, f"{name}_{suffix}")
    by = [f"{name}_scale", f"{name}_zero"]
    yield helper.make_node("QuantizeLinear", [name, *by], [f"{name}_q"])
    yield helper.make_node("DequantizeLinear", [f"{name}_q", *by], [f"{name}_dq"])


def integer_weight(
    weight: onnx.TensorProto, axis: int, made: dict[str, onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    """A node that reads a weight's integers as ``WEIGHT_dq``; none if it has been made already."""
    name = weight.name
    if f"{name}_q" in made:
        return  # shared by two layers
    integers, scale = _per_channel(numpy_helper.to_array(weight), axis)
    zeros = np.zeros(len(scale), np.int8)
    for suffix, value in (("q", integers), ("scale", scale), ("zero", zeros)):
        made[f"{name}_{suffix}"] = numpy_helper.from_array(value, f"{name}_{suffix}")
    inputs = [f"{name}_{suffix}" for suffix in ("q", "scale", "zero")]
    yield helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], axis=axis)


def _is_conv2d(node: onnx.NodeProto, sizes: dict[str, int]) -> bool:
    return node.op_type == "Conv" and sizes.get(node.input[1]) == 4


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((a.i for a in node.attribute if a.name == name), 0)


def _per_channel(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 with a scale for each channel."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = (np.abs(array).max(axis=others, keepdims=True) / 127).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return np.clip(np.rint(array / scale), -127, 127).astype(np.int8), scale.ravel()


def _is_table(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    table = constants.get(node.input[0]) if node.op_type == "Gather" else None
    return (
        table is not None
        and table.data_type == onnx.TensorProto.FLOAT
        and len(table.dims) == 2
        and table.dims[0] >= TABLE_ROWS
    )


def _lookup(
    node: onnx.NodeProto, table: onnx.TensorProto, made: dict[str, onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    """Look up int8 rows and their scales: a quarter of the bytes, and no other row is touched."""
    integers, scale = _per_channel(numpy_helper.to_array(table), 0)
    out, ids = node.output[0], node.input[1]
    for suffix, value in (("q", integers), ("scale", scale[:, None])):
        made[f"{table.name}_{suffix}"] = numpy_helper.from_array(value, f"{table.name}_{suffix}")
        yield helper.make_node("Gather", [f"{table.name}_{suffix}", ids], [f"{out}_{suffix}_row"])
    yield helper.make_node("Cast", [f"{out}_q_row"], [f"{out}_row"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{out}_row", f"{out}_scale_row"], [out])
