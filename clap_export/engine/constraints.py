"""Types for TensorRT 8.6, which does not take them from the ONNX: every layer is told its own."""

from __future__ import annotations

from typing import Any

from runtime.errors import ClapError


def constrain(trt: Any, network: Any, graph: bytes) -> int:
    """Hold every layer of a parsed network to the type that its output has in the ONNX.

    The parser makes several layers of some operations, and only the last has the ONNX's name for
    its output; the ones before it are held to the same type. Were they not, the frontend's
    convolution (which ends in an unnamed layer) could become FP16, and overflow. Constants, whose
    type is that of their weights, and layers of integers and of shapes are left alone.

    Args:
        trt: the module.
        network: parsed from the graph.
        graph: the ONNX file's content.

    Returns:
        how many layers were held.

    Raises:
        ClapError: onnx, which reads the types, is not installed.
    """
    kinds = {"float": trt.float32, "half": trt.float16}
    types = tensor_types(graph)
    kind = None
    held = 0
    for i in reversed(range(network.num_layers)):
        layer = network.get_layer(i)
        outputs = [layer.get_output(j) for j in range(layer.num_outputs)]
        kind = next((kinds[types[out.name]] for out in outputs if out.name in types), kind)
        real = [
            j
            for j, out in enumerate(outputs)
            if out.dtype in kinds.values() and not out.is_shape_tensor
        ]
        if kind is None or not real or layer.type == trt.LayerType.CONSTANT:
            continue
        layer.precision = kind
        for j in real:
            layer.set_output_type(j, kind)
        held += 1
    return held


def tensor_types(graph: bytes) -> dict[str, str]:
    """``float`` or ``half`` of every tensor that a node of the graph puts out in one of them."""
    try:
        import onnx  # noqa: TID251 - for TensorRT 8.6 alone; later ones read the types themselves
    except ImportError as error:
        raise ClapError(
            "TensorRT 8.6 must be told the type of each layer, which needs the onnx package: "
            "pip install onnx"
        ) from error
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(graph), strict_mode=True)
    names: dict[int, str] = {onnx.TensorProto.FLOAT: "float", onnx.TensorProto.FLOAT16: "half"}
    values = (*model.graph.value_info, *model.graph.output)
    found = {value.name: names.get(value.type.tensor_type.elem_type) for value in values}
    return {name: kind for name, kind in found.items() if kind is not None}
