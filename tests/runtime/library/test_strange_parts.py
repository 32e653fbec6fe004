"""Parts that are damaged, or that another program wrote: one of them never ends a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime import Library
from runtime.errors import ClapError
from tests.clap_export.library import vectors as given

DIM, ROWS, COUNT = 8, 10, 30
VECTORS = given.clustered(COUNT, DIM)
QUERY = np.random.default_rng(3).standard_normal(DIM).astype(np.float32)
SPOILT = range(ROWS, 2 * ROWS)  # rows of the second part


def nearest(*, longest: float = 99.0, without: range = range(0)) -> list[str]:
    """All recordings up to a length, nearest first, the slow way; see ``given.part``."""
    order = [int(p[8:-4]) for p in given.nearest(VECTORS, QUERY, COUNT)]
    return [f"/sounds/{i}.wav" for i in order if i not in without and i % 50 <= longest]


def found(library: Library, **more: Any) -> list[str]:
    return [hit.path for hit in library.search(vector=QUERY, top_k=COUNT, **more)]


def changed(folder: Path, change: Callable[[pa.Table], pa.Table]) -> Library:
    """A library whose second part another program wrote, and wrote so."""
    given.library(folder, VECTORS, ROWS)
    path = folder / "parts" / "part-00000002.parquet"
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
    return Library(folder)


def column(name: str, values: list[Any], kind: Any = None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        return table.set_column(at, name, pa.array(values, kind))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(["embedding"]), "no column 'embedding'"),
        (lambda table: table.drop(["path"]), "no column 'path'"),
        (lambda table: table.append_column("path", table.column("path")), "2 columns 'path'"),
        (column("embedding", ["far"] * ROWS), "'embedding' holds texts, not lists of numbers"),
        (column("embedding", [{"x": 1.0}] * ROWS), "'embedding' holds struct"),
        (column("duration", ["long"] * ROWS), "'duration' holds texts, not numbers"),
        (column("path", list(range(ROWS))), "'path' holds numbers, not texts"),
        # These were taken for recordings that are there.
        (column("vanished", [1] * ROWS), "'vanished' holds numbers, not booleans"),
        (column("vanished", [None] * ROWS, pa.bool_()), "no value in its column 'vanished'"),
        (column("path", [None] * ROWS, pa.string()), "no value in its column 'path'"),
        (lambda table: table.replace_schema_metadata(), None),
    ],
)
def test_columns_that_are_not_what_they_should_be(
    change: Callable[[pa.Table], pa.Table], said: str | None, tmp_path: Path
) -> None:
    library = changed(tmp_path / "lib", change)
    if said is None:  # only what this program makes of a table is looked at: all is well
        assert found(library) == nearest()
        return
    assert found(library) == nearest(without=SPOILT)
    (problem,) = library.problems
    assert "part-00000002.parquet' is damaged" in problem
    assert said in problem


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.append_column("mood", pa.array(["calm"] * ROWS)),
        column("member", [None] * ROWS),  # as pandas writes what has no value
        column("rate", [16_000.0] * ROWS),
        lambda table: column("path", table.column("path").to_pylist(), pa.large_string())(table),
        lambda table: table.set_column(
            0, "path", table.column("path").combine_chunks().dictionary_encode()
        ),
        lambda table: column(
            "embedding", table.column("embedding").to_pylist(), pa.list_(pa.float32(), DIM)
        )(table),
    ],
)
def test_what_other_programs_write_instead_is_read(
    change: Callable[[pa.Table], pa.Table], tmp_path: Path
) -> None:
    library = changed(tmp_path / "lib", change)
    assert found(library) == nearest()
    assert library.problems == ()


def test_times_that_are_no_numbers_are_not_known(tmp_path: Path) -> None:
    library = changed(tmp_path / "lib", column("duration", [float("nan"), np.inf] * (ROWS // 2)))
    ends = {hit.path: hit.end for hit in library.search(vector=QUERY, top_k=COUNT)}
    assert {path for path, end in ends.items() if end is None} == {
        f"/sounds/{i}.wav" for i in SPOILT
    }


@pytest.mark.parametrize("said", [b"[" * 200_000, b"\xff", b"9" * 10_000, b"[]", b'{"dim": 8}'])
def test_what_a_part_says_of_itself_is_looked_through(said: bytes, tmp_path: Path) -> None:
    folder = given.library(tmp_path / "lib", VECTORS, ROWS)
    path = folder / "parts" / "part-00000002.parquet"
    table = pq.read_table(path).replace_schema_metadata({b"clap-export-library": said})
    pq.write_table(table, path)
    library = Library(folder)
    assert found(library) == nearest(without=SPOILT)
    assert "is not a part of a library" in library.problems[0]


def test_a_column_that_cannot_be_read_ends_neither_a_search_nor_a_condition(
    tmp_path: Path,
) -> None:
    folder = given.library(tmp_path / "lib", VECTORS, ROWS)
    path = folder / "parts" / "part-00000002.parquet"
    group = pq.ParquetFile(path).metadata.row_group(0)
    duration = next(
        group.column(i)
        for i in range(group.num_columns)
        if group.column(i).path_in_schema == "duration"
    )
    start = duration.dictionary_page_offset or duration.data_page_offset
    data = bytearray(path.read_bytes())
    for at in range(start, start + duration.total_compressed_size):
        data[at] ^= 0x5A
    path.write_bytes(data)
    for where, longest in ((None, 99), ("duration + 1 < 25", 23)):
        library = Library(folder)
        assert found(library, where=where) == nearest(longest=longest, without=SPOILT)
        assert "part-00000002.parquet' is damaged" in library.problems[0]
    # What no row can be asked is the fault of who asks.
    with pytest.raises(ClapError, match="cannot be used"):
        found(Library(given.library(tmp_path / "whole", VECTORS, ROWS)), where="path::INT > 3")


@pytest.mark.parametrize("name", ["lib[1]", "lib*", "lib?", "**", "duration=3", "[lib]", "it's"])
def test_a_condition_looks_at_this_library_whatever_its_name_looks_like(
    name: str, tmp_path: Path
) -> None:
    for other in ("lib1", "libs"):  # that a pattern would match
        given.library(tmp_path / other, VECTORS[:ROWS], ROWS)
    library = Library(given.library(tmp_path / name, VECTORS, ROWS))
    assert found(library, where="duration <= 3") == nearest(longest=3)


@pytest.mark.parametrize("where", [5, b"duration < 3", "path = '\udc80'"])
def test_a_condition_is_a_text(where: Any, tmp_path: Path) -> None:
    library = Library(given.library(tmp_path / "lib", VECTORS, ROWS))
    with pytest.raises(ClapError, match="as a text"):
        library.search(vector=QUERY, where=where)
