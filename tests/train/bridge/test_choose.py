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
    that were left out may lose is one standard error of what tags give them."""
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
    found = Chooser(builder, heard, recordings, asked.learned).best(asked.attention)
    assert found.heard > found.tags_heard + 0.3
    error = (found.tags_left_out * (1 - found.tags_left_out) / len(of)) ** 0.5
    assert found.left_out >= found.tags_left_out - error
    assert found.learned.handicap in HANDICAPS
    again = Chooser(builder, heard, recordings, asked.learned).best(asked.attention)
    assert again == found
