"""Killed at any moment, a library goes on without a lost and without a doubled row."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from runtime import Library
from tests.clap_export.library import made
from tests.places import ROOT
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import RATE

COUNT = 30


@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_kills_at_random_moments(kills: int, tiny_bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(kills)
    paths = made.recordings(tmp_path / "sounds", COUNT)
    seeds = dict(zip(paths, range(COUNT), strict=True))
    out = tmp_path / "lib"
    forked = multiprocessing.get_context("fork")

    def run() -> None:
        # Parts of four rows, so that many are written, and written again.
        made.library(tiny_bundle, [tmp_path / "sounds"], out, rows=4, each_window=True)

    began = time.monotonic()
    whole = forked.Process(target=made.library, args=(tiny_bundle, paths, tmp_path / "timed"))
    whole.start()
    whole.join()
    longest = 1.5 * (time.monotonic() - began)
    died = 0
    while died < kills:
        # Some recordings are others by now, whose rows take the place of older ones.
        for path in rng.choice(paths, 3, replace=False):  # pyright: ignore
            seeds[path] = int(rng.integers(1000, 10**6))
            path.write_bytes(tinybundle.wav(tinybundle.clip(seeds[path]), RATE))
        process = forked.Process(target=run)
        process.start()
        process.join(float(rng.uniform(0, longest)))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        died += process.exitcode == -signal.SIGKILL
        assert process.exitcode in (0, -signal.SIGKILL)
        longest *= 0.9 if process.exitcode == 0 else 1.02
        # What is whole can be read at any time, and holds nothing twice.
        for row in (made.rows(out) if out.exists() else {}).values():
            assert abs(np.linalg.norm(row["embedding"]) - 1) < 1e-6
    run()
    found = made.rows(out)
    assert found.keys() == {(str(path), None) for path in paths}
    windows = made.rows(out, "windows")
    assert windows.keys() == found.keys()
    for path in paths:
        want = made.truth(path, seeds[path])
        for row in (found[str(path), None], windows[str(path), None]):
            assert np.abs(np.array(row["embedding"]) - want).max() < 1e-6
    left = {p.name for p in out.rglob("*") if p.is_file() and not p.name.startswith("part-")}
    assert left == {"library.json", "journal.jsonl"}
    assert (out / "journal.jsonl").read_bytes() == b""


# The command, which says when three recordings are done, and goes no further.
HELD = """
import time
from clap_export.__main__ import entry
from clap_export.library.pace import Pace
one, done = Pace.one, []
def held(self):
    one(self)
    done.append(self)
    if len(done) == 3:
        print("three", flush=True)
        for _ in range(600): time.sleep(0.1)
Pace.one = held
entry()
"""


def test_an_interrupted_command_leaves_what_is_finished_to_be_searched(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "sounds", 12)
    out = tmp_path / "lib"
    command = [sys.executable, "-c", HELD, "embed", str(tiny_bundle)]
    command += [str(tmp_path / "sounds"), "--out", str(out), "--threads", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"three\n"
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert len(made.rows(out)) == 3
    assert made.library(tiny_bundle, [tmp_path / "sounds"], out).embedded == 12 - 3
    assert len(made.rows(out)) == 12


def test_a_torn_line_is_left_out_and_embedded_again(tiny_bundle: Path, tmp_path: Path) -> None:
    made.recordings(tmp_path / "sounds", 3)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    part = out / "parts" / "part-00000001.parquet"
    whole = made.rows(out)
    part.unlink()
    from clap_export.library.item import Item
    from clap_export.library.journal import Journal
    from clap_export.library.row import Row

    journal = Journal(out, tinybundle.DIM)
    journal.begin(
        Row(
            Item(row["path"], None, row["size"], row["mtime_ns"]), row["sha256"], None, 1,
            np.array(row["embedding"], np.float32),
        )
        for row in whole.values()
    )  # fmt: skip
    journal.close()
    path = out / "journal.jsonl"
    for cut in (1, 200):
        path.write_bytes(path.read_bytes()[:-cut])
        assert len(Journal(out, tinybundle.DIM).read()) == 2
    done = made.library(tiny_bundle, [tmp_path / "sounds"], out)
    assert (done.embedded, done.unchanged) == (1, 2)
    assert {k: r["embedding"] for k, r in made.rows(out).items()} == {
        k: r["embedding"] for k, r in whole.items()
    }


def line(**changes: object) -> bytes:
    """A row as the journal has it, with changes."""
    vector = np.eye(1, tinybundle.DIM, dtype="<f4")
    row = {
        "path": "/x/y.wav", "member": None, "size": 1, "mtime_ns": 1, "sha256": "00",
        "duration": 1.0, "rate": 1, "channels": 1, "windows": 1, "vanished": False,
        "warning": None, "error": None, "embedding": packed(vector),
    }  # fmt: skip
    return json.dumps({**row, **changes}).encode()


def packed(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "spoilt",
    [
        b"[" * 200_000,
        b"5",
        b"\xff",
        line(embedding=""),
        line(embedding=None),
        line(embedding=packed(np.full(tinybundle.DIM, np.nan))),
        line(embedding=packed(np.full(tinybundle.DIM, 7.0))),
        line(embedding=packed(np.eye(2, tinybundle.DIM))),
        line(error="no sound"),
        line(path=5),
        line(size="large"),
        line(size=1 << 70),
        line(rate=1 << 40),
        line(vectors=packed(np.eye(2, tinybundle.DIM)), starts=[0.0], ends=[1.0]),
        line(colour="red"),
    ],
)
def test_a_line_that_is_none_is_left_out(spoilt: bytes, tiny_bundle: Path, tmp_path: Path) -> None:
    """It went into a part that nobody could read, or ended the command with a traceback."""
    paths = made.recordings(tmp_path / "sounds", 2)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    (out / "journal.jsonl").write_bytes(line() + b"\n" + spoilt + b"\n")
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    assert {path for path, _ in made.rows(out)} == {*map(str, paths), "/x/y.wav"}
    assert len(Library(out)) == 2  # the file of the line that is one is not there
