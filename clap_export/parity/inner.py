"""An inner tensor of an ONNX graph as one more output, without the onnx package.

Protocol buffers that are concatenated are merged: messages field by field, lists by appending. A
model followed by a model that holds one output alone is thus the first with that output.
"""

from __future__ import annotations

# Field numbers of onnx.proto, each of wire type 2: a length, then the bytes.
_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 7, 12, 1


def with_output(model: bytes, name: str) -> bytes:
    """A serialised graph that gives the tensor ``name`` too."""
    added = name.encode("utf-8")
    for field in (_VALUE_NAME, _GRAPH_OUTPUT, _MODEL_GRAPH):
        if len(added) > 127:
            raise ValueError(f"{name!r} is too long for a length of one byte")
        added = bytes([field << 3 | 2, len(added)]) + added
    return model + added
