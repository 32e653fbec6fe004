"""What is found with an index is what the slow way finds, and a stale index is never trusted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from clap_export.library import parts
from clap_export.library.index.build import build, remove
from runtime import ClapError, Library
from runtime.library import description
from runtime.library.description import LibraryError
from runtime.library.part import Part
from tests.clap_export.library import made, vectors
from tests.places import ROOT

COUNT, DIM, ROWS = 6000, 32, 1500
ENGINES = ["usearch", "lancedb"]
GIVEN = vectors.clustered(COUNT, DIM)
QUERIES = vectors.clustered(25, DIM, seed=1)


def quiet(_: str) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module", params=ENGINES)
def indexed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with an index, by the engine."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    folder = vectors.library(tmp_path_factory.mktemp("indexed") / "lib", GIVEN, ROWS)
    (built,) = build(folder, request.param, quiet)
    assert (built.of, built.vectors) == ("parts", COUNT)
    files = [p for p in (folder / "index" / "parts").rglob("*") if p.is_file()]
    assert (
        built.bytes
        == sum(p.stat().st_size for p in files if p.name != "index.json")
        + (folder / "index" / "parts" / "index.json").stat().st_size
    )
    return folder


@pytest.fixture
def copied(indexed: Path, tmp_path: Path) -> Path:
    """One to be changed."""
    return Path(shutil.copytree(indexed, tmp_path / "lib"))


def recall(found: list[list[str]], want: list[list[str]]) -> float:
    same = [len({*a} & {*b}) / len(b) for a, b in zip(found, want, strict=True)]
    return float(np.mean(same))


def test_most_of_the_nearest_are_found_with_their_exact_cosines(indexed: Path) -> None:
    library = Library(indexed)
    found = [library.search(vector=query) for query in QUERIES]
    want = [vectors.nearest(GIVEN, query, 10) for query in QUERIES]
    assert recall([[h.path for h in hits] for hits in found], want) > 0.95
    for query, hits in zip(QUERIES, found, strict=True):
        scores = [hit.similarity for hit in hits]
        assert scores == sorted(scores, reverse=True)
        rows = [int(Path(hit.path).stem) for hit in hits]
        assert np.abs(GIVEN[rows] @ query - scores).max() < 1e-6
    assert library.notes == library.problems == ()


def test_conditions_groups_and_near_duplicates_are_as_without_an_index(indexed: Path) -> None:
    library = Library(indexed)
    for options in (
        {"where": "channels = 2"},  # half of all
        {"where": "duration = 7 AND channels = 2"},  # a fiftieth
        {"where": "path = '/sounds/77.wav'"},
        {"where": "duration > 100"},
        {"group_by": "sha256"},
        {"group_by": "channels", "top_k": 2},
        {"dedupe": 0.9},
        {"where": "channels = 1", "group_by": "sha256", "dedupe": 0.97},
        {"top_k": 3},
        {"top_k": 2000},
    ):
        found, want = [], []
        for query in QUERIES[:4]:
            found.append([hit.path for hit in library.search(vector=query, **options)])
            hits = library.search(vector=query, exact=True, **options)
            want.append([hit.path for hit in hits] or ["none"])
            assert len(found[-1]) == len(hits)
            found[-1] = found[-1] or ["none"]
        assert recall(found, want) > 0.95, options


def test_the_index_is_what_is_asked(indexed: Path, tmp_path: Path) -> None:
    """One whose vectors are another library's finds other recordings; exact search does not."""
    other = vectors.library(tmp_path / "other", GIVEN[::-1].copy(), ROWS)
    build(other, json.loads((indexed / "index/parts/index.json").read_text())["engine"], quiet)
    (other / "index/parts/index.json").write_bytes(
        (indexed / "index/parts/index.json").read_bytes()
    )
    mixed = Path(shutil.copytree(indexed, tmp_path / "mixed"))
    shutil.rmtree(mixed / "index")
    shutil.copytree(other / "index", mixed / "index")
    library = Library(mixed)
    want = vectors.nearest(GIVEN, QUERIES[0], 10)
    assert [h.path for h in library.search(vector=QUERIES[0], exact=True)] == want
    assert [h.path for h in library.search(vector=QUERIES[0])] != want


def near(library: Library, row: int) -> str:
    return library.search(vector=GIVEN[row], top_k=1)[0].path


def test_what_was_added_is_found_and_said(copied: Path) -> None:
    new = vectors.clustered(10, DIM, seed=5)
    vectors.part(copied, 9, new, COUNT, description.read(copied))
    library = Library(copied)
    assert library.search(vector=new[4], top_k=1)[0].path == f"/sounds/{COUNT + 4}.wav"
    (note,) = library.notes
    assert "does not know 1 of the 5 parts" in note
    assert note.endswith(f"clap-export index {copied}")
    everything = np.concatenate([GIVEN, new])
    found = [[h.path for h in library.search(vector=query)] for query in QUERIES]
    assert recall(found, [vectors.nearest(everything, q, 10) for q in QUERIES]) > 0.95


def test_what_was_changed_or_taken_away_is_seen(copied: Path) -> None:
    said = description.read(copied)
    # The second part has its vectors in another order, the third is gone.
    vectors.part(copied, 2, GIVEN[ROWS : 2 * ROWS][::-1], ROWS, said)
    (copied / "parts" / parts.name(3)).unlink()
    library = Library(copied)
    assert near(library, ROWS) == f"/sounds/{2 * ROWS - 1}.wav"
    assert near(library, 0) == "/sounds/0.wav"
    gone = {f"/sounds/{i}.wav" for i in range(2 * ROWS, 3 * ROWS)}
    for query in QUERIES:
        hits = library.search(vector=query)
        assert len(hits) == 10
        assert not gone & {hit.path for hit in hits}
    assert "does not know 1 of the 3 parts" in library.notes[0]


def test_what_has_vanished_is_not_found_and_the_index_stays_good(copied: Path) -> None:
    said = description.read(copied)
    part = Part(copied / "parts" / parts.name(1), said)
    before = part.fingerprint()

    def mark(table):  # the first ten
        values = [i < 10 for i in range(table.num_rows)]
        at = table.schema.get_field_index("vanished")
        import pyarrow as pa

        return table.set_column(at, table.schema.field(at), pa.array(values)), np.ones(ROWS, bool)

    parts.amend(copied, part, said, mark)
    assert Part(part.path, said).fingerprint() == before
    library = Library(copied)
    for row in range(10):
        assert near(library, row) != f"/sounds/{row}.wav"
    assert near(library, 10) == "/sounds/10.wav"
    assert library.notes == ()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: d.update(clip_space_id="other"), "of the clip space other with 32 numbers"),
        (lambda d: d.update(dim=16), "of the clip space given with 16 numbers"),
        (lambda d: d.update(format_version=7), "format_version 7"),
        (lambda d: d.update(format="x"), "'format' differs"),
        (lambda d: d.update(engine="x"), "must be one of 'usearch', 'lancedb'"),
        (lambda d: d.update(parts=d["parts"][:0]), "knows none of the parts"),
        (lambda d: d.pop("vectors"), "missing key 'vectors'"),
    ],
)
def test_an_index_of_something_else_is_named_and_not_used(
    spoil: Callable[[dict], object], sentence: str, copied: Path
) -> None:
    path = copied / "index" / "parts" / "index.json"
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    library = Library(copied)
    found = [h.path for h in library.search(vector=QUERIES[0])]
    assert found == vectors.nearest(GIVEN, QUERIES[0], 10)
    (note,) = library.notes
    assert sentence in note
    assert f"clap-export index {copied}" in note


def test_damaged_files_of_an_engine_are_named_and_not_used(copied: Path) -> None:
    for path in (copied / "index" / "parts").rglob("*"):
        if path.is_file() and path.name != "index.json":
            path.write_bytes(path.read_bytes()[:40])
    library = Library(copied)
    found = [h.path for h in library.search(vector=QUERIES[0])]
    assert found == vectors.nearest(GIVEN, QUERIES[0], 10)
    assert "Make it anew" in library.notes[0]


def test_without_the_engine_all_are_looked_at(indexed: Path) -> None:
    code = (
        "import sys\nfor n in ('usearch', 'lancedb'): sys.modules[n] = None\n"
        "import runtime, numpy\n"
        f"lib = runtime.Library({str(indexed)!r})\n"
        "print(len(lib.search(vector=numpy.ones(32))), *lib.notes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.startswith("10 the index '")
    assert "pip install clap-export[library-" in done.stdout


def test_threads_share_an_index(indexed: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    library = Library(indexed)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda row: near(library, row), range(0, COUNT, 100)))
    assert found == [f"/sounds/{row}.wav" for row in range(0, COUNT, 100)]


def test_a_damaged_part_is_named_and_the_rest_is_searched(copied: Path) -> None:
    path = copied / "parts" / parts.name(2)
    path.write_bytes(path.read_bytes()[:-50])
    library = Library(copied)
    assert near(library, 0) == "/sounds/0.wav"
    assert "part-00000002.parquet' is damaged" in library.problems[0]
    engine = json.loads((copied / "index/parts/index.json").read_text())["engine"]
    with pytest.raises(LibraryError, match=r"part-00000002\.parquet' is damaged"):
        build(copied, engine, quiet)
    assert near(Library(copied), 0) == "/sounds/0.wav"  # the old one is still there


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_other_numbers_and_windows_are_indexed(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    folder = vectors.library(tmp_path / "lib", GIVEN, ROWS, kind=kind, each_window=True)
    assert [built.of for built in build(folder, "usearch", quiet)] == ["parts", "windows"]
    library = Library(folder)
    found = [library.search(vector=q, each_window=True) for q in QUERIES]
    want = [library.search(vector=q, each_window=True, exact=True) for q in QUERIES]
    assert recall([[h.path for h in f] for f in found], [[h.path for h in w] for w in want]) > 0.95
    assert found[0][0].end > 0.5
    assert remove(folder)
    assert not remove(folder)
    assert not (folder / "index").exists()
    assert [h.path for h in Library(folder).search(vector=QUERIES[0])] == [
        h.path for h in library.search(vector=QUERIES[0], exact=True)
    ]


def test_vectors_that_are_not_finite_and_none_at_all_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    spoilt = GIVEN[:300].copy()
    spoilt[150] = np.nan
    with pytest.raises(LibraryError, match="not finite"):
        build(vectors.library(tmp_path / "nan", spoilt, 300), "usearch", quiet)
    assert not (tmp_path / "nan" / "index").exists()
    empty = vectors.library(tmp_path / "empty", GIVEN[:0], 10)
    with pytest.raises(LibraryError, match="no vectors"):
        build(empty, "usearch", quiet)
    with pytest.raises(ClapError, match="no library at"):
        build(tmp_path / "nowhere", "usearch", quiet)
    with pytest.raises(ClapError, match="no library at"):
        remove(tmp_path / "nowhere")


def test_what_is_embedded_later_is_found_beside_the_index(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("usearch")
    made.library(tiny_bundle, made.recordings(tmp_path / "a", 12), tmp_path / "lib")
    build(tmp_path / "lib", "usearch", quiet)
    more = made.recordings(tmp_path / "b", 3, seed=50)
    made.library(tiny_bundle, [tmp_path / "a", tmp_path / "b"], tmp_path / "lib")
    with Library(tmp_path / "lib") as library:
        found = library.search("dog", top_k=15)
        assert [h.path for h in found] == [
            h.path for h in library.search("dog", top_k=15, exact=True)
        ]
        assert str(more[1]) in {h.path for h in found}
        assert "1 of the 2 parts" in library.notes[0]


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_fingerprint_is_of_the_vectors_alone(kind: str, tmp_path: Path) -> None:
    said_of: dict[str, str] = {}
    changed = GIVEN[:200].copy()
    changed[100] = changed[101]
    for name, given in (("one", GIVEN[:200]), ("same", GIVEN[:200]), ("other", changed)):
        folder = vectors.library(tmp_path / name, given, 200, kind=kind)
        path = folder / "parts" / parts.name(1)
        said_of[name] = Part(path, description.read(folder)).fingerprint()
        # As another program may write it: in many pages, and without checksums.
        for number, options in enumerate(
            (
                {"data_page_size": 256, "write_batch_size": 3, "write_page_checksum": True},
                {},
                {"compression": "ZSTD"},
            )
        ):
            again = tmp_path / f"{name}-{number}.parquet"
            pq.write_table(pq.read_table(path), again, use_dictionary=False, **options)
            said_of[f"{name}-{number}"] = Part(again, description.read(folder)).fingerprint()
    for ending in ("", "-0", "-1", "-2"):
        assert said_of[f"one{ending}"] == said_of[f"same{ending}"] != said_of[f"other{ending}"]
