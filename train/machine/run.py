"""What every part of a run needs to know: its config, its device, and the other processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from train.machine import random_streams
from train.machine.device import send
from train.machine.distributed import ALONE, Ranks
from train.machine.random_streams import Place


class Seeded(Protocol):
    """A config with a seed."""

    @property
    def seed(self) -> int:
        """At least 0."""
        ...


C = TypeVar("C", bound=Seeded, covariant=True)


@dataclass(frozen=True)
class Run(Generic[C]):
    """One process of a run.

    Attributes:
        config: what was asked for.
        device: where this process computes.
        ranks: this process among all of them.
    """

    config: C
    device: torch.device
    ranks: Ranks = ALONE

    @property
    def seed(self) -> int:
        """Of all random numbers."""
        return self.config.seed

    def generator(self, *place: Place) -> np.random.Generator:
        """Random numbers for a place in the run; see :func:`random_streams.generator`."""
        return random_streams.generator(self.seed, *place)

    def seed_torch(self, *place: Place) -> None:
        """Start PyTorch's own generators for a place in the run."""
        random_streams.seed_torch(self.seed, *place)

    def send(self, values: np.ndarray | Tensor) -> Tensor:
        """A tensor on the device."""
        return send(values, self.device)
