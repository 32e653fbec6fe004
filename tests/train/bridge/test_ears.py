"""A bridge as the tagger of another: its ears, taught other labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clap_export.checkpoints import load, native
from runtime.errors import ClapError, SchemaError
from tests import tiny
from tests.tiny import bridge as tinybridge
from tests.tiny import run as tinyrun
from tests.train.bridge.test_run import files, recipe
from train.bridge import tagger
from train.bridge.run import run
from train.config.bridge import TaggerSource

__all__ = ["files"]
pytestmark = pytest.mark.usefixtures("one_thread")


def listing(folder: Path, **changes: Any) -> dict[str, Any]:
    plain = {"path": str(folder / "clips0.csv"), "audio": "file", "labels": ["class"]}
    return {**plain, **changes}


def source(path: Path) -> dict[str, str]:
    return {"kind": "bridge", "weights": str(path), "licence": "MIT"}


def test_other_clips_replace_what_it_had_learned_and_nothing_else(
    files: Path, tmp_path: Path
) -> None:
    first = run(recipe(files, out=str(tmp_path / "first"), listings=[listing(files)]))
    both = {"tagger": source(first), "text": {"checkpoint": str(first), "licence": "MIT"}}
    was = load(first).model

    same = run(recipe(files, out=str(tmp_path / "same"), listings=[listing(files)], **both))
    for name, value in load(same).model.state_dict().items():
        assert torch.equal(value, was.state_dict()[name]), name

    less = listing(files, where={"class": list(tinyrun.LABELS[:2])})
    other = load(run(recipe(files, out=str(tmp_path / "other"), listings=[less], **both))).model
    assert was.config.bridge is not None
    assert other.config.bridge == replace(was.config.bridge, labels=2)
    changed = {
        name
        for name, value in other.state_dict().items()
        if not torch.equal(value, was.state_dict()[name])
    }
    learned = ("audio_projection.linear1.weight", "audio_projection.linear1.bias")
    assert changed == {"bridge.usual", "bridge.labels", *learned}

    kept = recipe(files, out=str(tmp_path / "kept"), listings=[less], usual="tagger", **both)
    for name, value in load(run(kept)).model.state_dict().items():
        wanted = was if name == "bridge.usual" else other
        assert torch.equal(value, wanted.state_dict()[name]), name
    with pytest.raises(SchemaError, match="'tagger' goes with a tagger of kind 'bridge'"):
        recipe(files, listings=[less], usual="tagger")


@pytest.mark.parametrize(("tower", "root"), [("cnn14", True), ("compact", False)])
def test_a_student_is_taught_labels(tower: str, root: bool, files: Path, tmp_path: Path) -> None:
    """Its map learned without roots; clips teach one of them where no value is negative."""
    student = tinybridge.model(tower)
    assert student.config.bridge is not None
    student.config = replace(student.config, bridge=replace(student.config.bridge, root=False))
    path = tmp_path / "student.safetensors"
    native.save(path, student, tiny.tokenizer().to_str())
    asked = recipe(files, out=str(tmp_path / "out"), tagger=source(path), listings=[listing(files)])
    taught = load(run(asked)).model
    config = taught.config.bridge
    assert config is not None
    assert (config.tags, config.labels, config.root) == (tinybridge.TAGS, 3, root)
    for name, value in student.state_dict().items():
        if name.startswith(("mel.", "audio_encoder.", "bridge.head.")):
            assert torch.equal(value, taught.state_dict()[name]), name


def test_a_model_that_tells_no_tags_is_no_tagger(files: Path) -> None:
    text = TaggerSource("bridge", str(files / "text.safetensors"), "MIT")
    with pytest.raises(ClapError, match="is no bridge, and tells no tags: kind 'bridge' takes"):
        tagger.read(text)
    with pytest.raises(ValueError, match="kind 'bridge' brings its own 'names'"):
        replace(text, names="names.txt")
