"""Cosines to scores and ranks, on numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from clap_export.library.tags import best
from runtime.lookup import similarities
from runtime.scores import Ranking


def ranking(**changes: Any) -> Ranking:
    return dataclasses.replace(Ranking("cosine", 10.0, None, None, None, None), **changes)


def test_extreme_logits_do_not_overflow() -> None:
    sims = np.array([-1, 1], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        assert ranking(mode="softmax", logit_scale=1e6).scores(sims).tolist() == [0, 1]
        both = ranking(mode="multilabel", calibration=(1e6, 0.0)).scores(sims)
    assert both.tolist() == [0, 1]


def test_ties_keep_the_order_of_the_labels() -> None:
    names = ["c", "a", "b", "d"]
    sims = np.array([0.5, 0.7, 0.5, 0.5], np.float32)
    assert [p.label for p in ranking().rank(sims, names)] == ["a", "c", "b", "d"]
    # A saturated softmax gives equal shares of zero: the cosine still tells them apart.
    sims = np.array([0.1, 0.9, 0.2, 0.1], np.float32)
    saturated = ranking(mode="softmax", logit_scale=1e6)
    assert [p.label for p in saturated.rank(sims, names)] == ["a", "b", "c", "d"]


def test_bounds_and_top_k() -> None:
    sims = np.array([0.5, 0.25, -0.5], np.float32)
    names = ["a", "b", "c"]

    def labels(given: int | None = None, **changes: Any) -> list[str]:
        return [p.label for p in ranking(**changes).rank(sims, names, given)]

    assert labels() == names
    assert labels(threshold=0.25) == ["a", "b"]
    assert labels(min_similarity=0.3) == ["a"]
    assert labels(mode="softmax", min_similarity=0.3) == ["a"]
    assert labels(mode="softmax", threshold=0.5) == ["a"]
    assert labels(threshold=0.6) == []
    assert labels(top_k=2) == ["a", "b"]
    assert labels(1, top_k=2) == ["a"]
    assert labels(9, top_k=2) == names
    assert labels(9, top_k=2, threshold=0.3) == ["a"]


def test_a_cosine_is_compared_with_a_bound_as_it_is_printed() -> None:
    """In float32 0.7 is a little less, which is what the readers in C++ and JavaScript see."""
    sims = np.array([0.7, 0.75], np.float32)
    assert float(sims[0]) < 0.7
    assert [p.label for p in ranking(min_similarity=0.7).rank(sims, ["a", "b"])] == ["b"]
    own = ranking(min_similarity=float(sims[0])).rank(sims, ["a", "b"])
    assert [p.label for p in own] == ["b", "a"]
    for bounds in (ranking(min_similarity=0.7), ranking(min_similarity=-1e300)):
        rows = best(bounds, sims[np.newaxis], bounds.scores(sims[np.newaxis]))
        kept = ["ab"[i] for i in rows.places[rows.kept].tolist()]
        assert kept == [p.label for p in bounds.rank(sims, ["a", "b"])]


def test_similarities_are_the_dot_products() -> None:
    rng = np.random.default_rng(0)
    bank = rng.standard_normal((1000, 33)).astype(np.float32)
    embedding = rng.standard_normal(33).astype(np.float32)
    found = similarities(bank, embedding)
    assert found.dtype == np.float32
    want = [sum(float(x) * float(y) for x, y in zip(row, embedding, strict=True)) for row in bank]
    np.testing.assert_allclose(found, want, atol=1e-4)
