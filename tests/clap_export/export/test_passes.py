"""A rewritten graph computes the same, and engines fuse it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from clap_export.export.passes import drop_unused_initializers, fusable_gelu, opset17


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


REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSumSquare".split()
)
X = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 7)).astype(np.float32)


def opset18(
    *nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",), **constants: object
) -> onnx.ModelProto:
    """A graph of these nodes; x is [n, 3, 7], constants are int64 or float32."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 7])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(a.astype(np.float32 if a.dtype.kind == "f" else np.int64), name)
            for name, a in arrays.items()
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)  # the outputs' shapes


def assert_lowered_and_same(model: onnx.ModelProto) -> None:
    """The pass makes a valid graph of opset 17 whose outputs are those of the one before."""

    def outputs() -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"x": X})

    want = outputs()
    opset17(model)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    onnx.checker.check_model(model, full_check=True)
    used = {name for node in model.graph.node for name in node.input}
    assert {i.name for i in model.graph.initializer} <= used
    for got, expected in zip(outputs(), want, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("axes", [[-1], [0, 2], [], None], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_keep_their_numbers_in_opset_17(name: str, axes: list[int] | None) -> None:
    for keepdims in (0, 1):
        if axes is None:
            model = opset18(helper.make_node(name, ["x"], ["y"], keepdims=keepdims))
        else:
            node = helper.make_node(name, ["x", "axes"], ["y"], keepdims=keepdims)
            model = opset18(node, axes=np.array(axes, np.int64))
        assert_lowered_and_same(model)


def test_axes_that_a_sum_still_takes_stay() -> None:
    model = opset18(
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], noop_with_empty_axes=0),
        helper.make_node("ReduceMax", ["x", "axes"], ["max"]),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"]),  # takes axes as an input since 13
        outputs=("mean", "max", "sum"), axes=[1],
    )  # fmt: skip
    assert_lowered_and_same(model)
    assert [i.name for i in model.graph.initializer] == ["axes"]


@pytest.mark.parametrize(
    ("pads", "axes", "options"),
    [
        ([1, 2], [-1], {"mode": "reflect"}),
        ([1, 0, 2, 3], [2, 0], {"mode": "edge"}),
        ([0, 1, 2, 0, 3, 0], None, {"mode": "constant"}),
        ([2, 1, 1, 2], [1, -1], {"mode": "constant"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [None, 0.25])
def test_pads_keep_their_numbers_in_opset_17(
    pads: list[int], axes: list[int] | None, options: dict[str, str], value: float | None
) -> None:
    if options["mode"] != "constant":
        value = None
    inputs = ["x", "pads", "" if value is None else "value", "" if axes is None else "axes"]
    given = {"pads": pads, "value": value, "axes": axes}
    model = opset18(
        helper.make_node("Pad", inputs, ["y"], **options),
        **{name: number for name, number in given.items() if number is not None},
    )
    assert_lowered_and_same(model)


@pytest.mark.parametrize(("axis", "parts"), [(-1, 3), (2, 7), (1, 3), (2, 2)])
def test_splits_keep_their_numbers_in_opset_17(axis: int, parts: int) -> None:
    names = tuple(f"part{i}" for i in range(parts))  # 7 in three parts: 3, 3 and 1
    model = opset18(
        helper.make_node("Split", ["x"], names, axis=axis, num_outputs=parts), outputs=names
    )
    assert_lowered_and_same(model)


def test_a_split_by_sizes_is_left_alone() -> None:
    node = helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=2)
    model = opset18(node, outputs=("a", "b"), sizes=[2, 5])
    assert_lowered_and_same(model)
    assert model.graph.node[0] == node


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Mish", ["x"], ["y"]),  # new in 18
        helper.make_node("Resize", ["x", "", "scales"], ["y"]),  # changed in 18
        helper.make_node("ReduceMean", ["x"], ["y"], noop_with_empty_axes=1),
        helper.make_node("Split", ["x"], ["y"], axis=0, num_outputs=1),  # of an axis that varies
    ],
    ids=lambda node: node.op_type,
)
def test_what_has_no_form_in_opset_17_is_named(node: onnx.NodeProto) -> None:
    with pytest.raises(RuntimeError, match=rf"cannot be written in opset 17: \['{node.op_type}'\]"):
        opset17(opset18(node, scales=[1.0, 1.0, 2.0]))


def test_axes_that_are_computed_are_refused() -> None:
    nodes = [
        helper.make_node("Shape", ["shape_of"], ["axes"]),
        helper.make_node("ReduceMean", ["x", "axes"], ["y"]),
    ]
    with pytest.raises(RuntimeError, match="ReduceMean"):
        opset17(opset18(*nodes, shape_of=[1.0]))


def test_constants_that_nobody_reads_are_dropped_and_no_others() -> None:
    model = gelu()
    for name in ("spare", "half_of_spare"):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [1.0]))
    drop_unused_initializers(model.graph)
    assert [i.name for i in model.graph.initializer] == ["root", "one", "half"]
    drop_unused_initializers(model.graph)
    assert len(model.graph.initializer) == 3
