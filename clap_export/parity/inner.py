"""An inner tensor of an ONNX graph as one more output, without the onnx package; and the log-mel
spectrogram, which is one.

Protocol buffers that are concatenated are merged: messages field by field, lists by appending. A
model followed by a model that holds one output alone is thus the first with that output.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from runtime.audio_graph import graph_inputs
from runtime.backends import open_backend
from runtime.manifest import LOG_MEL

if TYPE_CHECKING:
    from runtime.bundle import Bundle

AUDIBLE = 80.0  # dB below the loudest bin of a window
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


def spectrograms(
    bundle: Bundle, batches: Iterable[np.ndarray], providers: Sequence[str]
) -> list[np.ndarray]:
    """The log-mel inside a bundle's audio graph, as an engine computes it there.

    Args:
        bundle: an open one.
        batches: windows of clips, each as :meth:`Encoder.windows_of` gives them.
        providers: to run on.

    Returns:
        for each batch float32 ``[windows, …]``, in decibels.

    Raises:
        BackendError: a provider is not available.
    """
    graph, spec = bundle.manifest.audio_graph, bundle.manifest.audio
    model = with_output(bundle.graph(graph)[0].data, LOG_MEL)
    backend = open_backend(model, providers, bfloat16=graph.bfloat16)
    try:
        return [backend.run(graph_inputs(batch, spec))[LOG_MEL] for batch in batches]
    finally:
        backend.close()


def decibels_apart(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of two spectrograms, where the wanted one can be heard."""
    audible = wanted >= wanted.max(axis=(-2, -1), keepdims=True) - AUDIBLE
    return float(np.abs(found - wanted)[audible].max())
