"""A rewritten graph computes the same, and engines fuse it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from clap_export.export.passes import fusable_gelu


def gelu(half: float = 0.5, swapped: bool = False) -> onnx.ModelProto:
    """GELU as PyTorch's exporter writes it; or nearly."""
    scaled = ["sum", "half"] if swapped else ["half", "sum"]
    product = ["scaled", "x"] if swapped else ["x", "scaled"]
    nodes = [
        helper.make_node("Div", ["x", "root"], ["divided"]),
        helper.make_node("Erf", ["divided"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["sum"]),
        helper.make_node("Mul", scaled, ["scaled"]),
        helper.make_node("Mul", product, ["y"]),
    ]
    values = {"root": 2**0.5, "one": 1.0, "half": half}
    graph = helper.make_graph(
        nodes, "gelu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [v]) for name, v in values.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray, optimised: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    if optimised:
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("swapped", [False, True])
def test_gelu_is_fused_and_stays_gelu(swapped: bool, tmp_path: Path) -> None:
    model = gelu(swapped=swapped)
    x = np.linspace(-5, 5, 24, dtype=np.float32).reshape(3, 8)
    want = run(model, x, tmp_path / "before.onnx")
    assert fusable_gelu(model.graph) == 1
    onnx.checker.check_model(model, full_check=True)
    assert np.abs(run(model, x, tmp_path / "after.onnx") - want).max() < 1e-6
    operations = [
        [node.op_type for node in onnx.load(tmp_path / f"{name}.onnx").graph.node]
        for name in ("before", "after")
    ]
    assert len(operations[0]) == 5
    assert operations[1] == ["Gelu"]


def test_what_is_no_gelu_is_left_alone() -> None:
    model = gelu(half=0.25)
    before = model.SerializeToString()
    assert fusable_gelu(model.graph) == 0
    assert model.SerializeToString() == before
