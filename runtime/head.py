"""A head: labels learned from examples, in place of texts.

To the cosines it is a label bank: each label has a direction in the embedding space. What makes
them scores was learned with them: a scale and a bias for each label, calibrated on recordings that
the fit had not seen. ``clap-export head`` makes one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.schema import Text, Within

Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Within(0, 1e30)]
Count = Annotated[int, Within(0, 1 << 53)]
MOST_NAME = 255  # characters
Name = Annotated[str, Text(MOST_NAME)]


@dataclass(frozen=True)
class Figures:
    """What a head gave to recordings that it was not fitted on, each in its turn.

    Attributes:
        folds: parts that took turns.
        grouped_by: what stays in one part: ``sha256`` for copies, or a column of the labels' file.
        accuracy: share of recordings whose best label is a right one.
        average_precision: mean over the labels.
        of_labels: average precision of each label.
        log_loss: of a recording, in nats; with several labels, of a label of a recording.
        uncalibrated_log_loss: the same without the calibration.
        calibration_error: mean distance between the score of the best label and how often it is
            right, in tenths of the score; with several labels, of all scores.
    """

    folds: Annotated[int, Within(2, 1000)]
    grouped_by: Name
    accuracy: Share
    average_precision: Share
    of_labels: tuple[Share, ...]
    log_loss: Positive
    uncalibrated_log_loss: Positive
    calibration_error: Share


@dataclass(frozen=True)
class About:
    """What a head says of itself.

    Attributes:
        scores: ``softmax`` where a recording has one of the labels, ``multilabel`` where each label
            is there or not.
        clip_space_id: of the vectors that it was fitted on.
        recordings: that it was fitted on.
        of_labels: how many of them have each label.
        penalty: C of the logistic regression.
        calibration: how scales and biases were corrected on recordings that were left out.
        figures: or None where there were too few recordings to leave any out.
        tools: versions of what made it.
        sha256: of the bytes of its embeddings, scales and biases, little-endian.
    """

    scores: Literal["softmax", "multilabel"]
    clip_space_id: Name
    recordings: Count
    of_labels: tuple[Count, ...]
    penalty: Positive
    calibration: Literal["temperature", "platt", "none"]
    figures: Figures | None
    tools: dict[Name, Name]
    sha256: Annotated[str, Text(64)]


@dataclass(frozen=True, eq=False)
class Head:
    """What makes cosines scores.

    Attributes:
        scales: float32 ``[labels]``, at least 0.
        biases: float32 ``[labels]``.
        about: how it was made, and what it gave.
    """

    scales: NDArray[np.float32]
    biases: NDArray[np.float32]
    about: About

    def logits(self, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of cosines ``[labels]``, or ``[clips, labels]``."""
        return self.scales.astype(np.float64) * cosines + self.biases

    def problems(self, embeddings: NDArray[np.float32]) -> list[str]:
        """What does not fit together.

        Args:
            embeddings: of the labels, float32 ``[labels, dim]``.
        """
        for name, values in (("scales", self.scales), ("biases", self.biases)):
            if values.dtype != np.float32 or values.shape != embeddings.shape[:1]:
                return [f"{name} are {values.dtype} {values.shape}, not one float32 for each label"]
            if not np.isfinite(values).all():
                return [f"{name} hold NaN or infinite values"]
        if (self.scales < 0).any():
            return ["scales are below 0"]
        counts = self.about.of_labels
        figures = self.about.figures
        if len(counts) != len(embeddings) or (
            figures is not None and len(figures.of_labels) != len(counts)
        ):
            return ["what is said of the labels is not of as many as there are"]
        if digest(embeddings, self.scales, self.biases) != self.about.sha256:
            return ["embeddings, scales and biases do not have the recorded SHA-256"]
        return []


def digest(
    embeddings: NDArray[np.float32], scales: NDArray[np.float32], biases: NDArray[np.float32]
) -> str:
    """SHA-256 of the numbers of a head, in hex."""
    found = hashlib.sha256()
    values: Any
    for values in (embeddings, scales, biases):
        found.update(np.ascontiguousarray(values, "<f4").tobytes())
    return found.hexdigest()
