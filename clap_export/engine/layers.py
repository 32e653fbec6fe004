"""What types an engine computes in. Builders that were asked for FP16 in vain say nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from runtime.manifest import LOG_MEL

# Layers whose products make the cost of an encoder.
PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION")
SHARE = 0.9  # of the encoder's products; HTSAT's stretch of the decibels stays in FP32
# TensorRT 8.6 writes "Row major linear FP16 format", later ones "Half"; BFloat16 is neither.
_HALF = re.compile(r"\b(half|fp16|float16)\b", re.IGNORECASE)
_FLOAT = re.compile(r"\b(float|fp32|float32)\b", re.IGNORECASE)


def of_network(network: Any) -> dict[str, int]:
    """Number of layers that put out each type, as they were parsed, such as ``HALF``."""
    return _kinds(_layers(network))


def of_frontend(network: Any) -> dict[str, int]:
    """As :func:`of_network`, of the layers that make the log-mel spectrogram; empty for texts."""
    return _kinds(_layers(network)[: _encoder_start(network)])


def half_products(network: Any) -> float:
    """Share of the encoder's matrix products and convolutions that are in FP16; 0 without any."""
    encoder = _layers(network)[_encoder_start(network) :]
    kinds = [layer.get_output(0).dtype.name for layer in encoder if layer.type.name in PRODUCTS]
    return kinds.count("HALF") / len(kinds) if kinds else 0.0


def of_engine(report: str) -> dict[str, int]:
    """Number of an engine's layers that put out each type: ``HALF``, ``FLOAT`` or ``other``.

    Args:
        report: the engine inspector's JSON, of an engine with detailed profiling verbosity.
    """
    found: Counter[str] = Counter()
    for layer in json.loads(report).get("Layers", []):
        outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
        for output in outputs[:1]:
            said = str(output.get("Format/Datatype", ""))
            half, full = _HALF.search(said), _FLOAT.search(said)
            found["HALF" if half else "FLOAT" if full else "other"] += 1
    return dict(sorted(found.items()))


def _layers(network: Any) -> list[Any]:
    return [network.get_layer(i) for i in range(network.num_layers)]


def _kinds(layers: list[Any]) -> dict[str, int]:
    found = Counter(layer.get_output(0).dtype.name for layer in layers if layer.num_outputs)
    return dict(sorted(found.items()))


def _encoder_start(network: Any) -> int:
    """Index of the first layer behind the log-mel spectrogram; parsers keep the graph's order."""
    for i, layer in enumerate(_layers(network)):
        if LOG_MEL in (layer.get_output(j).name for j in range(layer.num_outputs)):
            return i + 1
    return 0
