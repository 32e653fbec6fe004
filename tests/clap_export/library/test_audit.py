"""Labels that were exchanged on purpose come first; groups are found as they were made."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from clap_export.library import audit
from runtime.errors import ClapError

KEYS = [(f"/{i}.wav", None) for i in range(90)]
TRUE = np.arange(90) % 3
NAMES = np.array(["=dog", "$rain$", "_bell"])


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = np.eye(3, 16)[TRUE] + 0.1 * rng.standard_normal((90, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_exchanged_labels_are_found(vectors: np.ndarray, tmp_path: Path) -> None:
    given = TRUE.copy()
    wrong = [4, 17, 50]
    given[wrong] = (given[wrong] + 1) % 3
    found = audit.audit(KEYS, NAMES[given].tolist(), vectors)
    assert sorted(found.suspects) == wrong
    assert [found.rather[i] for i in wrong] == NAMES[TRUE[wrong]].tolist()
    assert normalized_mutual_info_score(TRUE, found.cluster) == pytest.approx(1)
    assert found.information == pytest.approx(normalized_mutual_info_score(given, found.cluster))
    audit.write(found, tmp_path / "audit.csv", overwrite=False)
    with (tmp_path / "audit.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows[:3]} == {f"/{i}.wav" for i in wrong}
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    with pytest.raises(ClapError, match="exists"):
        audit.write(found, tmp_path / "audit.csv", overwrite=False)


def test_an_outlier_is_less_close(vectors: np.ndarray) -> None:
    vectors[8] = np.eye(16)[15]
    found = audit.audit(KEYS, NAMES[TRUE].tolist(), vectors)
    assert found.closeness.argmin() == 8


def test_copies_prove_nothing(vectors: np.ndarray) -> None:
    """Twelve copies of a recording under a wrong label are still found by the others."""
    copies = np.repeat(vectors[:1], 12, axis=0)
    labels = [*NAMES[TRUE], *["other"] * 12]
    keys = [*KEYS, *((f"/copy{i}.wav", None) for i in range(12))]
    found = audit.audit(keys, labels, np.concatenate([vectors, copies]))
    assert set(range(90, 102)) <= set(found.suspects)


def test_a_picture_by_either_projection(
    vectors: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = audit.audit(KEYS, NAMES[TRUE].tolist(), vectors)
    audit.draw(found, tmp_path / "plot.png", "pca", overwrite=False)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    places = audit.plane(vectors, "pca")
    # Sums of squares along the axes are the two largest singular values, squared.
    largest = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)[:2] ** 2
    assert (places**2).sum(axis=0) == pytest.approx(largest, rel=1e-3)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ClapError, match="pip install umap-learn; or choose pca"):
        audit.draw(found, tmp_path / "other.png", "umap", overwrite=False)
    assert not (tmp_path / "other.png").exists()


def test_too_few(vectors: np.ndarray) -> None:
    with pytest.raises(ClapError, match="2 labelled recordings are too few"):
        audit.audit(KEYS[:2], ["a", "b"], vectors[:2])
