"""Accuracy, average precision and F1, with their intervals and rules for ties."""

from __future__ import annotations

import numpy as np


def accuracy(scores: np.ndarray, right: np.ndarray) -> float:
    """Share of clips whose best label is right; the first of equal labels counts.

    Args:
        scores: ``[clips, labels]``.
        right: ``[clips, labels]`` bool.
    """
    return float(right[np.arange(len(right)), scores.argmax(axis=1)].mean())


def best_label(scores: np.ndarray) -> np.ndarray:
    """Rule for F1 without training: each clip is given its best label alone, ``[clips, labels]``.

    Cosines have no natural threshold, and one chosen on the test clips would be fitted to them.
    """
    said = np.zeros(scores.shape, bool)
    said[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return said


def more_likely_than_not(logits: np.ndarray) -> np.ndarray:
    """Rule for F1 of a trained head: every label with a probability of at least one half."""
    return logits >= 0


def micro_f1(said: np.ndarray, right: np.ndarray) -> float:
    """F1 of all decisions together (DCASE's overall F1): 2 TP / (2 TP + FP + FN)."""
    return _f1(float((said & right).sum()), float(said.sum()), float(right.sum()))


def macro_f1(said: np.ndarray, right: np.ndarray) -> float:
    """Mean F1 of the labels that have a clip; a label never said scores 0."""
    scores = [
        _f1(float((said[:, i] & right[:, i]).sum()), float(said[:, i].sum()), float(n))
        for i, n in enumerate(right.sum(axis=0))
        if n
    ]
    return float(np.mean(scores)) if scores else 0.0


def _f1(hits: float, said: float, right: float) -> float:
    return 2 * hits / (said + right) if said + right else 0.0
