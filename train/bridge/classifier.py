"""A tagger's file: its network, and the classifier that tells its tags."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from clap_export.checkpoints.state import State
from clap_export.checkpoints.weights import read_file
from clap_export.checkpoints.wrappers import find
from runtime.errors import ClapError


def network(path: Path, name: str, marks: tuple[str, ...], classifier: str) -> State:
    """The state dict in a file, whatever its training wrapped around it.

    Args:
        path: the file.
        name: of the network, for the message.
        marks: beginnings of names that it has.
        classifier: what tells its tags, for the message.

    Raises:
        ClapError: there is no file, or no such network in it.
    """
    if not path.is_file():
        raise ClapError(f"tagger.weights {path} does not exist.")
    weights = read_file(path)
    inside = find(weights.where, weights.data, {"tagger": marks})
    if inside is None:
        raise ClapError(
            f"tagger.weights {path} holds no {name} with its classifier ({classifier}): without "
            "it there are no tags."
        )
    return inside[1]


def head(state: State, name: str) -> dict[str, Tensor]:
    """A linear classifier, or a convolution ``[tags, width, ...]`` as one.

    Raises:
        ClapError: it is not there, or has no width.
    """
    state.size(f"{name}.weight", 1)
    weight, bias = state[f"{name}.weight"].flatten(1), state.get(f"{name}.bias")
    bias = torch.zeros(len(weight)) if bias is None else bias
    return {"bridge.head.weight": weight.contiguous(), "bridge.head.bias": bias}
