"""How far the rounding of each layer alone moves the embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from clap_export.precision import int8
from clap_export.precision.ranges import Steps
from runtime.backends import open_backend


def effects(
    model: onnx.ModelProto,
    steps: dict[str, Steps],
    feeds: Sequence[dict[str, Any]],
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Run a graph with one layer in INT8 at a time.

    Args:
        model: FP32 graph, whose first output is a unit embedding; not changed.
        steps: of the tensors that go into and out of its layers.
        feeds: inputs of one run each, of one row.
        progress: told which layer it is.

    Returns:
        for each of :func:`int8.layers`, by its node: the mean of 1 - cosine to FP32.
    """
    layers = int8.layers(model.graph)
    backend = open_backend(switched(model, steps, layers).SerializeToString())
    flags = {f"{layer.node}_on": np.array(False) for layer in layers}

    def embed(changes: dict[str, np.ndarray]) -> np.ndarray:
        found = [backend.run({**feed, **flags, **changes}) for feed in feeds]
        rows = [outputs[model.graph.output[0].name] for outputs in found]
        return np.concatenate(rows).astype(np.float64)

    try:
        wanted, found = embed({}), {}
        for i, layer in enumerate(layers):
            progress(f"effect of layer {i + 1} of {len(layers)}")
            rows = embed({f"{layer.node}_on": np.array(True)})
            found[layer.node] = float(1 - (rows * wanted).sum(axis=1).mean())
    finally:
        backend.close()
    return found


def switched(
    model: onnx.ModelProto, steps: dict[str, Steps], layers: Sequence[int8.Layer]
) -> onnx.ModelProto:
    """A graph whose layers are in INT8 where their input ``NODE_on``, a bool, says so.

    One engine thus serves for all layers: opening one for each takes minutes with a large model.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {i.name: i for i in graph.initializer}
    layer_of = {layer.node: layer for layer in layers}
    after = {layer.after: layer for layer in layers if layer.after}
    nodes: list[onnx.NodeProto] = []
    made: dict[str, TensorProto] = {}
    for node in graph.node:
        out = node.output[0]
        rounded_later = after.get(out)
        if rounded_later is not None:
            node.output[0] = f"{out}_exact"
        layer = layer_of.get(out)
        if layer is not None:
            inner = list(int8.round_trip(layer.data, steps[layer.data], made))
            inner += int8.integer_weight(constants[layer.weight], layer.axis, made)
            inner.append(_copy(node, [f"{layer.data}_dq", f"{layer.weight}_dq", *node.input[2:]]))
            nodes.append(_if(layer, node.output[0], inner, [_copy(node, node.input)]))
        else:
            nodes.append(node)
        if rounded_later is not None:
            exact = f"{out}_exact"
            inner = list(int8.round_trip(exact, steps[out], made))
            inner[-1].output[0] = f"{out}_chosen"
            plain = helper.make_node("Identity", [exact], [f"{out}_chosen"])
            nodes.append(_if(rounded_later, out, inner, [plain]))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(made.values())
    flags = [helper.make_tensor_value_info(f"{x.node}_on", TensorProto.BOOL, []) for x in layers]
    graph.input.extend(flags)
    return result


def _copy(node: onnx.NodeProto, inputs: Sequence[str]) -> onnx.NodeProto:
    """The same operation, as the last of a branch."""
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    copied.input[:] = inputs
    copied.output[0] = f"{node.output[0]}_chosen"
    return copied


def _if(
    layer: int8.Layer, out: str, then: list[onnx.NodeProto], other: list[onnx.NodeProto]
) -> onnx.NodeProto:
    """A choice between two branches, each of which ends in its output."""
    branches = {}
    for name, nodes in (("then", then), ("else", other)):
        prefix, inside = f"{out}_{name}_", {o for node in nodes for o in node.output}
        for node in nodes:  # names inside a branch must not be those of the other or outside
            node.input[:] = [prefix + i if i in inside else i for i in node.input]
            node.output[:] = [prefix + o for o in node.output]
        result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
        branches[f"{name}_branch"] = helper.make_graph(nodes, name, [], [result])
    return helper.make_node("If", [f"{layer.node}_on"], [out], **branches)
