"""Labels that people gave are read from listings and folders, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clap_export.library import given
from clap_export.library.given import Columns
from runtime.errors import ClapError

ROWS = [
    {"path": "a.wav", "label": "dog", "recording": "1"},
    {"path": "sub/b.wav", "label": "dog| rain", "recording": "2"},
    {"path": "a.wav", "label": "bark", "recording": "1"},
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_listings(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{kind}"
    if kind == "csv":
        lines = ["path,label,recording", *(",".join(row.values()) for row in ROWS)]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    found = given.read(path, Columns("label", "recording"), ())
    a, b = (str(tmp_path / "a.wav"), None), (str(tmp_path / "sub" / "b.wav"), None)
    assert found.of == {a: frozenset(("dog", "bark")), b: frozenset(("dog", "rain"))}
    assert found.groups == {a: "1", b: "2"}
    assert found.names == ("bark", "dog", "rain")


def test_lists_of_labels_and_members_of_shards(tmp_path: Path) -> None:
    rows = [{"path": "x.tar", "member": "1.flac", "label": ["dog", "rain"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labels.parquet")
    found = given.read(tmp_path / "labels.parquet", Columns(), ())
    assert found.of == {(str(tmp_path / "x.tar"), "1.flac"): frozenset(("dog", "rain"))}


def test_folders(tmp_path: Path) -> None:
    keys = [
        (str(tmp_path / "dog" / "1.wav"), None), (str(tmp_path / "rain" / "deep" / "2.wav"), None),
        (str(tmp_path / "3.wav"), None), (f"{tmp_path}-other/dog/4.wav", None),
    ]  # fmt: skip
    found = given.read(tmp_path, Columns(), keys)
    assert found.of == {keys[0]: frozenset(("dog",)), keys[1]: frozenset(("rain",))}


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("path,name\na.wav,dog\n", Columns(), "row 1 has no 'label'; it has path, name"),
        ("path,label\na.wav, | \n", Columns(), "row 1 gives no label"),
        ("path,label\n,dog\n", Columns(), "row 1 has no 'path'"),
        ("path,label\n", Columns(), "has no rows"),
        ("path,label\na.wav,dog\n", Columns("label", "group"), "has no 'group'"),
        ("path,label,g\na.wav,dog,1\na.wav,cat,2\n", Columns("label", "g"), "in two groups"),
    ],
)
def test_unusable_listings(text: str, columns: Columns, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ClapError, match=message):
        given.read(tmp_path / "labels.csv", columns, ())


def test_what_gives_no_labels(tmp_path: Path) -> None:
    for path in (tmp_path / "labels.txt", tmp_path / "none"):
        with pytest.raises(ClapError, match="gives no labels: pass a listing"):
            given.read(path, Columns(), ())
    with pytest.raises(ClapError, match="the library has no recording in a folder of it"):
        given.read(tmp_path, Columns(), [("/elsewhere/dog/1.wav", None)])
    with pytest.raises(ClapError, match="cannot be read"):
        given.read(tmp_path / "none.csv", Columns(), ())
