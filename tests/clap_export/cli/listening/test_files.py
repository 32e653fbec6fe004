"""Files of events, while they are written and after whatever ended it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from tests.clap_export.cli.listening.started import (
    EVERYTHING,
    LABELS,
    PATIENCE,
    bursts,
    environment,
    inside,
    lines_of,
    pcm,
    posix,
    running,
)
from tests.clap_export.timelines import readers
from tests.tiny import bundle as tiny

KINDS = ("csv", "jsonl", "txt", "selections.txt", "vtt", "parquet")


def rows_of(path: Path) -> list[tuple[float, float, str]]:
    """Events in a file, by whoever knows its format; in the order of their starts."""
    text = "" if path.suffix == ".parquet" else path.read_text("utf-8")
    if path.suffix == ".parquet":
        table = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        found = [(r["start"], r["end"], r["label"]) for r in table]
    elif path.suffix == ".csv":
        found = [
            (float(r["start"]), float(r["end"]), r["label"])
            for r in csv.DictReader(text.splitlines())
        ]
    elif path.suffix == ".jsonl":
        lines = [line for line in lines_of(text) if line["phase"] == "ended"]
        found = [(x["start"], x["end"], x["label"]) for x in lines]
    elif path.suffix == ".vtt":
        found = [(c.start, c.end, c.text.rpartition(" ")[0]) for c in readers.webvtt(text)]
    elif path.name.endswith(".selections.txt"):
        found = [
            (float(r["Begin Time (s)"]), float(r["End Time (s)"]), r["Annotation"])
            for r in readers.raven(text)
        ]
    else:
        found = readers.audacity(text)
    return sorted((round(a, 3), round(b, 3), x) for a, b, x in found)


def into(folder: Path) -> list[object]:
    return [word for kind in KINDS for word in ("-o", folder / f"events.{kind}")]


def test_events_go_to_files_of_every_kind(tiny_bundle: Path, tmp_path: Path) -> None:
    windows = ("--segments-output", tmp_path / "w.csv", "--segments-output", tmp_path / "w.parquet")
    done = inside(
        tiny_bundle, bursts(), "--on", 0.3, "--json", "--segments", *into(tmp_path), *windows
    )
    assert done.exit_code == 0, done.stderr
    lines = lines_of(done.stdout)
    ended = [x for x in lines if x.get("phase") == "ended"]
    wanted = sorted((round(x["start"], 3), round(x["end"], 3), x["label"]) for x in ended)
    assert len(wanted) > 2
    for kind in KINDS:
        assert rows_of(tmp_path / f"events.{kind}") == wanted, kind
    segments = [x for x in lines if x["type"] == "segment"]
    rows = list(csv.DictReader((tmp_path / "w.csv").read_text("utf-8").splitlines()))
    assert [float(r["start"]) for r in rows[:: len(tiny.LABELS)]] == [s["start"] for s in segments]
    assert len(rows) == len(segments) * len(tiny.LABELS)
    table = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "w.parquet")
    assert table.column("label").to_pylist() == [r["label"] for r in rows]
    names = {f"events.{kind}" for kind in KINDS} | {"w.csv", "w.parquet"}
    assert {p.name for p in tmp_path.iterdir()} == names


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_files_are_whole_after_a_signal(tiny_bundle: Path, tmp_path: Path, number: int) -> None:
    with running(
        tiny_bundle, *EVERYTHING, "--rate", 16_000, "--json", "--segments", *into(tmp_path)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pcm(2.0))
        process.stdin.flush()
        while json.loads(process.stdout.readline())["type"] != "segment":
            pass
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    wanted = rows_of(tmp_path / "events.csv")
    assert {label for *_, label in wanted} == set(tiny.LABELS)
    assert all(end >= 1.0 for _, end, _ in wanted)
    for kind in KINDS:
        assert rows_of(tmp_path / f"events.{kind}") == wanted


def test_files_keep_what_came_before_an_error(tiny_bundle: Path, tmp_path: Path) -> None:
    samples = np.tile(tiny.clip(0, 16_000), 4)
    samples[50_000] = np.nan
    done = inside(
        tiny_bundle, samples.astype("<f4").tobytes(), *EVERYTHING, *into(tmp_path), pcm="f32le"
    )
    assert done.exit_code == 2
    wanted = rows_of(tmp_path / "events.csv")
    assert {label for *_, label in wanted} == set(tiny.LABELS)
    for kind in KINDS:
        assert rows_of(tmp_path / f"events.{kind}") == wanted


def test_rows_are_there_while_the_sound_goes_on(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    with running(tiny_bundle, "--on", 0.3, "--rate", 16_000, "-o", path) as process:
        assert process.stdin is not None
        process.stdin.write(bursts())
        process.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while not path.exists() or len(rows_of(path)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()  # no chance to end well
        process.wait()
    assert path.read_text("utf-8").endswith("\n")
    assert len(rows_of(path)) >= 3


@posix
def test_a_reader_that_goes_away_takes_no_rows_with_it(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    with running(tiny_bundle, *EVERYTHING, "--rate", 16_000, "--json", "-o", path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write(pcm(2.0))
            process.stdin.close()
        process.stdin = None
        assert process.wait(PATIENCE) == 141
    assert len(rows_of(path)) == len(tiny.LABELS)


@posix
def test_a_full_disk_ends_a_file_and_not_the_listening(tiny_bundle: Path, tmp_path: Path) -> None:
    """Files may have 2000 bytes here: more are not written, as on a full disk."""
    small, rest = tmp_path / "e.jsonl", ("--rate", "16000", "--json", "--on", "0.3")
    code = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "sys.argv = ['clap-export', *sys.argv[1:]]\n"
        "runpy.run_module('clap_export', run_name='__main__')\n"
    )
    table = tmp_path / "e.parquet"
    words = [sys.executable, "-c", code, "listen", str(tiny_bundle), "--labels", LABELS, *rest]
    run = subprocess.run(
        [*words, "-o", str(small), "-o", str(table)], input=4 * bursts(), capture_output=True,
        check=False, env=environment(),
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    lines = lines_of(run.stdout.decode())
    assert lines[-1]["seconds"] == pytest.approx(24.0)  # heard to its end
    assert run.stderr.decode().count(f"'{small}' cannot be written any more") == 1
    text = small.read_text("utf-8")
    assert text.endswith("\n")
    assert lines_of(text) == [x for x in lines if x["type"] == "event"][: len(text.splitlines())]
    assert 1000 < len(text) <= 2000
    if table.exists():  # small enough
        rows_of(table)
    assert not list(tmp_path.glob(".*.part"))


def test_files_that_cannot_be_are_refused_before_any_work(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").write_text("mine")
    for arguments, said in (
        (("-o", tmp_path / "a.mp3"), "its name ends in one of .csv, .jsonl"),
        (("--segments-output", tmp_path / "a.vtt"), "its name ends in one of .csv, .jsonl"),
        (("-o", tmp_path / "a.csv", "--segments-output", tmp_path / "a.csv"), "twice"),
        (("-o", tmp_path / "old.csv"), "old.csv' exists"),
        (("-o", tmp_path / "no" / "a.csv"), "does not exist"),
    ):
        done = inside(tiny_bundle, pcm(1.0), *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"old.csv"}
    assert (tmp_path / "old.csv").read_text() == "mine"
    done = inside(tiny_bundle, pcm(1.0), *EVERYTHING, "-o", tmp_path / "old.csv", "--overwrite")
    assert done.exit_code == 0
    assert len(rows_of(tmp_path / "old.csv")) == len(tiny.LABELS)


@posix
def test_two_processes_do_not_write_one_file(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    with running(tiny_bundle, *EVERYTHING, "--rate", 16_000, "-o", path) as process:
        assert process.stdin is not None
        process.stdin.write(pcm(2.0))
        process.stdin.flush()
        while not (path.exists() and path.stat().st_size):  # it is locked before its first line
            assert process.poll() is None
            time.sleep(0.05)
        done = inside(tiny_bundle, pcm(1.0), *EVERYTHING, "-o", path, "--overwrite")
        assert done.exit_code == 2
        assert "is being written by another process" in done.stderr
        assert "heard" not in done.stderr  # a stream without an end would be, and not written


def test_nothing_is_left_of_an_input_that_cannot_be_heard(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        main, ["listen", str(tiny_bundle), "--labels", LABELS, "--input", "no.wav",
               "-o", str(tmp_path / "a.csv"), "-o", str(tmp_path / "a.parquet")],
    )  # fmt: skip
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())
