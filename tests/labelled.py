"""The labelled audio beside the project, where it is, and how a bundle does on it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

import runtime
from tests.places import SHARED_AUDIO
from train.config.data import TaskConfig
from train.data.listing import read_listing
from train.zero_shot.task import read_candidates

SETS = ("esc50", "urbansound8k", "events")

needs_audio = pytest.mark.skipif(
    not SHARED_AUDIO.is_dir(), reason="the labelled audio is not beside the project"
)


def interval(found: dict[str, float]) -> str:
    """An accuracy and its interval as a card's table has them."""
    share, low, high = (100 * found[key] for key in ("accuracy", "low", "high"))
    return f"| {share:.1f} % | {low:.1f}-{high:.1f} % |"


def accuracy(
    encoder: runtime.Encoder, clips: Sequence[Path], truth: Sequence[str], labels: Sequence[str]
) -> float:
    """Share of clips whose best label is the right one, from files, through the runtime."""
    classifier = runtime.Classifier(encoder, labels=list(labels))
    results = list(classifier.predict_many(clips))
    right = sum(r.predictions[0].label == t for r, t in zip(results, truth, strict=True))
    return right / len(clips)


def on_task(encoder: runtime.Encoder, task: TaskConfig) -> tuple[float, int]:
    """Accuracy on a task of a recipe, and its clips."""
    clips = read_listing(task.listing)
    truth = [clip.label.replace("_", " ") for clip in clips]
    labels = read_candidates(task.candidates)
    return accuracy(encoder, [clip.path for clip in clips], truth, labels), len(clips)


def rows() -> dict[Path, dict[str, str]]:
    """What the sets say of each clip."""
    found = {}
    for name in SETS:
        with (SHARED_AUDIO / name / "metadata.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found[(SHARED_AUDIO / name / row["filename"]).resolve()] = row
    return found
