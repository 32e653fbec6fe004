"""A head whose scores can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from runtime.head import About, Head, digest
from runtime.labels import LabelBank
from tests.tiny.bundle import DIM

NAMES = ("whirr", "hum", "knock")
SCALES = np.array([3.0, 0.5, 12.0], np.float32)
BIASES = np.array([-0.5, 0.25, 1.0], np.float32)


def head(scores: Any = "softmax", space: str = "tiny-space") -> LabelBank:
    """Random directions with the scales and biases above."""
    rows = np.random.default_rng(11).standard_normal((len(NAMES), DIM))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return of(LabelBank(NAMES, (), rows, space), scores)


def of(bank: LabelBank, scores: Any = "softmax") -> LabelBank:
    """A head with the directions of a bank of three labels."""
    rows = np.array(bank.embeddings)
    about = About(
        scores, f"{bank.space_id}/default", 9, (3, 3, 3), 10.0, "none", None, {"by": "hand"},
        digest(rows, SCALES, BIASES),
    )  # fmt: skip
    return replace(bank, templates=(), head=Head(SCALES, BIASES, about))


def logits(bank: LabelBank, embedding: np.ndarray) -> np.ndarray:
    """Float64 ``[labels]``, the slow way."""
    return np.array([
        float(scale) * sum(float(a) * float(b) for a, b in zip(row, embedding, strict=True)) + bias
        for row, scale, bias in zip(bank.embeddings, SCALES.tolist(), BIASES.tolist(), strict=True)
    ])  # fmt: skip
