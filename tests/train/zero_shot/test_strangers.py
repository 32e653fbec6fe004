"""Sounds that are none of the labels, told by the best score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from train.__main__ import main
from train.zero_shot.run import Asked
from train.zero_shot.strangers import strangers
from train.zero_shot.task import TaskResult

LABELS = tuple("abcdefghijkl")


def made(seed: int, apart: float) -> TaskResult:
    """Clips of seven of twelve labels, whose own label scores by so much more."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 3, 4, 6, 8, 11], 90)
    scores = rng.normal(0, 0.2, (90, len(LABELS)))
    scores[np.arange(90), truth] += apart
    return TaskResult(LABELS, scores, truth)


@pytest.mark.parametrize("apart", [0.0, 0.3, 5.0])
def test_it_is_what_a_loop_over_groups_gives(apart: float) -> None:
    result, areas = made(0, apart), []
    for group in ([0, 8], [1, 11], [3], [4], [6]):  # of the seven, dealt out in turn
        kept = [i for i in range(len(LABELS)) if i not in group]
        best = [max(row[i] for i in kept) for row in result.scores]
        areas.append(roc_auc_score([t not in group for t in result.truth], best))
    found = strangers(result, "t")
    assert found.groups == 5
    assert found.auroc == pytest.approx(np.mean(areas))
    assert (found.low, found.high) == (pytest.approx(min(areas)), pytest.approx(max(areas)))


def test_well_apart_all_are_told_and_not_at_all_by_chance() -> None:
    told, blind = strangers(made(1, 5.0), "t"), strangers(made(1, 0.0), "t")
    assert told.auroc == told.refused == 1.0
    assert 0.4 < blind.auroc < 0.6
    assert blind.refused < 0.2
    assert 3.0 < told.threshold < 5.5


def test_clips_of_one_label_tell_nothing() -> None:
    one = TaskResult(LABELS, made(0, 1.0).scores, np.zeros(90, int))
    with pytest.raises(ClapError, match="the clips of task t have 1 of 12 candidates"):
        strangers(one, "t")


def test_evaluate_says_it(tmp_path: Path) -> None:
    path = tinyrun.write(tinyrun.config(tmp_path), tmp_path / "recipe.toml")
    tiny.save(tmp_path / "model.safetensors")
    arguments = ["evaluate", str(tmp_path / "model.safetensors"), str(path), "--none-of-these"]
    shown = CliRunner().invoke(main, arguments, catch_exceptions=False).output
    (found,) = json.loads(
        CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False).stdout
    )
    one = found["none_of_these"]
    assert f"none of these labels: AUROC {one['auroc']:.3f}" in shown
    assert 0 <= one["low"] <= one["auroc"] <= one["high"] <= 1
    plain = CliRunner().invoke(main, [*arguments[:-1], "--json"], catch_exceptions=False).stdout
    assert json.loads(plain)[0]["none_of_these"] is None


def test_several_models_have_no_cosines_in_common(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="--none-of-these look at one model"):
        Asked((tmp_path / "a", tmp_path / "b"), none_of_these=True)
