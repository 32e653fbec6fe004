"""What a search finds is what the slow way finds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime import Encoder, Hit, Library
from runtime.errors import ClapError
from runtime.library.description import LibraryError
from runtime.library.part import Part
from tests.clap_export.library import made
from tests.places import ROOT
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import DIM, RATE, WINDOW

COUNT = 30


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirty recordings of one window, the last a copy of the first."""
    folder = tmp_path_factory.mktemp("sounds")
    half = made.recordings(folder / "a", COUNT // 2)
    rest = made.recordings(folder / "b", COUNT // 2, seed=COUNT // 2)
    rest[-1].write_bytes(half[0].read_bytes())
    return half + rest


@pytest.fixture(scope="module")
def libraries(
    sounds: list[Path], tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A library of them in several parts, by its numbers."""
    built: dict[str, Path] = {}

    def library(kind: str) -> Path:
        if kind not in built:
            built[kind] = tmp_path_factory.mktemp("library") / kind
            made.library(tiny_bundle, sounds, built[kind], kind=kind, rows=7)
        return built[kind]

    return library


def vectors(sounds: list[Path]) -> dict[str, np.ndarray]:
    seeds = [*range(COUNT - 1), 0]
    return {str(p): made.truth(p, seed) for p, seed in zip(sounds, seeds, strict=True)}


def ranked(sounds: list[Path], query: np.ndarray) -> list[tuple[str, float]]:
    """All recordings by their cosine to a query, the slow way."""
    query = query / np.linalg.norm(query)
    found = [(path, float(v @ query)) for path, v in vectors(sounds).items()]
    return sorted(found, key=lambda each: -each[1])


def same(hits: list[Hit], want: list[tuple[str, float]], most: float = 1e-5) -> None:
    assert np.abs([h.similarity - s for h, (_, s) in zip(hits, want, strict=True)]).max() < most
    truth = dict(want)
    for hit in hits:
        assert abs(truth[hit.path] - hit.similarity) < most


@pytest.mark.parametrize(("kind", "most"), [("float32", 1e-5), ("float16", 1e-3), ("int8", 2e-2)])
def test_the_nearest_are_found_in_order(
    kind: str, most: float, libraries: Callable[[str], Path], sounds: list[Path]
) -> None:
    with Library(libraries(kind)) as library:
        assert len(library) == COUNT
        hits = library.search(text="a dog barking", top_k=COUNT)
    text = tinybundle.slow_text_embedding("a dog barking")
    same(hits, ranked(sounds, text), most)
    assert [h.similarity for h in hits] == sorted((h.similarity for h in hits), reverse=True)
    assert {(h.member, h.start, h.end) for h in hits} == {(None, 0.0, WINDOW / RATE)}


def test_a_text_counts_as_often_as_it_is_given(
    libraries: Callable[[str], Path], sounds: list[Path]
) -> None:
    dog, rain = map(tinybundle.slow_text_embedding, ("dog", "rain"))
    with Library(libraries("float32")) as library:
        hits = library.search(["dog", "rain", "dog"], top_k=COUNT)
    same(hits, ranked(sounds, 2 * dog + rain))


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e300])
def test_a_vector_of_any_length_has_a_direction(
    size: float, libraries: Callable[[str], Path], sounds: list[Path]
) -> None:
    vector = np.random.default_rng(5).standard_normal(DIM)
    with Library(libraries("float32")) as library:
        hits = library.search(vector=vector * size, top_k=COUNT)
    same(hits, ranked(sounds, vector))


def test_weights_whose_squares_are_no_numbers(
    libraries: Callable[[str], Path], sounds: list[Path]
) -> None:
    dog, rain = map(tinybundle.slow_text_embedding, ("dog", "rain"))
    with Library(libraries("float32")) as library:
        hits = library.search({"dog": 1e30, "rain": 5e29}, top_k=COUNT)
        same(hits, ranked(sounds, dog + rain / 2))
        with pytest.raises(ClapError, match="a weight of at most"):
            library.search({"dog": 1e200})


def test_queries_are_added_up(libraries: Callable[[str], Path], sounds: list[Path]) -> None:
    dog, rain, wind = map(tinybundle.slow_text_embedding, ("dog", "rain", "wind"))
    known = vectors(sounds)
    second, third = known[str(sounds[1])], known[str(sounds[2])]
    library = Library(libraries("float32"))
    for found, query in (
        (library.search(["dog", "rain"], top_k=9), dog + rain),
        (library.search({"dog": 1, "rain": 0.25}, top_k=9), dog + 0.25 * rain),
        (library.search("dog", minus="rain", top_k=9), dog - rain),
        (library.search("dog", minus={"rain": 0.5, "wind": 2}, top_k=9), dog - rain / 2 - 2 * wind),
        (library.search(like=sounds[1], top_k=9), second),
        (library.search("dog", like=[sounds[1], sounds[2]], top_k=9), dog + second + third),
        (library.search("dog", unlike=sounds[2], top_k=9), dog - third),
        (library.search(vector=5 * rain, top_k=9), rain),
    ):  # fmt: skip
        same(found, ranked(sounds, query)[:9])


def test_the_text_encoder_is_loaded_when_it_is_needed(
    libraries: Callable[[str], Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    with Encoder(tiny_bundle) as encoder:
        query = encoder.embed_text("dog")[0]
    # Without its bundle a library is searched by vectors, and by nothing else.
    alone = tmp_path / "library"
    import shutil

    shutil.copytree(libraries("float32"), alone)
    said = json.loads((alone / "library.json").read_text())
    said["model"]["bundle"] = str(tmp_path / "nowhere")
    (alone / "library.json").write_text(json.dumps(said))
    library = Library(alone)
    assert len(library.search(vector=query)) == 10
    with pytest.raises(LibraryError, match=r"was '.*nowhere', which is not there.*--bundle"):
        library.search("dog")
    again = Library(alone, tiny_bundle).search("dog")
    assert [h.path for h in again] == [h.path for h in library.search(vector=query)]


def test_conditions_in_sql(libraries: Callable[[str], Path], sounds: list[Path]) -> None:
    library = Library(libraries("float32"))
    inside = [
        (p, s) for p, s in ranked(sounds, tinybundle.slow_text_embedding("dog")) if "/a/" in p
    ]
    same(library.search("dog", where="path LIKE '%/a/%' AND duration < 10", top_k=99), inside)
    assert library.search("dog", where="duration > 10") == []
    best = library.search("dog", where="size = (SELECT max(size) FROM (SELECT size))", top_k=3)
    assert len(best) == 3


@pytest.mark.parametrize(
    "where",
    [
        "nonsense(", "colour = 'red'", "1 = 1); SELECT (1", "",
        "(SELECT count(*) FROM read_text('/etc/hostname')) > 0",
        "(SELECT count(*) FROM glob('/etc/*')) > 0",
        "1 = 1); COPY (SELECT 1) TO '{library}/parts/x.csv'; SELECT (1",
    ],
)  # fmt: skip
def test_conditions_that_are_none_or_reach_elsewhere_are_refused(
    where: str, libraries: Callable[[str], Path]
) -> None:
    folder = libraries("float32")
    before = sorted(folder.rglob("*"))
    with pytest.raises(ClapError, match="where="):
        Library(folder).search("dog", where=where.format(library=folder))
    assert sorted(folder.rglob("*")) == before


def test_groups_and_near_duplicates(libraries: Callable[[str], Path], sounds: list[Path]) -> None:
    library = Library(libraries("float32"))
    everything = library.search("dog", top_k=99)
    groups = library.search("dog", group_by="sha256", top_k=99)
    assert len(everything) == COUNT
    assert len(groups) == COUNT - 1
    assert {str(sounds[0]), str(sounds[-1])} - {h.path for h in groups} == {str(sounds[-1])}
    known = vectors(sounds)
    for dedupe in (0.9999, 0.9, 0.5):
        want: list[str] = []
        for hit in everything:
            if all(known[hit.path] @ known[other] < dedupe for other in want):
                want.append(hit.path)
        found = [h.path for h in library.search("dog", dedupe=dedupe, top_k=99)]
        assert found == want
        assert len(found) < COUNT
    assert [h.path for h in library.search("dog", dedupe=0.9, top_k=2)] == [
        h.path for h in library.search("dog", dedupe=0.9, top_k=99)
    ][:2]


def test_windows_are_found_with_their_times(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = made.recordings(tmp_path / "sounds", 3, windows=3)
    out = tmp_path / "lib"
    made.library(tiny_bundle, paths, out, each_window=True, rows=2)
    text = tinybundle.slow_text_embedding("rain")
    want = sorted(
        (
            (str(path), i * WINDOW / RATE, float(tinybundle.slow_audio_embedding(window) @ text))
            for seed, path in enumerate(paths)
            for i, window in enumerate(np.split(tinybundle.clip(seed, 3 * WINDOW), 3))
        ),
        key=lambda each: -each[2],
    )
    library = Library(out)
    found = library.search("rain", each_window=True, top_k=99)
    assert [(h.path, h.start) for h in found] == [each[:2] for each in want]
    assert all(h.end == h.start + WINDOW / RATE for h in found)
    assert (
        np.abs([h.similarity - each[2] for h, each in zip(found, want, strict=True)]).max() < 1e-5
    )
    best = library.search("rain", each_window=True, group_by="path", top_k=99)
    assert sorted(h.path for h in best) == sorted(map(str, paths))
    some = library.search("rain", each_window=True, where="path LIKE '%0001.wav'", top_k=99)
    assert [(h.path, h.start) for h in some] == [w[:2] for w in want if w[0] == str(paths[1])]


def test_shards_are_searched_by_member(tiny_bundle: Path, tmp_path: Path) -> None:
    members = {f"{i:03d}.wav": tinybundle.wav(tinybundle.clip(i), RATE) for i in range(3)}
    shard = made.shard(tmp_path / "shard.tar", {**members, "000.txt": b"words"})
    done = made.library(tiny_bundle, [shard], tmp_path / "lib")
    assert done.embedded == 3
    hits = Library(tmp_path / "lib").search(vector=made.truth(shard, 1), top_k=1)
    assert [(h.path, h.member) for h in hits] == [(str(shard), "001.wav")]
    assert hits[0].similarity == pytest.approx(1, abs=1e-6)
    # A shard that was written again with one member changed: only that one is embedded.
    members["002.wav"] = tinybundle.wav(tinybundle.clip(9), RATE)
    del members["000.wav"]
    made.shard(shard, members)
    again = made.library(tiny_bundle, [shard], tmp_path / "lib")
    assert (again.embedded, again.unchanged, again.vanished) == (1, 1, 1)


def test_a_damaged_part_is_named_and_the_rest_is_searched(
    tiny_bundle: Path, tmp_path: Path, libraries: Callable[[str], Path], sounds: list[Path]
) -> None:
    import shutil

    text = tinybundle.slow_text_embedding("dog")
    every = ranked(sounds, text)
    second = {r["path"] for r in pq.read_table(
        libraries("float32") / "parts" / "part-00000002.parquet").to_pylist()}  # fmt: skip
    rest = [each for each in every if each[0] not in second]

    def spoilt(name: str) -> tuple[Library, Path]:
        shutil.copytree(libraries("float32"), tmp_path / name)
        return Library(tmp_path / name), tmp_path / name / "parts" / "part-00000002.parquet"

    _, path = spoilt("cut")
    path.write_bytes(path.read_bytes()[:-50])
    cut = Library(tmp_path / "cut")
    same(cut.search("dog", top_k=99), rest)
    assert "part-00000002.parquet' is damaged" in cut.problems[0]
    # Vectors that are not finite, or not of unit norm.
    for name, value in (("nan", np.nan), ("loud", 7.0)):
        _, path = spoilt(name)
        table = pq.read_table(path)
        numbers = np.stack(table.column("embedding").to_numpy(zero_copy_only=False)).copy()
        numbers[3 if name == "nan" else 0] = value
        starts = pa.array(np.arange(len(numbers) + 1, dtype=np.int32) * DIM)
        column = pa.ListArray.from_arrays(starts, pa.array(numbers.ravel()))
        at = table.schema.get_field_index("embedding")
        table = table.set_column(at, table.schema.field("embedding"), column)
        pq.write_table(table, path, compression="NONE", use_dictionary=False)
        library = Library(tmp_path / name)
        same(library.search("dog", top_k=99), rest)
        assert "part-00000002.parquet' is damaged" in library.problems[0]
    # Of another library.
    _, path = spoilt("other")
    made.library(tiny_bundle, sounds[:2], tmp_path / "head", windows="head:1")
    shutil.copy(tmp_path / "head" / "parts" / "part-00000001.parquet", path)
    other = Library(tmp_path / "other")
    same(other.search("dog", top_k=99), rest)
    assert "is of another library" in other.problems[0]


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_vectors_are_mapped_and_decoded_alike(
    kind: str, libraries: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(libraries(kind))
    path = library.folder / "parts" / "part-00000001.parquet"
    (mapped,) = Part(path, library.description).stored()
    assert not mapped.vectors.flags.owndata
    # What another program wrote: compressed, in a dictionary, in many pages.
    for options in (
        {"compression": "ZSTD"}, {"compression": "NONE", "use_dictionary": True},
        {"compression": "NONE", "use_dictionary": False, "data_page_size": 20,
         "write_batch_size": 3},
    ):  # fmt: skip
        again = tmp_path / "again.parquet"
        table = pq.read_table(path)
        pq.write_table(table, again, row_group_size=3, **options)
        blocks = Part(again, library.description).stored()
        assert len(blocks) == 3
        found = np.concatenate([block.vectors for block in blocks])
        assert np.array_equal(found, mapped.vectors)


def test_bad_arguments_are_one_sentence(
    libraries: Callable[[str], Path], sounds: list[Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    library = Library(libraries("float32"))
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "nothing is searched for"),
        ({"text": "dog", "minus": "dog"}, "cancel out"),
        ({"text": 5}, "text=5"),
        ({"text": {"dog": float("nan")}}, "finite number"),
        ({"text": ""}, "pass words"),
        ({"vector": [1.0]}, "pass 8 finite numbers"),
        ({"vector": np.full(DIM, np.nan)}, "finite"),
        ({"vector": np.zeros(DIM)}, "zero"),
        ({"vector": "dog"}, "pass an array"),
        ({"text": "dog", "top_k": 0}, "top_k=0"),
        ({"text": "dog", "dedupe": "all"}, "dedupe="),
        ({"text": "dog", "group_by": "colour"}, "pass one of path, member"),
        ({"text": "dog", "each_window": True}, "--each-window"),
        ({"like": tmp_path / "none.wav"}, "does not exist"),
    ]
    for given, sentence in bad:
        with pytest.raises(ClapError, match=sentence):
            library.search(**given)
    other = tinybundle.build(tmp_path / "other", space_id="elsewhere", name="other")
    with pytest.raises(LibraryError, match=r"'tiny' \(space tiny-space\).*'other' \(space elsewh"):
        Library(libraries("float32"), other).search("dog")
    with Encoder(tiny_bundle, windows="head:1") as encoder:
        searching = Library(libraries("float32"), encoder)
        assert searching.search("dog")
        with pytest.raises(LibraryError, match=r"policy 'default'.*'head:1'"):
            searching.search(like=sounds[0])
    with pytest.raises(LibraryError, match="no library at"):
        Library(tmp_path / "nowhere")


def test_a_library_opens_without_heavy_packages(libraries: Callable[[str], Path]) -> None:
    code = (
        "import sys\nfor n in ('torch', 'transformers', 'onnx', 'click', 'rich', 'duckdb'): "
        "sys.modules[n] = None\nimport runtime\n"
        f"lib = runtime.Library({str(libraries('int8'))!r})\n"
        "print(len(lib.search('dog', top_k=3)))\n"
        "try: lib.search('dog', where='1 = 1')\n"
        "except runtime.ClapError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.startswith("3\n")
    assert "pip install clap-export[library]" in done.stdout


def test_more_parts_than_a_process_may_have_open_files(
    tiny_bundle: Path, tmp_path: Path, sounds: list[Path]
) -> None:
    import resource

    made.library(tiny_bundle, sounds, tmp_path / "lib", rows=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 15, hard))
    try:
        library = Library(tmp_path / "lib")
        found = library.search(vector=made.truth(sounds[3], 3), top_k=COUNT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert library.problems == ()
    assert len(found) == COUNT
    assert found[0].path == str(sounds[3])


def test_a_part_that_is_written_again_meanwhile_is_never_mixed_up(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    paths = made.recordings(tmp_path / "sounds", 3)
    out = tmp_path / "lib"
    made.library(tiny_bundle, paths, out)
    library = Library(out)
    assert len(library.search("dog")) == 3
    paths[0].unlink()
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    with pytest.raises(LibraryError, match=r"written again since.*open the library again"):
        library.search("dog")
    assert len(Library(out).search("dog")) == 2


def test_threads_share_a_library(libraries: Callable[[str], Path], sounds: list[Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    library = Library(libraries("float32"))
    with ThreadPoolExecutor(8) as threads:
        vectors_ = [made.truth(path, seed) for seed, path in enumerate(sounds[:-1])]
        found = list(threads.map(lambda v: library.search(vector=v, top_k=1)[0].path, vectors_ * 4))
    copies = {str(sounds[-1]), str(sounds[0])}
    for path, hit in zip([*map(str, sounds[:-1])] * 4, found, strict=True):
        assert hit == path or {hit, path} == copies
