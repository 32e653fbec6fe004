"""Heads with the directions of a kit's labels; how they were learned is invented."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from clap_export.conformance.subject import Subject
from runtime.head import About, Figures, Head, digest
from runtime.labels import LabelBank

Kind = Literal["softmax", "multilabel"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# No label's scale and bias are another's: exchanged ones give other scores.
SCALES, BIAS, STEP = (8.0, 20.0, 14.0, 11.0, 17.0), -3.0, 0.75


def made(subject: Subject, kind: Kind) -> LabelBank:
    """A head with the subject's labels."""
    bank = subject.bank
    rows, count = np.array(bank.embeddings), len(bank)
    scales = np.resize(np.array(SCALES, np.float32), count)
    biases = (BIAS + STEP * (np.arange(count) % 4)).astype(np.float32)
    figures = Figures(5, "sha256", 0.75, 0.5, (0.5,) * count, 1.25, 1.5, 0.125)
    about = About(
        kind, subject.manifest.policy.clip_space_id(bank.space_id, subject.manifest.audio),
        7 * count, (7,) * count, 10.0, "temperature" if kind == "softmax" else "platt",
        figures, {"clap-export": "invented"}, digest(rows, scales, biases),
    )  # fmt: skip
    return LabelBank(bank.names, (), rows, bank.space_id, head=Head(scales, biases, about))


def saturated(head: LabelBank) -> LabelBank:
    """With biases beyond what a probability can tell apart: of all labels it is 1."""
    assert head.head is not None
    rows, count = np.array(head.embeddings), len(head)
    biases = (1e5 * (1 + np.arange(count))).astype(np.float32)  # the last label comes first
    scales = np.full(count, 1e3, np.float32)
    about = replace(head.head.about, sha256=digest(rows, scales, biases))
    return replace(head, head=Head(scales, biases, about))
