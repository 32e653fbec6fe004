"""Rewrites of an exported graph that change no number but let engines fuse, and old ones read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17  # the last that TensorRT 8.6 reads
IR_VERSION = 8  # that came with it


def fusable_gelu(graph: onnx.GraphProto) -> int:
    """Write GELU in the order that ONNX Runtime fuses, x / 2 * (1 + erf(x / sqrt 2)).

    PyTorch's exporter writes x * (1 / 2 * (1 + erf(…))), which stays five passes over the widest
    tensors of a transformer (7 % of HTSAT-tiny's time on a CPU).

    Returns:
        how many were found.
    """
    halves = {i.name for i in graph.initializer if _is_half(i)}
    makers = {output: node for node in graph.node for output in node.output}
    uses = [name for node in graph.node for name in node.input]
    found = 0
    for node in graph.node:
        for at, name in enumerate(node.input if node.op_type == "Mul" else ()):
            inner = makers.get(name)
            if inner is None or inner.op_type != "Mul" or uses.count(name) != 1:
                continue
            half = [i for i in inner.input if i in halves]
            rest = [i for i in inner.input if i not in halves]
            if len(half) != 1 or not _is_one_plus_erf(makers, rest[0]):
                continue
            inner.input[:] = [node.input[1 - at], half[0]]
            node.input[:] = [name, rest[0]]
            found += 1
            break
    return found


def _is_half(initializer: onnx.TensorProto) -> bool:
    array = numpy_helper.to_array(initializer) if len(initializer.dims) == 0 else None
    return array is not None and float(array) == 0.5


def _is_one_plus_erf(makers: dict[str, onnx.NodeProto], name: str) -> bool:
    add = makers.get(name)
    if add is None or add.op_type != "Add":
        return False
    return any(i in makers and makers[i].op_type == "Erf" for i in add.input)


def opset17(model: onnx.ModelProto) -> None:
    """Rewrite a graph of a later opset in opset 17 and IR version 8, which TensorRT 8.6 reads.

    Raises:
        RuntimeError: the graph has operations that opset 17 lacks or that nobody has written a
            rule for (a bug of ours); they are named.
    """
    known = _Known(model)
    (imported,) = (i for i in model.opset_import if not i.domain)
    stuck: set[str] = set()
    for node in model.graph.node:
        since = _since(node, imported.version)
        if since != _since(node, OPSET):
            rule = _RULES.get((node.op_type, since))
            if rule is None or not rule(node, known):
                stuck.add(node.op_type)
    if stuck:
        raise RuntimeError(
            f"these operations cannot be written in opset {OPSET}: {sorted(stuck)}. Keep them out "
            "of the model, or add a rule for them to clap_export/export/passes.py."
        )
    drop_unused_initializers(model.graph)
    imported.version = OPSET
    model.ir_version = IR_VERSION


def drop_unused_initializers(graph: onnx.GraphProto) -> None:
    """Remove constants that no node reads any more, in place."""
    used = {name for node in graph.node for name in node.input}
    left = [i for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)


@dataclass(frozen=True)
class _Known:
    """What is known of a graph's tensors before it runs."""

    model: onnx.ModelProto

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """An initializer's numbers."""
        found = self._constants.get(name)
        return None if found is None else numpy_helper.to_array(found)

    def add(self, name: str, values: list[int]) -> str:
        """A new initializer of int64."""
        made = numpy_helper.from_array(np.array(values, np.int64), name)
        self.model.graph.initializer.append(made)
        return name

    def shape(self, name: str) -> list[int] | None:
        """Lengths of a tensor's axes, 0 for those that vary; None if nothing is known."""
        return self._shapes.get(name)

    @cached_property
    def _constants(self) -> dict[str, onnx.TensorProto]:
        return {i.name: i for i in self.model.graph.initializer}

    @cached_property
    def _shapes(self) -> dict[str, list[int]]:
        graph = onnx.shape_inference.infer_shapes(self.model).graph
        return {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }


# Rewrites a node in place; False if it cannot.
_Rule = Callable[[onnx.NodeProto, _Known], bool]


def _axes_to_attribute(node: onnx.NodeProto, known: _Known) -> bool:
    """Reductions: the axes were an attribute before they became an input."""
    given = _optional_input(node, 1)
    axes = known.constant(given) if given else np.array([], np.int64)
    identity = _take_attribute(node, "noop_with_empty_axes") == 1
    if axes is None or (identity and not axes.size):
        return False
    del node.input[1:]
    if axes.size:
        node.attribute.append(helper.make_attribute("axes", axes.tolist()))
    return True


def _pads_of_all_axes(node: onnx.NodeProto, known: _Known) -> bool:
    """Pad: it could not leave axes out."""
    given = _optional_input(node, 3)
    del node.input[3:]
    if not given:
        return True
    axes, pads = known.constant(given), known.constant(node.input[1])
    rank = len(known.shape(node.input[0]) or ())
    if axes is None or pads is None or not rank:
        return False
    full = np.zeros((2, rank), np.int64)
    full[:, axes.astype(np.int64)] = pads.reshape(2, -1)
    node.input[1] = known.add(f"{node.output[0]}_pads", full.ravel().tolist())
    return True


def _sizes_of_parts(node: onnx.NodeProto, known: _Known) -> bool:
    """Split: it was told the parts' lengths, not their number."""
    count = _take_attribute(node, "num_outputs")
    if count is None:
        return True
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    shape = known.shape(node.input[0])
    length = shape[axis] if shape else 0
    if not length:
        return False
    most = -(-length // count)  # the last part is the shorter one
    sizes = [most] * (count - 1) + [length - most * (count - 1)]
    node.input[1:] = [known.add(f"{node.output[0]}_sizes", sizes)]
    return True


_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSumSquare".split()
)
# By an operation and the opset that changed it.
_RULES: dict[tuple[str, int | None], _Rule] = {
    **{(name, 18): _axes_to_attribute for name in _REDUCTIONS},
    ("Pad", 18): _pads_of_all_axes,
    ("Split", 18): _sizes_of_parts,
}


def _since(node: onnx.NodeProto, version: int) -> int | None:
    """The opset that defines a node's operation as it is in a version; None if it is not there."""
    if not onnx.defs.has(node.op_type, version, node.domain):
        return None
    return onnx.defs.get_schema(node.op_type, version, node.domain).since_version


def _optional_input(node: onnx.NodeProto, at: int) -> str:
    return node.input[at] if len(node.input) > at else ""


def _take_attribute(node: onnx.NodeProto, name: str) -> int | None:
    """An integer attribute, removed from its node."""
    found = next((a for a in node.attribute if a.name == name), None)
    if found is None:
        return None
    node.attribute.remove(found)
    return found.i
