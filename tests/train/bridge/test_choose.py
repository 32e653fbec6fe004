"""Numbers for a recipe: what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.errors import ClapError
from tests.tiny import run as tinyrun
from tests.train.bridge.test_run import TAGS, files, recipe
from train.bridge import run, sentence, tagger
from train.bridge.build import Builder
from train.bridge.choose import HANDICAPS, Chooser
from train.bridge.lesson import Heard

__all__ = ["files"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_too_few_labels_are_refused(files: Path) -> None:
    listing = {"path": str(files / "clips0.csv"), "audio": "file", "labels": ["class"]}
    with pytest.raises(ClapError, match="needs 5 labels of 3 clips at least, there are 3"):
        run.choose(recipe(files, listings=[listing]))
    with pytest.raises(ClapError, match="--choose needs 'listings'"):
        run.choose(recipe(files, lesson="none"))
    assert len(tinyrun.LABELS) == 3


def test_clips_that_teach_are_worth_it_and_cost_other_labels_little(files: Path) -> None:
    """Features name the label, tags say little: then the learned part is to count, and what labels
    that were left out may lose is one standard error, over labels, of what tags give them."""
    asked = recipe(files, lesson="none")
    builder = Builder(asked, tagger.read(asked.tagger), sentence.read(asked.text))
    rng = np.random.default_rng(0)
    labels = [name for name in ("dog", "rain", "a loud bell", "tone", "noise", "clicks")]
    of = np.repeat(np.arange(len(labels)), 12)
    features = np.eye(len(labels), 1024)[of] + 0.05 * rng.random((len(of), 1024))
    heard = Heard(
        torch.from_numpy(rng.random((len(of), len(TAGS)))).float(),
        torch.from_numpy(features).float(), tuple(labels[i] for i in of),
    )  # fmt: skip
    recordings = [f"{labels[i]}{n % 6}" for n, i in enumerate(of)]
    assert asked.learned is not None
    chooser = Chooser(builder, heard, recordings, asked.learned)
    found = chooser.best(asked.attention)
    assert found.heard > found.tags_heard + 0.3
    # Left out, each label is told by tags alone once, among all.
    names = sorted(labels)
    best = chooser._by_tags(found.attention).argmax(dim=1).tolist()
    right = np.array([names[i] == label for i, label in zip(best, heard.labels, strict=True)])
    assert found.tags_left_out == pytest.approx(right.mean())
    shares = [right[np.array(heard.labels) == name].mean() for name in names]
    error = np.std(shares, ddof=1) / len(names) ** 0.5
    assert 0 < error < 0.2
    assert found.left_out >= found.tags_left_out - error
    assert found.learned.handicap in HANDICAPS
    again = Chooser(builder, heard, recordings, asked.learned).best(asked.attention)
    assert again == found
