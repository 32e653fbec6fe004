"""Sounds that are none of the labels: does the best score tell them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clap_export.metrics import auroc
from runtime.errors import ClapError
from train.zero_shot.task import TaskResult

GROUPS = 5
REFUSED = 0.05  # of the clips that have a label


@dataclass(frozen=True)
class Strangers:
    """How well the best score tells sounds that are none of the candidates.

    Attributes:
        auroc: chance that a clip of a candidate scores above one of no candidate: the mean over
            groups of labels that were taken from the candidates, one group after the other.
        low, high: the least and the most of a group.
        groups: how many.
        threshold: best score below which 5 % of the clips of candidates lie, the mean over groups:
            what to refuse by.
        refused: share of the clips of no candidate that it refuses, the mean over groups.
    """

    auroc: float
    low: float
    high: float
    groups: int
    threshold: float
    refused: float


def strangers(result: TaskResult, name: str) -> Strangers:
    """Take a fifth of the labels that have clips from the candidates, and so on through all.

    Labels are dealt out in turn, so that neighbours in a list, often of one kind, lie in different
    groups. A clip counts by its best score among what is left, right or wrong.

    Args:
        result: in cosines: probabilities would know of the labels that were taken out.
        name: of the task, for sentences.

    Raises:
        ClapError: clips of fewer than two labels, or fewer than three candidates.
    """
    present = np.unique(result.truth)
    if len(present) < 2 or len(result.labels) < 3:
        raise ClapError(
            f"--none-of-these: the clips of task {name} have {len(present)} of "
            f"{len(result.labels)} candidates as their labels: to tell sounds that are none of the "
            "labels takes clips of two labels, and three candidates."
        )
    count = min(GROUPS, len(present))
    scores, areas, thresholds = list[np.ndarray](), list[float](), list[float]()
    for group in (present[i::count] for i in range(count)):
        kept = np.setdiff1d(np.arange(len(result.labels)), group)
        best, strange = result.scores[:, kept].max(axis=1), np.isin(result.truth, group)
        areas.append(auroc(best, ~strange))
        thresholds.append(float(np.quantile(best[~strange], REFUSED)))
        scores.append(best[strange])
    threshold = float(np.mean(thresholds))
    refused = float(np.mean([(best < threshold).mean() for best in scores]))
    return Strangers(float(np.mean(areas)), min(areas), max(areas), count, threshold, refused)
