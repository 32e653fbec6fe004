"""bfloat16 on OpenVINO, for an encoder body and nothing else.

bfloat16 has the range of float32 and eight bits of its mantissa: a power spectrum in it is off by
20 dB where a loud bin lies beside a quiet one. A CPU computes products in it two to three times as
quickly. OpenVINO takes one precision for a whole model, and marks on single operations are lost
when it fuses them. So a graph is run as two models: what no 2-D convolution comes before, which is
the mel frontend, in float32; the rest in bfloat16, which reads the first one's results where they
lie. OpenVINO itself keeps the L2 norm at the end in float32, and sums inside normalisations and
softmax.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from runtime.backends import signal_stack

# Variables that keep its kernels to older instruction sets, and the sets that have no bfloat16. It
# fails on them if it is told to compute in it.
CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
WITHOUT = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
CONVOLUTIONS = ("Convolution", "GroupConvolution")
ROUNDING = "FakeQuantize"  # of activations: the frontend has none
IMAGE = 4  # axes of what a 2-D convolution takes


def missing(openvino: Any) -> str:
    """Why nothing is computed in bfloat16 here; empty where it is.

    Args:
        openvino: the module.
    """
    cap = next(filter(None, map(os.environ.get, CAPS)), "")
    if cap.upper() in WITHOUT:
        return f"the environment keeps OpenVINO to {cap}, which has no bfloat16"
    with signal_stack.kept():
        core = openvino.Core()
        # Its own choice: among its capabilities it names bfloat16 also where it would emulate it.
        if core.get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16:
            return ""
        return f"this CPU has no bfloat16 ({core.get_property('CPU', 'FULL_DEVICE_NAME')})"


@dataclass(frozen=True)
class Parts:
    """A model in two.

    Attributes:
        frontend: in float32; None of a graph that has none, such as a text graph.
        encoder: in bfloat16. Its inputs are the frontend's first outputs, in their order.
    """

    frontend: Any | None
    encoder: Any

    @property
    def in_order(self) -> list[tuple[Any, str]]:
        """The models as they follow each other, and the precision of each."""
        before = [] if self.frontend is None else [(self.frontend, "f32")]
        return [*before, (self.encoder, "bf16")]


def split(openvino: Any, model: Any) -> Parts:
    """Divide a model before its first 2-D convolutions.

    Args:
        openvino: the module.
        model: as OpenVINO read it; it is taken apart.
    """
    operations: list[Any] = model.get_ordered_ops()
    body, constant = _body(operations), _constant(operations)
    if not body:
        return Parts(None, model)
    cuts: dict[tuple[str, int], tuple[Any, Any]] = {}
    for operation in operations:
        if operation.get_name() not in body:
            continue
        for i in range(operation.get_input_size()):
            source = operation.input_value(i)
            name = source.get_node().get_name()
            if name in body or name in constant:
                continue
            if (name, source.get_index()) not in cuts:
                shape, kind = source.get_partial_shape(), source.get_element_type()
                entry = openvino.op.Parameter(kind, shape)
                cuts[name, source.get_index()] = source, entry
            entry = cuts[name, source.get_index()][1]
            operation.input(i).replace_source_output(entry.output(0))
    results: list[Any] = model.get_results()
    inside = [r for r in results if r.get_name() in body]
    before = [r.input_value(0) for r in results if r.get_name() not in body]
    frontend = [source for source, _ in cuts.values()] + before
    return Parts(
        openvino.Model(frontend, model.get_parameters(), "frontend"),
        openvino.Model(inside, [entry for _, entry in cuts.values()], "encoder"),
    )


def _body(operations: list[Any]) -> set[str]:
    """Names of the 2-D convolutions, of the rounding to integers before one, and of all that comes
    after; none of a graph without them."""
    if not any(map(_is_convolution, operations)):
        return set()
    found: set[str] = set()
    for operation in operations:
        sources = [operation.input_value(i) for i in range(operation.get_input_size())]
        first = _is_convolution(operation) or operation.get_type_name() == ROUNDING
        if first or any(source.get_node().get_name() in found for source in sources):
            found.add(operation.get_name())
    return found


def _is_convolution(operation: Any) -> bool:
    kind = operation.get_type_name()
    return kind in CONVOLUTIONS and len(operation.get_input_partial_shape(0)) == IMAGE


def _constant(operations: list[Any]) -> set[str]:
    """Names of what depends on no input; both models may have it."""
    found: set[str] = set()
    for operation in operations:
        sources = [operation.input_value(i) for i in range(operation.get_input_size())]
        if operation.get_type_name() != "Parameter" and all(
            source.get_node().get_name() in found for source in sources
        ):
            found.add(operation.get_name())
    return found
