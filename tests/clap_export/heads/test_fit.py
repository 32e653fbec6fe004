"""What is fitted is the least of its loss, calibration mends what was spoilt, and figures are those
of recordings that were not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clap_export.heads import calibrate, folds
from clap_export.heads.examples import Examples, read
from clap_export.heads.fit import fit
from clap_export.heads.head import directions, learn, measured
from clap_export.library.given import Columns
from clap_export.library.vectors import Vectors
from tests.clap_export.library import vectors


def examples(
    count: int, labels: int = 3, dim: int = 8, noise: float = 0.6, seed: int = 0
) -> Examples:
    """Unit vectors around a direction for each label."""
    rng = np.random.default_rng(seed)
    centres = np.eye(labels, dim)
    classes = np.arange(count) % labels
    vectors = centres[classes] + noise * rng.standard_normal((count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    right = np.eye(labels, dtype=bool)[classes]
    names = tuple("abcdefgh"[:labels])
    return Examples(names, vectors.astype(np.float32), right, np.arange(count), "sha256")


@pytest.mark.parametrize("labels", [2, 3])
def test_one_of_several_is_at_the_least_of_its_loss(labels: int) -> None:
    """Where C times the gradient of the log loss is that of half the squared weights."""
    given, penalty = examples(40, labels), 7.0
    found = fit(given.vectors, given.right, False, penalty)
    powers = np.exp(given.vectors @ found.weights.T + found.biases)
    off = powers / powers.sum(axis=1, keepdims=True) - given.right
    # Two labels are fitted as one, of twice the weights: half of their square is as much again.
    weights = found.weights * (2 if labels == 2 else 1)
    assert np.abs(weights + penalty * off.T @ given.vectors).max() < 0.02 * np.abs(weights).max()
    assert np.abs(off.sum(axis=0)).max() < 0.02


def test_each_label_is_at_the_least_of_its_own_loss() -> None:
    given, penalty = examples(40), 7.0
    right = given.right | np.roll(given.right, 1, axis=0) & (np.arange(40)[:, None] % 2 == 0)
    found = fit(given.vectors, right, True, penalty)
    off = 1 / (1 + np.exp(-(given.vectors @ found.weights.T + found.biases))) - right
    gradient = found.weights + penalty * off.T @ given.vectors
    assert np.abs(gradient).max() < 0.02 * np.abs(found.weights).max()


def test_a_label_without_examples_is_never_the_best() -> None:
    given = examples(40)
    some = given.right[:, 2] == 0
    found = fit(given.vectors[some], given.right[some], False, 10.0)
    logits = found.logits(given.vectors[some])
    assert (logits.argmax(axis=1) != 2).all()
    assert np.isfinite(logits).all()


def test_groups_stay_together_and_labels_are_spread() -> None:
    given = examples(60)
    grouped = Examples(given.names, given.vectors, given.right, np.arange(60) // 4, "recording")
    parts = folds.split(grouped)
    assert parts is not None
    for group in range(15):
        assert len(set(parts[grouped.groups == group])) == 1
    for part in range(5):
        assert (grouped.right[parts == part].sum(axis=0) >= 3).all()
    alone = Examples(given.names, given.vectors, given.right, given.classes, "recording")
    assert folds.split(alone) is None


def test_a_temperature_is_found_again() -> None:
    rng = np.random.default_rng(1)
    true = 2 * rng.standard_normal((4000, 4))
    powers = np.exp(true)
    shares = (powers / powers.sum(axis=1, keepdims=True)).cumsum(axis=1)
    right = np.eye(4, dtype=bool)[(rng.random((4000, 1)) > shares).sum(axis=1).clip(0, 3)]
    assert calibrate.temperature(true / 3, right) == pytest.approx(3, rel=0.1)


def test_scales_and_shifts_are_found_again() -> None:
    rng = np.random.default_rng(2)
    true = 3 * rng.standard_normal((4000, 2)) - 1
    right = rng.random((4000, 2)) < 1 / (1 + np.exp(-true))
    scales, shifts = calibrate.platt((true - np.array([1, -2])) / np.array([4, 0.5]), right)
    assert scales == pytest.approx([4, 0.5], rel=0.15)
    assert shifts == pytest.approx([1, -2], abs=0.3)


def test_a_few_that_are_all_right_are_not_taken_for_certain() -> None:
    given = examples(15, noise=0.05)
    learned = learn(given, several=False)
    scores = calibrate.probabilities(learned.linear.logits(given.vectors), several=False)
    assert (scores.argmax(axis=1) == given.classes).all()
    assert scores.max() < 0.99


def test_error_of_scores_by_hand() -> None:
    scores = np.array([0.95, 0.95, 0.95, 0.95, 0.25, 0.25])
    right = np.array([True, True, True, False, False, True])
    assert calibrate.error(scores, right) == pytest.approx((4 * 0.2 + 2 * 0.25) / 6)


def test_figures_of_labels_that_can_be_learned_and_that_cannot() -> None:
    good = measured(examples(90), several=False)
    assert good is not None
    assert good.accuracy > 0.8
    assert good.calibration_error < 0.15
    noise = examples(90, seed=3)
    shuffled = noise.right[np.random.default_rng(5).permutation(90)]
    chance = measured(
        Examples(noise.names, noise.vectors, shuffled, noise.groups, "sha256"), several=False
    )
    assert chance is not None
    assert abs(chance.accuracy - 1 / 3) < 0.15
    assert chance.log_loss < 1.3  # ln 3 is 1.1: it knows that it does not know


def test_copies_do_not_make_figures_better() -> None:
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((30, 8)).astype(np.float32)
    right = np.eye(3, dtype=bool)[rng.integers(0, 3, 30)]
    times = np.repeat(np.arange(30), 4)
    found = measured(
        Examples(("a", "b", "c"), vectors[times], right[times], times, "sha256"), several=False
    )
    assert found is not None
    assert found.accuracy < 0.6  # of copies that were seen nearly all would be right


def test_one_example_each_is_fitted_without_figures() -> None:
    given = examples(3, noise=0.1)
    assert measured(given, several=False) is None
    learned = learn(given, several=False)
    assert learned.calibration == "none"
    assert (learned.linear.logits(given.vectors).argmax(axis=1) == given.classes).all()


def test_directions_are_unit_vectors_and_norms() -> None:
    weights = np.array([[3.0, 4.0], [0.0, 0.0]])
    units, norms = directions(weights)
    assert np.allclose(units, [[0.6, 0.8], [1, 0]])
    assert norms.tolist() == [5, 0]


def test_copies_in_two_groups_of_a_listing_stay_together(tmp_path: Path) -> None:
    """Three recordings of the same bytes each, and a listing whose groups go across them."""
    library = vectors.library(tmp_path / "lib", vectors.clustered(12, 8), rows=5)
    listing = tmp_path / "labels.csv"
    groups = ["a", "b", "c", "d", "", "", "e", "f", "f", "f", "g", "h"]
    rows = [f"/sounds/{i}.wav,{'xy'[i % 2]},{group}" for i, group in enumerate(groups)]
    listing.write_text("\n".join(["path,label,day", *rows]))
    found = read(Vectors(library), listing, Columns("label", "day")).groups
    same = {tuple(np.flatnonzero(found == group).tolist()) for group in found}
    assert same == {(0, 1, 2), (3, 4, 5), (6, 7, 8, 9, 10, 11)}
