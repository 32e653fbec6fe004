"""FP16 graphs with FP32 islands: the types are in the ONNX, so that all engines compute the same.

In FP32 stay the log-mel frontend (a full-scale sine has power 65536, and 1e-10 is zero in FP16),
the stretch of its decibels, normalisations, softmax, means, the L2 norm at the end, and whatever
has constants that FP16 cannot hold.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clap_export.export.passes import drop_unused_initializers
from clap_export.precision.int8 import first_encoder_node

ISLANDS = frozenset(
    "LayerNormalization InstanceNormalization BatchNormalization Softmax LogSoftmax ReduceMean "
    "ReduceSum ReduceL2 GlobalAveragePool AveragePool Pow Sqrt Log Exp Cast Range ConstantOfShape "
    "Constant Resize".split()
)
# Sums over many products: where the walk back from the embedding through its L2 norm ends.
PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "Add", "LayerNormalization"))
_LARGEST, _SMALLEST = 65504.0, 2.0**-24  # of FP16, the smallest being its last denormal


def convert(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose encoder is in FP16; its inputs and outputs stay as they are.

    Args:
        model: FP32 graph of a bundle; not changed.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = inferred.graph
    constants = {i.name: i for i in graph.initializer}
    values = (*graph.value_info, *graph.input, *graph.output)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats |= {name for name, i in constants.items() if i.data_type == TensorProto.FLOAT}
    exact = _islands(graph, constants)
    halves: set[str] = set()  # tensors that are made in FP16
    done: set[str] = set()  # what has been cast or converted
    nodes: list[onnx.NodeProto] = []
    made: list[TensorProto] = []

    def as_type(name: str, half: bool) -> str:
        """The tensor's name in the other type, made when it is first needed."""
        if name not in floats or (name in halves) == half:
            return name
        other = f"{name}_fp{16 if half else 32}"
        if other in done:
            return other
        done.add(other)
        if name in constants:
            array = numpy_helper.to_array(constants[name]).astype(np.float16)
            made.append(numpy_helper.from_array(array, other))
        else:
            to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [name], [other], to=to))
        return other

    for i, node in enumerate(graph.node):
        half = i not in exact and any(name in floats for name in node.output)
        node.input[:] = [as_type(name, half) for name in node.input]
        nodes.append(node)
        if half:
            halves |= floats.intersection(node.output)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(made)
    drop_unused_initializers(graph)
    del graph.value_info[:]  # their types have changed
    return inferred


def _islands(graph: onnx.GraphProto, constants: dict[str, TensorProto]) -> set[int]:
    """Indices of the nodes that stay in FP32."""
    exact = set(range(first_encoder_node(graph)))
    for i, node in enumerate(graph.node):
        held = all(_fits(constants[name]) for name in node.input if name in constants)
        if node.op_type in ISLANDS or not held:
            exact.add(i)
    makers = {out: i for i, node in enumerate(graph.node) for out in node.output}
    waiting = [output.name for output in graph.output]
    exact.update(makers[name] for name in waiting)  # their type stays
    while waiting:  # the L2 norm at the end
        i = makers.get(waiting.pop())
        if i is not None and graph.node[i].op_type not in PRODUCTS:
            exact.add(i)
            waiting += graph.node[i].input
    return exact


def _fits(constant: TensorProto) -> bool:
    """Whether FP16 can hold a tensor: none too large, and no single number that becomes zero."""
    if constant.data_type != TensorProto.FLOAT:
        return True
    array = np.abs(numpy_helper.to_array(constant))
    if array.size and array.max() > _LARGEST:
        return False
    return array.size != 1 or array.item() == 0 or array.item() >= _SMALLEST
