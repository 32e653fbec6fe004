"""YAMNet's weights from TensorFlow's files, without TensorFlow."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from clap_export.model.yamnet import LAYERS
from runtime.errors import ClapError
from runtime.files import writing
from train.tagger.tensor_bundle import TensorBundle
from train.tagger.yamnet import KIND, Yamnet

BATCH_NORM_EPSILON = 1e-4
CLASS_MAP = "assets/yamnet_class_map.csv"
# Keras counts the layers that have weights: a convolution, its BatchNorm, …, the classifier.
_VARIABLE = re.compile(
    r".*layer_with_weights-(?P<layer>\d+)/"
    r"(?P<name>kernel|depthwise_kernel|beta|moving_mean|moving_variance|bias)/\.ATTRIBUTES/.*"
)


def convert(source: Path, out: Path) -> None:
    """Write ``out`` from a SavedModel's folder, whose code is not run.

    Raises:
        ClapError: not a SavedModel of YAMNet, or ``out`` cannot be written.
    """
    network = read(source)
    content = save(network.state_dict(), {"kind": KIND, "labels": json.dumps(network.labels)})
    with writing(out) as part:
        part.write_bytes(content)


def read(source: Path) -> Yamnet:
    """The network in a SavedModel's folder, whose code is not run.

    Raises:
        ClapError: not a SavedModel of YAMNet.
    """
    network = Yamnet(_labels(source / CLASS_MAP))
    try:
        network.load_state_dict(fold(_variables(source)))
    except (ValueError, RuntimeError) as error:  # of numpy and torch: shapes of another network
        raise ClapError(f"{source} is no YAMNet: {' '.join(str(error).split())}") from error
    return network.eval().requires_grad_(False)


def fold(variables: Mapping[tuple[int, str], np.ndarray]) -> dict[str, torch.Tensor]:
    """The state of a :class:`Yamnet`.

    Args:
        variables: by number of the layer among those with weights, and name.

    Raises:
        ClapError: variables that are missing or not known (all are listed).
    """
    rest = dict(variables)
    missing: list[str] = []

    def take(layer: int, name: str) -> np.ndarray:
        if (layer, name) not in rest:
            missing.append(f"{layer}/{name}")
            return np.zeros((1, 1, 1, 1), np.float32)
        return rest.pop((layer, name))

    state: dict[str, torch.Tensor] = {}
    convolutions = 2 * len(LAYERS) - 1
    for i in range(convolutions):
        depthwise = i % 2 == 1
        kernel = take(2 * i, "depthwise_kernel" if depthwise else "kernel")
        # Height, width, in, out; of a depthwise one: height, width, channels, 1.
        weight = kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).astype(np.float64)
        deviation = np.sqrt(take(2 * i + 1, "moving_variance") + BATCH_NORM_EPSILON)
        beta, mean = take(2 * i + 1, "beta"), take(2 * i + 1, "moving_mean")
        weight = weight / deviation.reshape(-1, 1, 1, 1)
        state[f"convolutions.{i}.weight"] = torch.from_numpy(weight.astype(np.float32))
        state[f"convolutions.{i}.bias"] = torch.from_numpy((beta - mean / deviation).ravel())
    state["classifier.weight"] = torch.from_numpy(take(2 * convolutions, "kernel").T.copy())
    state["classifier.bias"] = torch.from_numpy(take(2 * convolutions, "bias"))
    if missing or rest:
        strange = [f"{layer}/{name}" for layer, name in rest]
        raise ClapError(
            f"this is no YAMNet: missing {', '.join(missing) or 'nothing'}; unexpected "
            f"{', '.join(strange) or 'nothing'}."
        )
    return state


def _variables(source: Path) -> dict[tuple[int, str], np.ndarray]:
    bundle = TensorBundle(source / "variables" / "variables")
    matches = map(_VARIABLE.fullmatch, bundle)
    return {
        (int(match["layer"]), match["name"]): bundle.read(match.string)
        for match in matches
        if match is not None
    }


def _labels(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            labels = [row["display_name"] for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise ClapError(f"{path}, the names of its classes, cannot be read ({error}).") from error
    if not labels or not all(labels):
        raise ClapError(f"{path} does not name a class in every row.")
    return labels
