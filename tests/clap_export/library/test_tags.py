"""Labels of a whole library are those of each recording; a table says when it is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from clap_export.library import tags
from clap_export.library.given import Given
from clap_export.library.tagging import Looked
from clap_export.library.vectors import Vectors
from runtime import Classifier, LabelBank
from runtime.errors import BundleError
from runtime.library.description import LibraryError
from runtime.manifest import read_manifest
from runtime.scores import Ranking
from tests.clap_export.library import made
from tests.tiny import bundle as tinybundle
from tests.tiny import heads


@pytest.fixture(scope="module")
def library(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    made.recordings(folder / "sounds", 9)
    (folder / "sounds" / "bad.wav").write_bytes(b"no sound")
    made.library(tiny_bundle, [folder / "sounds"], folder / "lib", rows=4)
    return folder / "lib"


@pytest.fixture(scope="module")
def bank(tiny_bundle: Path) -> LabelBank:
    with Classifier(tiny_bundle, tinybundle.LABELS) as classifier:
        return classifier.bank


def tag(
    folder: Path, bank: LabelBank, ranking: Ranking, name: str = "street", overwrite: bool = False
) -> list[dict[str, Any]]:
    """Make a table; its rows."""
    library = Vectors(folder)
    with tags.writing(library, name, bank, ranking, overwrite=overwrite) as table:
        for some in tags.tagged(library, bank, ranking):
            table.add(some)
    assert library.problems == []
    return pq.read_table(folder / "tags" / f"{name}.parquet").to_pylist()


def ranking_of(bundle: Path, bank: LabelBank, *given: Any, scores: Any = None) -> Ranking:
    ranking = Ranking.of(read_manifest(bundle), scores, *given)
    return ranking.of_labels(bank.head, scores)


@pytest.mark.parametrize(
    ("scores", "bounds"),
    [
        (None, (None, None, 2)),
        ("cosine", (0.1, None, 5)),
        (None, (0.3, 0.2, 3)),
        (None, (0.99, None, 1)),
        (None, (None, None, None)),
    ],
)
def test_labels_are_those_of_the_classifier(
    scores: Any, bounds: Any, library: Path, tiny_bundle: Path, bank: LabelBank
) -> None:
    rows = tag(library, bank, ranking_of(tiny_bundle, bank, *bounds, scores=scores), overwrite=True)
    check(rows, tiny_bundle, bank, bounds, scores)


@pytest.mark.parametrize("scores", ["softmax", "multilabel"])
def test_and_of_a_head(scores: Any, library: Path, tiny_bundle: Path) -> None:
    bank = heads.head(scores)
    ranking = Ranking.of(None, None, 0.2, None, 2).of_labels(bank.head, None)
    rows = tag(library, bank, ranking, "own", overwrite=True)
    check(rows, tiny_bundle, bank, (0.2, None, 2), None)


def check(rows: list[Any], bundle: Path, bank: LabelBank, bounds: Any, scores: Any) -> None:
    threshold, least, top_k = bounds
    assert len(rows) == 9
    with Classifier(
        bundle, bank, scores=scores, threshold=threshold, min_similarity=least, top_k=top_k
    ) as classifier:
        for row in rows:
            wanted = classifier.predict(row["path"])
            assert row["labels"] == [p.label for p in wanted]
            assert row["scores"] == pytest.approx([p.score for p in wanted], abs=1e-5)
            assert row["similarities"] == pytest.approx([p.similarity for p in wanted], abs=1e-6)
            first = (wanted[0].label, wanted[0].score) if wanted else (None, None)
            assert (row["label"], row["score"]) == (first[0], pytest.approx(first[1], abs=1e-5))


@pytest.mark.parametrize("most", [1, 7, 10, 1_000])
def test_many_labels_take_no_more_memory(
    most: int, library: Path, tiny_bundle: Path, bank: LabelBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of so many cosines at a time, however many labels there are; the table is the same."""
    ranking = ranking_of(tiny_bundle, bank, None, None, 2)
    whole = tag(library, bank, ranking, overwrite=True)
    monkeypatch.setattr(tags, "AT_ONCE", most)
    sizes = [some.scores.size for some in tags.tagged(Vectors(library), bank, ranking)]
    assert max(sizes) <= max(most, len(bank))
    assert sum(sizes) == 9 * len(bank)
    rows = tag(library, bank, ranking, overwrite=True)
    assert [(row["path"], row["labels"]) for row in rows] == [
        (row["path"], row["labels"]) for row in whole
    ]
    assert pq.ParquetFile(library / "tags" / "street.parquet").num_row_groups == 1


def test_many_labels_with_equal_ones_are_ranked_as_one_by_one() -> None:
    rng = np.random.default_rng(4)
    cosines = rng.integers(-3, 4, (20, 12)).astype(np.float32) / 4
    for top_k in (1, 3, 8, 9, 12):
        ranking = Ranking("softmax", 10.0, None, None, None, top_k)
        found = tags.best(ranking, cosines, ranking.scores(cosines))
        for places, row in zip(found.places, cosines, strict=True):
            wanted = ranking.rank(row, [str(i) for i in range(12)])
            assert [str(i) for i in places] == [p.label for p in wanted]


def test_a_table_joins_with_its_library(library: Path, tiny_bundle: Path, bank: LabelBank) -> None:
    tag(library, bank, ranking_of(tiny_bundle, bank, None, None, 3), overwrite=True)
    found = duckdb.sql(
        f"SELECT p.duration, t.label FROM '{library}/parts/*.parquet' p JOIN "
        f"'{library}/tags/street.parquet' t ON p.path = t.path "
        "AND p.member IS NOT DISTINCT FROM t.member WHERE list_contains(t.labels, t.label)"
    ).fetchall()
    assert len(found) == 9
    assert {duration for duration, _ in found} == {0.5}


def test_a_table_is_stale_when_the_library_has_changed(
    tiny_bundle: Path, bank: LabelBank, tmp_path: Path
) -> None:
    paths = made.recordings(tmp_path / "sounds", 5)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    ranking = ranking_of(tiny_bundle, bank, None, None, 3)
    tag(out, bank, ranking)

    def is_stale() -> bool:
        return tags.is_stale(out, tags.read(out / "tags" / "street.parquet"))

    made.library(tiny_bundle, [tmp_path / "sounds"], out)  # nothing new
    assert not is_stale()
    assert tags.names(out) == ["street"]
    paths[0].write_bytes(tinybundle.wav(tinybundle.clip(99), tinybundle.RATE))
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    assert is_stale()
    with pytest.raises(LibraryError, match="exists"):
        tag(out, bank, ranking)
    assert len(tag(out, bank, ranking, overwrite=True)) == 5
    assert not is_stale()
    paths[1].unlink()
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    assert is_stale()
    assert len(tag(out, bank, ranking, overwrite=True)) == 4


def test_what_cannot_be(library: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    other = heads.head(space="another")
    ranking = Ranking.of(None, None, None, None, 1).of_labels(other.head, None)
    with pytest.raises(BundleError, match="embedding space another"):
        tag(library, other, ranking, "refused")
    assert not (library / "tags" / "refused.parquet").exists()
    for name in ("", "A", "../x", "x" * 65):
        with pytest.raises(LibraryError, match="no name of a table"):
            tag(library, heads.head(), ranking, name)
    with pytest.raises(LibraryError, match="no library"):
        Vectors(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(LibraryError, match="damaged, or no table of labels"):
        tags.read(tmp_path / "x.parquet")
    with pytest.raises(LibraryError, match="no table of labels"):
        tags.read(next((library / "parts").glob("*.parquet")))


def test_a_damaged_part_is_named_and_the_others_are_labelled(
    library: Path, tiny_bundle: Path, bank: LabelBank, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(library, tmp_path / "lib")
    part = sorted((tmp_path / "lib" / "parts").iterdir())[0]
    part.write_bytes(part.read_bytes()[:-100])
    vectors = Vectors(tmp_path / "lib")
    ranking = ranking_of(tiny_bundle, bank, None, None, 1)
    looked = Looked(bank.names, None, keep=False)
    for some in tags.tagged(vectors, bank, ranking):
        looked.see(some)
    assert 4 <= looked.recordings < 9
    (problem,) = vectors.problems
    assert str(part) in problem


def test_agreement_by_hand(tmp_path: Path) -> None:
    from sklearn.metrics import cohen_kappa_score

    from clap_export.library.agreement import Judge

    axes = np.eye(3, 8, dtype=np.float32)
    found = ["a", "a", "b", "c", "a", "b", None]
    given = ["a", "b", "b", "c", "a", "a", "c"]
    place = {"a": 0, "b": 1, "c": 2}
    blank = np.eye(8)[7] + 0.01 * np.eye(8)[2]
    vectors = {
        f"/{i}.wav": blank if name is None else axes[place[name]] for i, name in enumerate(found)
    }
    folder = made.of_vectors(tmp_path / "lib", vectors)
    bank = LabelBank(("a", "b", "c"), (), axes, "tiny-space")
    ranking = Ranking("cosine", 1.0, None, 0.5, None, 2)
    labels = {(f"/{i}.wav", None): frozenset((name,)) for i, name in enumerate(given)}
    labels["/elsewhere.wav", None] = frozenset(("d",))
    judge = Judge(Given(tmp_path, labels), bank.names)
    for some in tags.tagged(Vectors(folder), bank, ranking):
        judge.see(some)
    result = judge.agreement()
    assert result is not None
    assert (result.recordings, result.unknown) == (7, ("d",))
    assert result.accuracy == pytest.approx(4 / 7)
    assert result.kappa == pytest.approx(cohen_kappa_score(given, [str(name) for name in found]))
    a, b, _ = result.labels
    assert (a.given, a.found, a.precision, a.recall) == (3, 3, 2 / 3, 2 / 3)
    assert (b.given, b.found, b.precision, b.recall) == (2, 2, 0.5, 0.5)
    wrong = {(c.given, c.found): c.count for c in result.confusions}
    assert wrong == {("b", "a"): 1, ("a", "b"): 1, ("c", None): 1}
