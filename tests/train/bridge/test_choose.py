"""Numbers for a recipe: what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests.tiny import run as tinyrun
from tests.train.bridge.test_run import files, recipe
from train.bridge import run

__all__ = ["files"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_too_few_labels_are_refused(files: Path) -> None:
    listing = {"path": str(files / "clips0.csv"), "audio": "file", "labels": ["class"]}
    with pytest.raises(ClapError, match="needs 5 labels of 3 clips at least, there are 3"):
        run.choose(recipe(files, listings=[listing]))
    with pytest.raises(ClapError, match="--choose needs 'listings'"):
        run.choose(recipe(files, lesson="none"))
    assert len(tinyrun.LABELS) == 3
