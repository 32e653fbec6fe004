"""Heads trained on frozen embeddings: the paper's one or three fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from train.machine.random_streams import seeded_apart

# Appendix C of the paper gives Adam, this rate and these epochs, and no batch size: 64 is ours.
LEARNING_RATE = 1e-3
EPOCHS = 30
BATCH = 64
HIDDEN = 512
# Adam takes steps of about its learning rate: a data set of a few batches would end before the
# head has moved. No head is trained for fewer steps than this.
LEAST_STEPS = 1000


@dataclass(frozen=True)
class Head:
    """What is trained on embeddings.

    Attributes:
        deep: three layers instead of one.
        several: a clip may have several labels: binary cross-entropy instead of softmax.
        seed: of the first weights and the order of the clips.
    """

    deep: bool = False
    several: bool = False
    seed: int = 0

    def make(self, width: int, labels: int) -> nn.Module:
        """One fully connected layer, or three with ReLU between them."""
        if not self.deep:
            return nn.Linear(width, labels)
        return nn.Sequential(
            nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, labels),
        )  # fmt: skip

    def loss(self, logits: Tensor, right: Tensor) -> Tensor:
        """Cross-entropy of logits and truth, ``[clips, labels]`` float32 each."""
        if self.several:
            return nn.functional.binary_cross_entropy_with_logits(logits, right)
        return nn.functional.cross_entropy(logits, right)


def fit_predict(train: np.ndarray, right: np.ndarray, test: np.ndarray, head: Head) -> np.ndarray:
    """Train a head and apply it.

    Inputs are standardised by the training set's mean and deviation: the entries of unit vectors
    are small, and the paper's rate is for features of the encoder's own scale.

    Args:
        train: embeddings ``[clips, dim]``.
        right: ``[clips, labels]`` bool.
        test: embeddings ``[others, dim]``.
        head: to train.

    Returns:
        logits ``[others, labels]`` float32.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = 1 / np.maximum(deviation, 1e-6 * max(float(deviation.max()), 1e-6))
    x, y, z = (
        torch.from_numpy(array.astype(np.float32))
        for array in ((train - mean) * scale, right, (test - mean) * scale)
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the matrices are too small to share
    try:
        return _train_and_apply(x, y, z, head)
    finally:
        torch.set_num_threads(threads)


def _train_and_apply(x: Tensor, y: Tensor, z: Tensor, head: Head) -> np.ndarray:
    with seeded_apart(head.seed, x.device):
        layers = head.make(x.shape[1], y.shape[1])
        optimiser = torch.optim.Adam(layers.parameters(), lr=LEARNING_RATE, fused=True)
        per_epoch = -(-len(x) // BATCH)
        for _ in range(max(EPOCHS, -(-LEAST_STEPS // per_epoch))):
            for chosen in torch.randperm(len(x)).split(BATCH):
                optimiser.zero_grad()
                head.loss(layers(x[chosen]), y[chosen]).backward()
                optimiser.step()
    with torch.inference_mode():
        return layers.eval()(z).numpy()
