"""One number of a benchmark, with what is needed to trust it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clap_export.metrics import mean_average_precision, wilson
from train.published import metrics
from train.published.task import PAPER, Metric, PublishedTask, Setup


@dataclass(frozen=True)
class Score:
    """A benchmark's result.

    Attributes:
        metric: what ``value`` is, with its rule where it needs one.
        clips: recordings that it was taken on.
        published: recordings of the whole benchmark: with fewer, numbers do not compare.
        absent: recordings that are listed and were not there.
        candidates: labels or captions and clips that were chosen from.
        value: from 0 to 1.
        low, high: Wilson's 95 % interval, for accuracies.
        more: further measures.
        paper: the paper's number for this set-up.
        source: of the paper's number.
    """

    task: str
    title: str
    domain: str
    setup: Setup
    metric: str
    clips: int
    published: int
    absent: int
    candidates: int
    value: float
    low: float | None
    high: float | None
    more: dict[str, float]
    paper: float | None
    source: str | None


def score(
    task: PublishedTask, setup: Setup, scores: np.ndarray, right: np.ndarray, absent: int
) -> Score:
    """The task's metric of scores ``[clips, labels]`` and truth ``[clips, labels]`` bool.

    Args:
        task: whose metric and published numbers.
        setup: scores are cosines for ``zero-shot``, logits otherwise.
        scores: of each clip and label.
        right: which labels are.
        absent: recordings that were not there.
    """
    value, more, rule = _measure(task.metric, setup, scores, right)
    low, high = wilson(value, len(right)) if task.metric == "accuracy" else (None, None)
    paper = task.paper.of(setup)
    return Score(
        task.name, task.title, task.domain, setup, rule, len(right), task.clips, absent,
        right.shape[1], value, low, high, more, paper, None if paper is None else PAPER,
    )  # fmt: skip


def _measure(
    metric: Metric, setup: Setup, scores: np.ndarray, right: np.ndarray
) -> tuple[float, dict[str, float], str]:
    """The value, further measures, and the metric's name with its rule."""
    if metric == "accuracy":
        return metrics.accuracy(scores, right), {}, "accuracy"
    average = mean_average_precision(scores, right)
    if metric == "mAP":
        return average, {}, "mAP"
    zero_shot = setup == "zero-shot"
    said = metrics.best_label(scores) if zero_shot else metrics.more_likely_than_not(scores)
    rule = "micro F1, best label" if zero_shot else "micro F1, p >= 0.5"
    more = {"macro F1": metrics.macro_f1(said, right), "mAP": average}
    return metrics.micro_f1(said, right), more, rule
