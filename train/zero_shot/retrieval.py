"""Recall and mAP@10 from captions to recordings and back."""

from __future__ import annotations

import numpy as np

DEPTHS = (1, 5, 10)


def text_to_audio(text: np.ndarray, audio: np.ndarray, owner: np.ndarray) -> dict[str, float]:
    """Each caption looks for its recording.

    Args:
        text: unit vectors ``[captions, dim]``.
        audio: unit vectors ``[clips, dim]``.
        owner: ``[captions]``, the clip that each caption describes.

    Returns:
        ``R@1``, ``R@5``, ``R@10`` and ``mAP@10``: one clip is right, so the average precision of a
        caption is 1 / rank, or 0 below rank 10.
    """
    similarity = text @ audio.T
    right = owner[:, None] == np.arange(len(audio))
    return _measures(similarity, right)


def audio_to_text(text: np.ndarray, audio: np.ndarray, owner: np.ndarray) -> dict[str, float]:
    """Each recording looks for its captions; any of them counts for recall.

    Average precision at 10 is divided by the number of captions, at most 10, so that all of them
    first give 1. The arguments are those of :func:`text_to_audio`.
    """
    similarity = audio @ text.T
    right = np.arange(len(audio))[:, None] == owner
    return _measures(similarity, right)


def _measures(similarity: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Of queries ``[queries, candidates]``, each with at least one right candidate."""
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : max(DEPTHS)]
    hits = np.take_along_axis(right, order, axis=1)
    found = {f"R@{k}": float(hits[:, :k].any(axis=1).mean()) for k in DEPTHS}
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    possible = np.minimum(right.sum(axis=1), max(DEPTHS))
    found["mAP@10"] = float(((precision * hits).sum(axis=1) / possible).mean())
    return found
