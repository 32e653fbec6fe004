"""Metrics of the benchmarks against closed forms and slow twins that can be read."""

from __future__ import annotations

import numpy as np
import pytest

from train.published import metrics
from train.zero_shot import retrieval


def test_accuracy_is_the_share_of_clips_whose_best_label_is_right() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.4, 0.1], [0.5, 0.5]])
    right = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    assert metrics.accuracy(scores, right) == 0.5  # of equal labels the first counts


def test_f1_counted_by_hand() -> None:
    right = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]], bool)
    said = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1]], bool)
    # 2 hits of 4 said and 4 right; label 0: 2 of 3 said and 2 right; label 1: never said.
    assert metrics.micro_f1(said, right) == pytest.approx(2 * 2 / (4 + 4))
    assert metrics.macro_f1(said, right) == pytest.approx((2 * 2 / (3 + 2) + 0) / 2)
    assert metrics.micro_f1(right, right) == metrics.macro_f1(right, right) == 1.0
    assert metrics.micro_f1(~right, ~right & False) == 0.0
    nothing = np.zeros((3, 3), bool)
    assert metrics.micro_f1(nothing, nothing) == metrics.macro_f1(said, nothing) == 0.0


def test_rules_that_turn_scores_into_decisions() -> None:
    scores = np.array([[0.1, 0.3, 0.2], [-1.0, -2.0, -1.0]])
    assert metrics.best_label(scores).tolist() == [[False, True, False], [True, False, False]]
    # A probability of one half is a logit of 0.
    logits = np.log(np.array([0.4, 0.5, 0.6]) / (1 - np.array([0.4, 0.5, 0.6])))
    assert metrics.more_likely_than_not(logits).tolist() == [False, True, True]


def slow_retrieval(query: np.ndarray, found: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """One query at a time: sort, look, count."""
    recalls = {1: 0, 5: 0, 10: 0}
    precisions = []
    for i, row in enumerate(query @ found.T):
        ranked = sorted(range(len(row)), key=lambda j: (-row[j], j))[:10]
        relevant = [bool(right[i, j]) for j in ranked]
        for k in recalls:
            recalls[k] += any(relevant[:k])
        gained = [sum(relevant[: n + 1]) / (n + 1) for n in range(len(relevant)) if relevant[n]]
        precisions.append(sum(gained) / min(10, int(right[i].sum())))
    measures = {f"R@{k}": hits / len(query) for k, hits in recalls.items()}
    return {**measures, "mAP@10": sum(precisions) / len(precisions)}


def test_retrieval_is_the_slow_one_with_several_captions_a_clip() -> None:
    rng = np.random.default_rng(1)
    owner = np.sort(rng.integers(0, 30, 100))
    owner[:30] = np.arange(30)  # every clip has one
    audio = rng.standard_normal((30, 6))
    text = audio[owner] + 1.2 * rng.standard_normal((100, 6))
    right = owner[:, None] == np.arange(30)
    want = slow_retrieval(text, audio, right)
    assert 0 < want["R@1"] < want["R@5"] < want["R@10"] < 1
    assert retrieval.text_to_audio(text, audio, owner) == pytest.approx(want)
    want = slow_retrieval(audio, text, right.T)
    assert retrieval.audio_to_text(text, audio, owner) == pytest.approx(want)


def test_retrieval_in_closed_form() -> None:
    audio = np.eye(3)
    owner = np.array([0, 0, 1, 2])
    perfect = retrieval.audio_to_text(audio[owner], audio, owner)
    assert perfect == {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "mAP@10": 1.0}
    # Captions of clip 0 point at clip 1, and the other way round; ties by place.
    text = audio[np.array([1, 1, 0, 2])]
    found = retrieval.text_to_audio(text, audio, owner)
    assert found["R@1"] == 1 / 4
    # Ranks: clip 0 comes second behind clip 1 twice; clip 1 second behind clip 0; clip 2 first.
    assert found["mAP@10"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 2 + 1) / 4)
