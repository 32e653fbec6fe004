"""Numbers for a recipe: what they must keep of tags alone, whatever the clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.errors import ClapError
from tests.tiny import run as tinyrun
from tests.train.bridge.test_run import files, recipe
from train.bridge import choose, run, sentence, tagger
from train.bridge.build import Builder
from train.bridge.choose import Chooser
from train.bridge.lesson import Heard
from train.config.bridge import AttentionConfig, LearnedConfig

__all__ = ["files"]
pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = ("dog", "rain", "bell", "wind", "sea", "siren")


def chooser(folder: Path, learned: LearnedConfig, skill: float) -> Chooser:
    """Clips whose features tell their labels, and whose tags do so by ``skill``."""
    made = recipe(folder, lesson="none")
    builder = Builder(made, tagger.read(made.tagger), sentence.read(made.text))
    rng = np.random.default_rng(7)
    labels = tuple(np.repeat(LABELS, 12))
    of = np.repeat(np.arange(6), 12)
    # Each label sounds much like the next one, which takes its clips where it has none itself.
    features = np.eye(6)[of] + 0.9 * np.eye(6)[(of + 1) % 6] + 0.2 * rng.standard_normal((72, 6))
    near = (builder.read(LABELS) @ builder.names.T).numpy().argmax(axis=1)
    heard = rng.uniform(0, 0.2, (72, 521))
    heard[np.arange(72), near[of]] += skill * (rng.random(72) < 0.8)
    return Chooser(
        builder, Heard(torch.from_numpy(heard).float(), torch.from_numpy(features).float(), labels),
        [f"{label}{i % 3}" for i, label in enumerate(labels)], learned,
    )  # fmt: skip


def test_the_handicap_is_the_smallest_that_left_out_labels_bear(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "RIDGES", (0.3,))
    monkeypatch.setattr(choose, "TEXT_RIDGES", (0.1,))
    monkeypatch.setattr(choose, "CENTRES", (0.9,))
    monkeypatch.setattr(choose, "WEIGHTS", (2.0,))
    monkeypatch.setattr(choose, "HANDICAPS", (0.0, 1.0, 2.0, 4.0, 8.0, 16.0))
    made = chooser(files, LearnedConfig(gate_width=0.01), 0.8)
    found = made.best(AttentionConfig())
    least = found.tags_left_out - (found.tags_left_out * (1 - found.tags_left_out) / 72) ** 0.5
    assert found.left_out >= least
    assert 0 < found.learned.handicap < max(choose.HANDICAPS)
    below = choose.HANDICAPS[choose.HANDICAPS.index(found.learned.handicap) - 1]
    monkeypatch.setattr(choose, "HANDICAPS", (below,))
    with pytest.raises(ClapError, match="no numbers leave labels without clips"):
        made.best(AttentionConfig())


def test_too_few_labels_are_refused(files: Path) -> None:
    listing = {"path": str(files / "clips0.csv"), "audio": "file", "labels": ["class"]}
    with pytest.raises(ClapError, match="needs 5 labels of 3 clips at least, there are 3"):
        run.choose(recipe(files, listings=[listing]))
    with pytest.raises(ClapError, match="--choose needs 'listings'"):
        run.choose(recipe(files, lesson="none"))
    assert len(tinyrun.LABELS) == 3
