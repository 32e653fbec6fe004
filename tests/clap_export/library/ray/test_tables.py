"""What travels between workers arrives as it was; no cluster is needed for that."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clap_export.library.item import Item
from clap_export.library.ray import Workers, carried, embeddings, stages
from clap_export.library.ray.carried import Carried, Decoded
from clap_export.library.row import Row
from runtime import Encoder
from runtime.clips.clip import Piece
from runtime.clips.fusion import Gathered
from runtime.errors import ClapError
from tests.clap_export.library import made
from tests.places import ROOT
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import DIM, RATE, WINDOW


def looked(paths: list[Path]) -> Any:
    """Recordings as a worker is given them."""
    return stages.looked(pa.table({"path": [str(path) for path in paths]}))


def worked(bundle: Path, table: Any, each_window: bool = False, most: int = 1 << 30) -> list[Row]:
    """Through all stages, here."""
    with Encoder(bundle, threads=1) as encoder:
        actor = stages.Embedding(encoder, each_window, 4, Workers())
        return [
            row
            for given in stages.decoded(table, encoder, 4, most, limit=5 * 4 * WINDOW)
            for found in actor(given)
            for row, _ in embeddings.read(found, DIM)
        ]


@pytest.mark.parametrize("most", [1 << 30, 3 * 4 * WINDOW])
def test_rows_are_those_of_the_local_way(most: int, tiny_bundle: Path, tmp_path: Path) -> None:
    """Also of recordings that are too long to be carried."""
    paths = made.recordings(tmp_path / "sounds", 7)
    paths += made.recordings(tmp_path / "sounds" / "long", 2, seed=50, windows=7.5)
    bad = tmp_path / "sounds" / "text.wav"
    bad.write_text("no sound at all, " * 10)
    shard = made.shard(
        tmp_path / "more.tar",
        {f"{i}.wav": tinybundle.wav(tinybundle.clip(i, 2 * WINDOW), RATE) for i in (90, 91)},
    )
    given = [*paths, bad, tmp_path / "missing.wav", shard]
    found = worked(tiny_bundle, looked(given), True, most)
    (tmp_path / "list.csv").write_text(f"path\n{tmp_path / 'missing.wav'}\n")
    sources = [tmp_path / "sounds", shard, tmp_path / "list.csv"]
    made.library(tiny_bundle, sources, tmp_path / "lib", each_window=True)
    expected = made.rows(tmp_path / "lib")
    assert {row.key for row in found} == expected.keys()
    for row in found:
        want = expected[row.key]
        assert row.cells() == {name: want[name] for name in row.cells()}
        assert (None if row.embedding is None else row.embedding.tolist()) == want["embedding"]
    windows = {
        (*row.key, start): vector.tolist()
        for row in found
        if row.windows is not None
        for start, vector in zip(row.windows.starts, row.windows.vectors, strict=True)
    }
    table = pa.concat_tables(
        pa.parquet.read_table(path) for path in (tmp_path / "lib" / "windows").iterdir()
    )
    assert windows == {
        (row["path"], row["member"], row["start"]): row["embedding"] for row in table.to_pylist()
    }


def test_what_is_known_by_its_bytes_is_not_decoded(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = made.recordings(tmp_path, 3)
    table = looked(paths)
    import hashlib

    known = [hashlib.sha256(paths[0].read_bytes()).hexdigest(), "0" * 64, None]
    table = table.append_column(stages.KNOWN, pa.array(known, pa.string()))
    with Encoder(tiny_bundle) as encoder:
        (sent,) = stages.decoded(table, encoder, 4)
    assert [(each.passed, each.decoded is None) for each in carried.read(sent)] == [
        (True, True), (False, False), (False, False),
    ]  # fmt: skip


def test_what_feature_fusion_gathered_arrives() -> None:
    samples = np.arange(70, dtype=np.float32)
    gathered = Decoded.of([Piece([Gathered(samples, 1000)], (0,), (1000,), True)], "cut", None)
    sent = Carried(Item("/a.wav", None, 1, 2), "f" * 64, gathered)
    (found,) = carried.read(carried.table([sent]))
    assert found.item == sent.item
    assert found.decoded is not None
    assert found.decoded.warning == "cut"
    (piece,) = found.decoded.pieces(4)
    (row,) = piece.rows
    assert isinstance(row, Gathered)
    assert (row.total, row.samples.tolist()) == (1000, samples.tolist())
    assert (piece.starts, piece.ends, piece.last) == ((0,), (1000,), True)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"file": ["/a.wav"]}), "no column 'path'; it has file"),
        (pa.table({"path": ["a.wav"]}), "'a.wav' is no absolute path"),
        (pa.table({"path": pa.array([None], pa.string())}), "None is no absolute path"),
    ],
)
def test_what_is_no_table_of_paths_is_refused(table: Any, said: str) -> None:
    with pytest.raises(ClapError, match=said):
        stages.looked(table)


def test_a_shard_that_is_cut_off_is_said_and_its_beginning_used(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    data = tinybundle.wav(tinybundle.clip(0), RATE)
    shard = made.shard(tmp_path / "a.tar", {"0.wav": data, "1.wav": data})
    shard.write_bytes(shard.read_bytes()[: len(data) + 5000])
    errors = {row.item.member: row.error or "" for row in worked(tiny_bundle, looked([shard]))}
    assert errors.keys() == {"0.wav", "1.wav", None}
    assert errors["0.wav"] == ""
    assert "cut off" in errors["1.wav"]
    assert "cannot be read to its end" in errors[None]


def change(path: Path) -> None:
    path.write_bytes(tinybundle.wav(tinybundle.clip(77), RATE))
    os.utime(path, ns=(5, 5))


@pytest.mark.parametrize("moment", [change, Path.unlink], ids=["changed", "removed"])
def test_a_long_recording_that_changes_on_the_way_is_an_error(
    moment: Callable[[Path], None], tiny_bundle: Path, tmp_path: Path
) -> None:
    (path,) = made.recordings(tmp_path, 1, windows=9)
    with Encoder(tiny_bundle, threads=1) as encoder:
        (sent,) = stages.decoded(looked([path]), encoder, 4, most=4 * WINDOW)
        moment(path)
        (found,) = stages.Embedding(encoder, False, 4, Workers())(sent)
    ((row, _),) = embeddings.read(found, DIM)
    assert row.embedding is None
    assert row.error is not None
    assert "changed while" in row.error or "does not exist" in row.error


def test_workers_are_checked() -> None:
    assert dataclasses.replace(Workers(), cpus=3, encoders=(2, None)).cpus == 3
    for wrong in ({"cpus": 0}, {"encoders": (1, 0)}, {"decoders": -1}, {"gpus": "one"}):
        with pytest.raises(ClapError):
            Workers(**wrong)  # pyright: ignore[reportArgumentType]


def test_without_ray_it_is_said_how_to_get_it(tiny_bundle: Path, tmp_path: Path) -> None:
    made.recordings(tmp_path / "sounds", 1)
    arguments = ["embed", str(tiny_bundle), str(tmp_path / "sounds")]
    arguments += ["--out", str(tmp_path / "lib"), "--ray"]
    code = (
        "import sys\nsys.modules['ray'] = None\nfrom clap_export.cli import main\n"
        f"main({arguments!r}, prog_name='clap-export')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert "pip install clap-export[ray]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lib").exists()
