"""Graphs that read memory, files or no end of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.torture.found.change import Make, holding


def _model(change: Callable[[onnx.GraphProto], None], *opsets: Any) -> Make:
    def make(data: bytes) -> bytes:
        model = onnx.load_model_from_string(data)
        change(model.graph)
        model.opset_import.extend(opsets)
        return model.SerializeToString()

    return make


def _external(location: str, offset: int = 0) -> Make:
    """The first float tensor lies elsewhere."""

    def change(graph: onnx.GraphProto) -> None:
        tensor = next(t for t in graph.initializer if t.data_type == TensorProto.FLOAT)
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return _model(change)


def _loop(graph: onnx.GraphProto) -> None:
    """Two to the 62 rounds before anything else."""
    inner = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Sin", ["a"], ["b"])],
        "body",
        [inner("i", TensorProto.INT64, []), inner("c", TensorProto.BOOL, []),
         inner("a", TensorProto.FLOAT, [])],
        [inner("d", TensorProto.BOOL, []), inner("b", TensorProto.FLOAT, [])],
    )  # fmt: skip
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name)
        for name, value in (("rounds", 2**62), ("true", True), ("half", np.float32(0.5)))
    )
    graph.node.append(helper.make_node("Loop", ["rounds", "true", "half"], ["end"], body=body))


def _filled(graph: onnx.GraphProto) -> None:
    """Half a tebibyte of zeros, made when the graph is loaded."""
    graph.initializer.append(numpy_helper.from_array(np.array([2**37]), "size"))
    graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["zeros"]))


def _loud(graph: onnx.GraphProto) -> None:
    """Embeddings of a norm of a thousand."""
    graph.initializer.append(numpy_helper.from_array(np.float32(1000), "thousand"))
    next(node for node in graph.node if "embedding" in node.output).output[0] = "unit"
    graph.node.append(helper.make_node("Mul", ["unit", "thousand"], ["embedding"]))


def _foreign(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Evil", ["waveform"], ["evil"], domain="evil"))


GRAPHS: dict[str, Make] = {
    "weights at an address of the process": _external("*/_ORT_MEM_ADDR_/*", 0x414141414140),
    "weights in a file that is not listed": _external("weights.bin"),
    "weights outside the folder": _external("../../etc/passwd"),
    "a loop without end": _model(_loop),
    "half a tebibyte of zeros": _model(_filled),
    "embeddings that are not of unit norm": _model(_loud),
    "operations of a library of its own": _model(_foreign, helper.make_opsetid("evil", 1)),
    "cut off": lambda data: data[:-100],
    "empty": holding(b""),
}

FOUND = {"audio graph": GRAPHS, "audio graph, openvino": GRAPHS}
