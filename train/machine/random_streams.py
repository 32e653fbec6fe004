"""Random numbers that belong to a place in the run, so that none need to be saved or sent."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

Place = int | str


def generator(seed: int, *place: Place) -> np.random.Generator:
    """Independent numbers for each place, such as (epoch, step, "texts"), on every process alike.

    Args:
        seed: of the run.
        place: numbers from 0 to below 2**32, and names for what the numbers are used for.

    Raises:
        ValueError: a larger number: numpy would take it for two.
    """
    # The place is a key and no entropy. numpy fills entropy up with zeros: as a plain tuple of
    # seeds, (7, 1, 2) and (7, 1, 2, 0) would give the same numbers.
    if any(isinstance(part, int) and not 0 <= part < 2**32 for part in place):
        raise ValueError(f"{place} is no place: numbers must be from 0 to below 2**32")
    key = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in place]
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def seed_weights(seed: int) -> None:
    """Start PyTorch's own generators for the fresh weights of a run."""
    torch.manual_seed(seed)


@contextmanager
def seeded_apart(seed: int, device: torch.device) -> Iterator[None]:
    """PyTorch's own generators, seeded for a block alone: after it they go on as if it had not
    been."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)
        yield


def seed_torch(seed: int, *place: Place) -> None:
    """Start PyTorch's own generators (dropout, masks) for a place."""
    torch.manual_seed(int(generator(seed, *place).integers(2**62)))
