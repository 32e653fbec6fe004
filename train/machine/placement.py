"""What a step needs on the device, sent there in passing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def send(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """A tensor on the device, of the values' type.

    A plain ``to`` would first wait until a GPU has done everything that it was given, and leave it
    with nothing to do while the CPU prepares what comes next.
    """
    return torch.as_tensor(values).to(device, non_blocking=True)
