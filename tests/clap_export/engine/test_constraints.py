"""TensorRT 8.6's layers are told the types that the ONNX has."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from clap_export.engine.constraints import constrain, tensor_types
from runtime.errors import ClapError

TRT = SimpleNamespace(
    float32="float32", float16="float16", int32="int32",
    LayerType=SimpleNamespace(CONSTANT="CONSTANT", OTHER="OTHER"),
)  # fmt: skip


class Layer:
    """A layer with outputs of given names and types, and what it was told."""

    def __init__(
        self, *names: str, dtype: str = "float32", kind: str = "OTHER", shape: bool = False
    ) -> None:
        self.outputs = [SimpleNamespace(name=n, dtype=dtype, is_shape_tensor=shape) for n in names]
        self.num_outputs, self.type = len(names), kind
        self.precision: str | None = None
        self.told: dict[int, str] = {}

    def get_output(self, i: int) -> Any:
        return self.outputs[i]

    def set_output_type(self, i: int, kind: str) -> None:
        self.told[i] = kind


def network(*layers: Layer) -> Any:
    return SimpleNamespace(num_layers=len(layers), get_layer=lambda i: layers[i])


@pytest.fixture
def graph() -> bytes:
    """x -> log (float) -> cast -> two products (half) -> split (half) -> cast -> y (float)."""
    nodes = [
        helper.make_node("Log", ["x"], ["log"]),
        helper.make_node("Shape", ["log"], ["shape"]),
        helper.make_node("Cast", ["log"], ["cast"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["cast", "w"], ["product"]),
        helper.make_node("Gemm", ["product", "w", "bias"], ["gemm"]),
        helper.make_node("Split", ["gemm", "sizes"], ["left", "right"], axis=1),
        helper.make_node("Cast", ["left"], ["y"], to=TensorProto.FLOAT),
    ]
    constants = {
        "w": np.eye(4, dtype=np.float16), "bias": np.ones(4, np.float16), "sizes": np.array([2, 2]),
    }  # fmt: skip
    made = helper.make_graph(
        nodes, "typed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString()


def test_types_are_those_that_the_graph_computes_in(graph: bytes) -> None:
    half = ("cast", "product", "gemm", "left", "right")
    assert tensor_types(graph) == {"log": "float", "y": "float"} | dict.fromkeys(half, "half")


def test_each_layer_gets_the_type_of_its_output(graph: bytes) -> None:
    log, cast, split, y = Layer("log"), Layer("cast"), Layer("left", "right"), Layer("y")
    assert constrain(TRT, network(log, cast, split, y), graph) == 4
    assert [layer.precision for layer in (log, cast, split, y)] == [
        "float32", "float16", "float16", "float32"
    ]  # fmt: skip
    assert (log.told, cast.told) == ({0: "float32"}, {0: "float16"})
    assert split.told == {0: "float16", 1: "float16"}


def test_unnamed_layers_of_an_operation_get_the_type_of_its_last(graph: bytes) -> None:
    before_log, log = Layer("(Unnamed Layer* 0) [Convolution]_output"), Layer("log")
    before_gemm, gemm = Layer("(Unnamed Layer* 5) [Matrix]_output"), Layer("gemm")
    behind_all = Layer("(Unnamed Layer* 9) [Shuffle]_output")
    layers = (before_log, log, before_gemm, gemm, behind_all)
    assert constrain(TRT, network(*layers), graph) == 4
    assert (before_log.precision, before_log.told) == ("float32", {0: "float32"})
    assert (before_gemm.precision, before_gemm.told) == ("float16", {0: "float16"})
    assert (behind_all.precision, behind_all.told) == (None, {})  # nothing says its type


def test_integers_shapes_and_constants_are_left_alone(graph: bytes) -> None:
    spared = (
        Layer("shape", dtype="int32"),
        Layer("(Unnamed Layer* 3) [Gather]_output", dtype="int32"),
        Layer("(Unnamed Layer* 4) [Slice]_output", shape=True),
        Layer("w", kind="CONSTANT"),
    )
    product = Layer("product")
    assert constrain(TRT, network(*spared, product), graph) == 1
    assert all(layer.precision is None and not layer.told for layer in spared)
    assert product.precision == "float16"


def test_without_onnx_it_says_what_to_install(
    graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ClapError, match="pip install onnx"):
        tensor_types(graph)
