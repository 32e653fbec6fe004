"""What values the tensors of a graph take, seen on real inputs, and how they are best quantised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from runtime.backends import open_backend

KEPT = 4096  # values kept of a tensor and input
# Shares of the observed range that are tried. What lies outside is clipped: a few outliers are
# often worth less than finer steps for all the rest.
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True)
class Steps:
    """Affine uint8 quantisation: ``value = scale * (q - zero_point)``."""

    scale: float
    zero_point: int


def observe(
    model: onnx.ModelProto, names: Iterable[str], feeds: Iterable[dict[str, Any]]
) -> dict[str, Steps]:
    """Run a graph and choose steps for its inner tensors.

    Args:
        model: FP32 graph; not changed.
        names: of the tensors.
        feeds: inputs of one run each.

    Returns:
        for each tensor the steps with the least mean square error over all runs.
    """
    names = list(dict.fromkeys(names))
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    there = {output.name for output in model.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in there)
    backend = open_backend(opened.SerializeToString())
    rng = np.random.default_rng(0)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    try:
        for feed in feeds:
            found = {**feed, **backend.run(feed)}
            for name in names:
                values = np.asarray(found[name], np.float32).ravel()
                some = values if len(values) <= KEPT else rng.choice(values, KEPT, replace=False)
                kept[name].append(np.append(some, [values.min(), values.max()]))
    finally:
        backend.close()
    return {name: choose(np.concatenate(values)) for name, values in kept.items()}


def choose(values: np.ndarray) -> Steps:
    """The steps of least mean square error, over shares of the values' range that hold zero."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        return Steps(1.0, 0)  # all zero
    tried: list[tuple[float, Steps]] = []
    for share in SHARES:
        scale = share * (high - low) / 255
        zero_point = round(-share * low / scale)
        steps = np.clip(np.rint(values / scale) + zero_point, 0, 255)
        error = values - scale * (steps - zero_point)
        noise = float(np.square(error, dtype=np.float64).mean())
        tried.append((noise, Steps(float(np.float32(scale)), zero_point)))
    return min(tried, key=lambda pair: pair[0])[1]
