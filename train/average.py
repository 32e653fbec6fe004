"""Checkpoints of one course, averaged weight by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from clap_export.checkpoints import Checkpoint, load, native
from runtime.errors import ClapError


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of checkpoints that went on from one another, or from one start.

    Along the way between such models the loss stays low, and their mean is often better than each
    of them, at the cost of one ("model soups", Wortsman et al. 2022, arXiv 2203.05482). The
    calibration is the first one's; ``python -m train calibrate`` fits the mean's own.

    Args:
        paths: at least two, of one architecture, preprocessing and tokenizer.
        out: the checkpoint to write, in the first one's name.

    Raises:
        ClapError: fewer than two, or models that are not alike (all are named).
    """
    if len(paths) < 2:
        raise ClapError(f"{len(paths)} checkpoint to average: give at least two.")
    first, *others = (load(path) for path in paths)
    strange = [
        str(path)
        for path, other in zip(paths[1:], others, strict=True)
        if _shape(other) != _shape(first)
    ]
    if strange:
        raise ClapError(
            f"{', '.join(strange)}: not of the architecture, preprocessing and tokenizer of "
            f"{paths[0]}; only models of one course can be averaged."
        )
    state = first.model.state_dict()
    theirs = [other.model.state_dict() for other in others]
    for name, value in state.items():
        if value.is_floating_point():  # counts of batches stay the first one's
            alike = torch.stack([value, *(other[name] for other in theirs)])
            state[name] = alike.double().mean(dim=0).to(value.dtype)
    first.model.load_state_dict(state)
    native.save(out, first.model, first.tokenizer)


def _shape(checkpoint: Checkpoint) -> tuple[object, str]:
    return replace(checkpoint.model.config, calibration=None), checkpoint.tokenizer
