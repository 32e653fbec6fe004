"""Which texts a batch's clips choose from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from train.contrastive.captions import CaptionBank


def candidates(
    labels: np.ndarray, bank: CaptionBank, negatives: int, rng: np.random.Generator
) -> tuple[list[int], Tensor]:
    """One text for each label of the batch, then texts of other labels; and who fits whom.

    Args:
        labels: ``[clips]`` indices into the bank's labels.
        bank: all texts.
        negatives: texts of other labels, if there are so many.
        rng: source of randomness.

    Returns:
        Text indices, those of the batch first, and ``[clips, texts]`` one-hot targets.
    """
    present, position = np.unique(labels, return_inverse=True)
    others = np.setdiff1d(np.arange(len(bank.labels)), present)
    others = rng.permutation(others)[:negatives]
    chosen = [bank.draw(int(label), rng) for label in (*present, *others)]
    target = torch.zeros(len(labels), len(chosen))
    target[torch.arange(len(labels)), torch.from_numpy(position)] = 1.0
    return chosen, target
