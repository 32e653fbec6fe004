"""What a library holds after it was made, and made again."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.library.embed import Work
from runtime.clips.policy import Policy
from runtime.errors import ClapError
from runtime.files import owning
from runtime.library import columns, description
from runtime.library.description import LibraryError
from tests.clap_export.library import made
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import DIM, RATE, WINDOW


def vector(row: dict[str, Any]) -> np.ndarray:
    """As it is stored, to float64."""
    if isinstance(row["embedding"], bytes):
        return np.frombuffer(row["embedding"], np.int8).astype(np.float64) * row["scale"]
    return np.array(row["embedding"], np.float64)


def test_rows_are_what_the_recordings_are(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = made.recordings(tmp_path / "sounds", 5)
    stereo = np.stack([tinybundle.clip(7, WINDOW), tinybundle.clip(8, WINDOW)], axis=1)
    (tmp_path / "sounds" / "stereo.wav").write_bytes(tinybundle.wav(stereo, RATE))
    summary = made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "lib")
    assert (summary.listed, summary.embedded, summary.failed) == (6, 6, [])
    found = made.rows(tmp_path / "lib")
    for seed, path in enumerate(paths):
        row = found[str(path), None]
        assert np.abs(vector(row) - made.truth(path, seed)).max() < 1e-6
        assert row["size"] == path.stat().st_size
        assert row["mtime_ns"] == path.stat().st_mtime_ns
        assert (row["duration"], row["rate"], row["channels"]) == (WINDOW / RATE, RATE, 1)
        assert (row["windows"], row["vanished"], row["warning"]) == (1, False, None)
    import hashlib

    assert found[str(paths[0]), None]["sha256"] == hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert found[str(tmp_path / "sounds" / "stereo.wav"), None]["channels"] == 2


@pytest.mark.parametrize(("kind", "most"), [("float32", 0), ("float16", 1e-3), ("int8", 6e-3)])
def test_numbers_are_stored_as_asked_for(
    kind: Any, most: float, tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "sounds", 4)
    (tmp_path / "sounds" / "bad.wav").write_bytes(b"no sound")
    made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "plain")
    made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "lib", kind=kind)
    exact, found = made.rows(tmp_path / "plain"), made.rows(tmp_path / "lib")
    assert exact.keys() == found.keys()
    for key, row in found.items():
        if row["error"] is None:
            assert np.abs(vector(row) - vector(exact[key])).max() <= most
            assert abs(np.linalg.norm(vector(row)) - 1) < 1e-3
        else:
            assert row["embedding"] is None
    schema = pq.read_schema(next((tmp_path / "lib" / "parts").iterdir()))
    assert schema.remove_metadata().equals(columns.recordings(kind, DIM))
    said = json.loads(schema.metadata[b"clap-export-library"])
    assert (said["store"], said["dim"]) == (kind, DIM)


def test_what_is_unchanged_is_not_embedded_again(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = made.recordings(tmp_path / "sounds", 6)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out, rows=4)
    before = {p: p.read_bytes() for p in (out / "parts").iterdir()}
    again = made.library(tiny_bundle, [tmp_path / "sounds"], out, rows=4)
    assert (again.embedded, again.unchanged) == (0, 6)
    assert {p: p.read_bytes() for p in (out / "parts").iterdir()} == before
    # One has other samples, one only another time, and one is new.
    paths[0].write_bytes(tinybundle.wav(tinybundle.clip(100), RATE))
    os.utime(paths[5], ns=(1, 1))
    new = made.recordings(tmp_path / "sounds" / "more", 1, seed=50)[0]
    third = made.library(tiny_bundle, [tmp_path / "sounds"], out, rows=4)
    assert (third.embedded, third.unchanged) == (2, 5)
    found = made.rows(out)
    assert len(found) == 7
    assert np.abs(vector(found[str(paths[0]), None]) - made.truth(paths[0], 100)).max() < 1e-6
    assert np.abs(vector(found[str(new), None]) - made.truth(new, 50)).max() < 1e-6
    assert found[str(paths[5]), None]["mtime_ns"] == 1
    assert made.library(tiny_bundle, [tmp_path / "sounds"], out).unchanged == 7


def test_what_vanished_is_marked_and_comes_back(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = made.recordings(tmp_path / "sounds", 4, windows=2.5)
    other = made.recordings(tmp_path / "other", 2)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds", tmp_path / "other"], out, each_window=True)
    shutil.move(paths[1], tmp_path / "away.wav")
    done = made.library(tiny_bundle, [tmp_path / "sounds"], out, each_window=True)
    assert done.vanished == 1
    assert {k[0] for k, r in made.rows(out).items() if r["vanished"]} == {str(paths[1])}
    windows = pq.read_table(out / "windows").to_pylist()
    assert {r["path"] for r in windows if r["vanished"]} == {str(paths[1])}
    shutil.move(tmp_path / "away.wav", paths[1])
    back = made.library(tiny_bundle, [tmp_path / "sounds"], out, each_window=True)
    assert (back.embedded, back.vanished) == (0, 0)
    assert not any(row["vanished"] for row in made.rows(out).values())
    paths[1].unlink()
    other[0].unlink()
    gone = made.library(
        tiny_bundle, [tmp_path / "sounds"], out, each_window=True, work=Work(prune=True)
    )
    assert gone.vanished == 2
    left = {str(p) for p in (*paths, *other) if p.exists()}
    assert {path for path, _ in made.rows(out)} == left
    assert {row["path"] for row in pq.read_table(out / "windows").to_pylist()} == left


def test_a_recording_that_a_listing_still_names_vanishes_too(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    paths = made.recordings(tmp_path, 2)
    (tmp_path / "list.csv").write_text("path,label\n0000.wav,a\n0001.wav,b\n")
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "list.csv"], out)
    paths[0].unlink()
    done = made.library(tiny_bundle, [tmp_path / "list.csv"], out)
    assert (done.embedded, done.vanished, done.failed) == (0, 1, [])
    row = made.rows(out)[str(paths[0]), None]
    assert (row["vanished"], row["error"]) == (True, None)


@pytest.mark.parametrize("name", ["new\nline", "back\u202ewards", "caf\udce9"])
def test_a_bundle_whose_name_no_library_can_hold(
    name: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """A library was made of it, and could never be opened."""
    (tmp_path / name).symlink_to(tiny_bundle)
    moved = shutil.copytree(tiny_bundle, tmp_path / f"{name}2")
    made.recordings(tmp_path / "sounds", 1)
    with pytest.raises(LibraryError, match="holds control characters"):
        made.library(moved, [tmp_path / "sounds"], tmp_path / "lib")
    assert not (tmp_path / "lib").exists()
    made.library(tmp_path / name, [tmp_path / "sounds"], tmp_path / "lib")  # what it leads to
    assert description.read(tmp_path / "lib").model.bundle == str(tiny_bundle.resolve())


@pytest.mark.parametrize("prune", [False, True])
def test_what_cannot_be_looked_at_has_not_vanished(
    prune: bool, tiny_bundle: Path, tmp_path: Path
) -> None:
    """A disk that answers with an error today may answer tomorrow; with --prune all was gone."""
    made.recordings(tmp_path / "sounds", 2)
    listing = tmp_path / "list.csv"
    listing.write_text("path\nsounds/0000.wav\nsounds/0001.wav\n")
    other = made.recordings(tmp_path / "other", 1)
    out, work = tmp_path / "lib", Work(prune=prune)
    made.library(tiny_bundle, [listing, tmp_path / "other"], out)
    before = made.rows(out)
    (tmp_path / "sounds").rename(tmp_path / "away")
    (tmp_path / "sounds").symlink_to("sounds")  # too many levels of symbolic links
    done = made.library(tiny_bundle, [listing], out, work=work)
    assert (done.embedded, done.vanished) == (0, 0)
    assert [line.endswith("what is known of it stays as it is.") for line in done.failed] == [
        True, True,
    ]  # fmt: skip
    done = made.library(tiny_bundle, other, out, work=work)  # they are asked for by nobody
    assert (done.vanished, done.failed) == (0, [])
    assert made.rows(out) == before
    (tmp_path / "sounds").unlink()
    assert made.library(tiny_bundle, other, out, work=work).vanished == 2


@pytest.mark.parametrize("prune", [False, True])
def test_members_behind_the_end_of_a_torn_shard_have_not_vanished(
    prune: bool, tiny_bundle: Path, tmp_path: Path
) -> None:
    sound = [tinybundle.wav(tinybundle.clip(i), RATE) for i in range(3)]
    shard = made.shard(tmp_path / "0.tar", {f"{i}.wav": data for i, data in enumerate(sound)})
    out = tmp_path / "lib"
    made.library(tiny_bundle, [shard], out)
    data, changed = shard.read_bytes(), shard.stat().st_mtime_ns
    shard.write_bytes(data[: len(data) // 3])
    os.utime(shard, ns=(changed, changed))
    torn = made.library(tiny_bundle, [shard], out, work=Work(prune=prune))
    assert torn.problems
    assert torn.vanished == 0
    assert {member for _, member in made.rows(out)} == {"0.wav", "1.wav", "2.wav"}
    # One that is whole and has fewer members says that the others are gone.
    made.shard(shard, {"0.wav": sound[0]})
    whole = made.library(tiny_bundle, [shard], out, work=Work(prune=prune))
    assert whole.vanished == 2


def test_windows_are_kept_with_their_times(tiny_bundle: Path, tmp_path: Path) -> None:
    (path,) = made.recordings(tmp_path / "sounds", 1, windows=2.5)
    for name, policy in (("lib", None), ("raw", Policy("r", pooling="raw_mean"))):
        out = tmp_path / name
        made.library(tiny_bundle, [path], out, each_window=True, windows=policy)
        found = pq.read_table(out / "windows").to_pylist()
        clip = tinybundle.clip(0, int(2.5 * WINDOW))
        starts = [0, WINDOW, int(1.5 * WINDOW)]
        assert [(r["start"] * RATE, r["end"] * RATE) for r in found] == [
            (s, s + WINDOW) for s in starts
        ]
        for row, start in zip(found, starts, strict=True):
            want = tinybundle.slow_audio_embedding(clip[start : start + WINDOW])
            assert np.abs(np.array(row["embedding"]) - want).max() < 1e-6


@pytest.mark.parametrize("windows", ["all", "head:1", "middle:1", "spaced:2", "back-to-back"])
def test_lengths_are_known_whatever_is_heard(
    windows: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path, 1, windows=2.5)
    clip = tinybundle.clip(3, 5 * WINDOW)
    stereo = np.stack([clip, clip], axis=1)
    (tmp_path / "stereo.wav").write_bytes(tinybundle.wav(stereo, 44100))
    import soundfile

    soundfile.write(tmp_path / "packed.ogg", 0.1 * stereo, 44100)
    made.library(tiny_bundle, [tmp_path], tmp_path / "lib", windows=windows)
    facts = {
        Path(path).name: (row["duration"], row["rate"], row["channels"], row["error"])
        for (path, _), row in made.rows(tmp_path / "lib").items()
    }
    long = 5 * WINDOW / 44100
    assert facts == {
        "0000.wav": (2.5 * WINDOW / RATE, RATE, 1, None),
        "stereo.wav": (long, 44100, 2, None),
        "packed.ogg": (long, 44100, 2, None),
    }


def test_bad_recordings_are_rows_with_their_error(tiny_bundle: Path, tmp_path: Path) -> None:
    made.recordings(tmp_path / "sounds", 2)
    (tmp_path / "sounds" / "text.wav").write_text("no sound at all, " * 10)
    (tmp_path / "sounds" / "empty.wav").touch()
    (tmp_path / "list.jsonl").write_text('{"path": "sounds/missing.wav"}\n')
    os.mkfifo(tmp_path / "sounds" / "pipe.wav")
    (tmp_path / "sounds" / os.fsdecode(b"caf\xe9.wav")).write_bytes(
        tinybundle.wav(tinybundle.clip(3), RATE)
    )
    arguments = ["embed", str(tiny_bundle), str(tmp_path / "sounds"), str(tmp_path / "list.jsonl")]
    arguments += ["--out", str(tmp_path / "lib")]
    for _ in range(2):  # the second time they are known, or are tried again; none is doubled
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2, result.output
    found = made.rows(tmp_path / "lib")
    errors = {Path(path).name: row["error"] for (path, _), row in found.items()}
    assert len(errors) == 7
    assert errors["0000.wav"] is None
    assert "cannot be decoded" in errors["text.wav"]
    assert "empty" in errors["empty.wav"]
    assert "does not exist" in errors["missing.wav"]
    assert "is not a file" in errors["pipe.wav"]
    assert "not text in UTF-8" in errors["caf\\udce9.wav"]
    assert "5 could not be used" in result.output
    assert "0 embedded" in result.output
    # What is mended is embedded, and the rest only when asked for.
    (tmp_path / "sounds" / "text.wav").write_bytes(tinybundle.wav(tinybundle.clip(9), RATE))
    done = made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "lib")
    assert (done.embedded, done.known_bad) == (1, 3)
    retried = made.library(
        tiny_bundle, [tmp_path / "sounds"], tmp_path / "lib", work=Work(retry=True)
    )
    assert (retried.embedded, retried.known_bad, len(retried.failed)) == (0, 0, 3)
    assert len(made.rows(tmp_path / "lib")) == 7


def test_an_unreadable_folder_is_named_and_the_others_are_embedded(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "sounds" / "good", 1)
    (tmp_path / "sounds" / "torn.tar").write_bytes(b"x" * 700)
    given = [tmp_path / "sounds" / "good", tmp_path / "sounds" / "torn.tar"]
    done = made.library(tiny_bundle, given, tmp_path / "lib")
    assert done.embedded == 1
    assert "torn.tar" in done.problems[0]


def test_another_space_policy_or_form_is_refused_and_both_are_named(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "sounds", 1)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    other = tinybundle.build(tmp_path / "other", space_id="another-space", name="other")
    with pytest.raises(LibraryError, match=r"'tiny' \(space tiny-space\).*'other' \(space another"):
        made.library(other, [tmp_path / "sounds"], out)
    with pytest.raises(LibraryError, match=r"policy 'default'.*'spaced:2'"):
        made.library(tiny_bundle, [tmp_path / "sounds"], out, windows="spaced:2")
    with pytest.raises(LibraryError, match=r"stores float32 without.*int8 without"):
        made.library(tiny_bundle, [tmp_path / "sounds"], out, kind="int8")
    with pytest.raises(ClapError, match="leaves no embedding"):
        made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "max", windows="rare")
    assert len(made.rows(out)) == 1


def test_the_command_goes_on_with_the_librarys_own_policy_and_form(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "a", 1)
    made.recordings(tmp_path / "b", 1, seed=1)
    begin = ["embed", str(tiny_bundle)]
    end = ["--out", str(tmp_path / "lib"), "--json"]
    options = ["--windows", "head:2", "--store", "int8", "--each-window"]
    first = CliRunner().invoke(main, [*begin, str(tmp_path / "a"), *end, *options])
    assert first.exit_code == 0, first.output
    second = CliRunner().invoke(main, [*begin, str(tmp_path / "b"), *end])
    assert second.exit_code == 0, second.output
    assert json.loads(second.stdout)["embedded"] == 1
    said = description.read(tmp_path / "lib")
    assert (said.policy.name, said.store, said.each_window) == ("head:2", "int8", True)
    assert len(made.rows(tmp_path / "lib")) == 2


def test_two_writers_at_once_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    made.recordings(tmp_path / "sounds", 1)
    out = tmp_path / "lib"
    ready, leave = multiprocessing.Event(), multiprocessing.Event()

    def hold() -> None:
        with owning(out):
            ready.set()
            leave.wait(60)

    other = multiprocessing.get_context("fork").Process(target=hold)
    other.start()
    assert ready.wait(60)
    with pytest.raises(LibraryError, match="being written by another process"):
        made.library(tiny_bundle, [tmp_path / "sounds"], out)
    leave.set()
    other.join()
    assert made.library(tiny_bundle, [tmp_path / "sounds"], out).embedded == 1


def test_a_folder_of_other_things_and_other_versions_are_refused(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "sounds", 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(LibraryError, match="no library at"):
        made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "mine")
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out)
    said = json.loads((out / "library.json").read_text())
    (out / "library.json").write_text(json.dumps({**said, "format_version": 99}))
    with pytest.raises(LibraryError, match="format_version 99; this clap-export reads 1"):
        made.library(tiny_bundle, [tmp_path / "sounds"], out)
    (out / "library.json").write_text(json.dumps({**said, "colour": "red"}))
    with pytest.raises(ClapError, match="unknown key 'colour'"):
        made.library(tiny_bundle, [tmp_path / "sounds"], out)


def test_a_damaged_part_is_named_and_made_anew_when_it_is_gone(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made.recordings(tmp_path / "sounds", 4)
    out = tmp_path / "lib"
    made.library(tiny_bundle, [tmp_path / "sounds"], out, rows=2)
    part = out / "parts" / "part-00000001.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(LibraryError, match=r"part-00000001.parquet' is damaged.*Remove it"):
        made.library(tiny_bundle, [tmp_path / "sounds"], out)
    part.unlink()
    assert made.library(tiny_bundle, [tmp_path / "sounds"], out).embedded == 2
    assert len(made.rows(out)) == 4


def test_a_disk_that_is_full_loses_nothing_that_was_finished(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    import resource
    import signal

    paths = made.recordings(tmp_path / "sounds", 40)
    out = tmp_path / "lib"

    def run() -> None:
        # A file that may not grow fails as one on a full disk does.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
        try:
            made.library(tiny_bundle, [tmp_path / "sounds"], out)
        except LibraryError as error:
            os._exit(7 if "What was finished is kept" in str(error) else 8)
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    assert child.exitcode == 7
    kept = sum(line.endswith("}") for line in (out / "journal.jsonl").read_text().splitlines())
    assert kept > 5
    done = made.library(tiny_bundle, [tmp_path / "sounds"], out)
    assert done.embedded == len(paths) - kept
    found = made.rows(out)
    assert len(found) == len(paths)
    for seed, path in enumerate(paths):
        assert np.abs(vector(found[str(path), None]) - made.truth(path, seed)).max() < 1e-6


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
@pytest.mark.parametrize("program", ["duckdb", "polars", "pandas"])
def test_other_programs_read_the_parts(
    program: str, kind: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    reader = pytest.importorskip(program)
    made.recordings(tmp_path / "sounds", 3)
    (tmp_path / "sounds" / "bad.wav").write_bytes(b"no sound")
    made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "lib", kind=kind, rows=2)
    files = str(tmp_path / "lib" / "parts" / "*.parquet")
    whole = kind == "int8"
    scale = "scale" if whole else "1::DOUBLE AS scale"
    if program == "duckdb":
        query = f"SELECT path, embedding, {scale} FROM '{files}' WHERE error IS NULL ORDER BY path"
        found = reader.sql(query).fetchall()
    elif program == "polars":
        good = reader.read_parquet(files).filter(reader.col("error").is_null()).sort("path")
        scales = good["scale"] if whole else [1.0] * len(good)
        found = zip(good["path"], good["embedding"], scales, strict=True)
    else:
        frame = reader.read_parquet(tmp_path / "lib" / "parts")
        good = frame[frame.error.isna()].sort_values("path")
        scales = good.scale if whole else [1.0] * len(good)
        found = zip(good.path, good.embedding, scales, strict=True)
    rows = list(found)
    assert len(rows) == 3
    for seed, (path, stored, factor) in enumerate(rows):
        numbers = np.frombuffer(stored, np.int8) if whole else np.array(stored, np.float64)
        assert np.abs(numbers * factor - made.truth(path, seed)).max() < 6e-3
