"""Heads trained on frozen embeddings: the paper's one or three fully connected layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

# Appendix C of the paper gives Adam, this rate and these epochs, and no batch size: 64 is ours.
LEARNING_RATE = 1e-3
EPOCHS = 30
BATCH = 64
HIDDEN = 512
# Adam takes steps of about its learning rate: a data set of a few batches would end before the
# head has moved. No head is trained for fewer steps than this.
LEAST_STEPS = 1000


def fit_predict(
    train: np.ndarray, right: np.ndarray, test: np.ndarray, *, deep: bool, several: bool, seed: int
) -> np.ndarray:
    """Train a head and apply it.

    Inputs are standardised by the training set's mean and deviation: the entries of unit vectors
    are small, and the paper's rate is for features of the encoder's own scale.

    Args:
        train: embeddings ``[clips, dim]``.
        right: ``[clips, labels]`` bool.
        test: embeddings ``[others, dim]``.
        deep: three layers instead of one.
        several: a clip may have several labels: binary cross-entropy instead of softmax.
        seed: of the first weights and the order of the clips.

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
        return _train_and_apply(x, y, z, deep, several, seed)
    finally:
        torch.set_num_threads(threads)


def _train_and_apply(
    x: Tensor, y: Tensor, z: Tensor, deep: bool, several: bool, seed: int
) -> np.ndarray:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = make_head(x.shape[1], y.shape[1], deep)
        optimiser = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE, fused=True)
        per_epoch = -(-len(x) // BATCH)
        for _ in range(max(EPOCHS, -(-LEAST_STEPS // per_epoch))):
            for chosen in torch.randperm(len(x)).split(BATCH):
                optimiser.zero_grad()
                loss(head(x[chosen]), y[chosen], several).backward()
                optimiser.step()
    with torch.inference_mode():
        return head.eval()(z).numpy()


def make_head(width: int, labels: int, deep: bool) -> nn.Module:
    """One fully connected layer, or three with ReLU between them."""
    if not deep:
        return nn.Linear(width, labels)
    return nn.Sequential(
        nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, labels),
    )  # fmt: skip


def loss(logits: Tensor, right: Tensor, several: bool) -> Tensor:
    """Cross-entropy of logits and truth ``[clips, labels]``; see :func:`fit_predict`."""
    if several:
        return nn.functional.binary_cross_entropy_with_logits(logits, right)
    return nn.functional.cross_entropy(logits, right)
