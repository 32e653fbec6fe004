"""Accuracy on a listing against counting by hand, and listings that are wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clap_export.parity.accuracy import (
    Accuracy,
    Scored,
    agreement,
    evaluate,
    measure,
    read_listing,
    wilson,
)
from runtime import ClapError, Encoder
from tests.tiny import bundle as tinybundle


def test_measures_counted_by_hand() -> None:
    similarities = np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.8, 0.7], [0.6, 0.5, 0.1], [0.1, 0.3, 0.2]], np.float32
    )
    right = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]], bool)
    found = measure(similarities, right)
    # Best labels are 0, 1, 0, 1: right for the first and the last clip.
    assert (found.clips, found.labels, found.top1, found.top5) == (4, 3, 0.5, 1.0)
    assert found.interval == wilson(0.5, 4)
    # Label 0: its clip is first. Label 1: clips rank 1 (wrong), 2 (right), 3 (right).
    # Label 2: clip 1 is first; clip 2 third, behind clip 3.
    want = (1 + (1 / 2 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 3
    assert found.mean_average_precision == pytest.approx(want)


def test_agreement_is_of_best_labels() -> None:
    accuracy = Accuracy(2, 2, 1.0, 1.0, 1.0)
    one = Scored(np.array([[0.9, 0.1], [0.2, 0.3]]), accuracy)
    two = Scored(np.array([[0.5, 0.4], [0.3, 0.2]]), accuracy)
    assert agreement(one, two) == 0.5
    assert agreement(one, one) == 1.0


def write(path: Path, rows: list[tuple[str, str]], header: tuple[str, ...] = ("path", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for name in ("one.wav", "two.wav", "three.wav"):
        soundfile.write(tmp_path / name, rng.uniform(-0.5, 0.5, 20_000), tinybundle.RATE)
    return ["one.wav", "two.wav", "three.wav"]


def test_a_bundle_on_a_listing(tiny_bundle: Path, tmp_path: Path, clips: list[str]) -> None:
    listing = write(
        tmp_path / "list.csv", list(zip(clips, ["dog", "rain", "dog|rain"], strict=True))
    )
    with Encoder(tiny_bundle) as encoder:
        run = evaluate(encoder, read_listing(listing), ["{}"])
        audio = encoder.embed_audio([tmp_path / name for name in clips])
        text = encoder.embed_text(["dog", "rain"])
    assert np.abs(run.similarities - audio @ text.T).max() < 1e-6
    best = (audio @ text.T).argmax(axis=1)
    assert run.accuracy.top1 == pytest.approx((int(best[0] == 0) + int(best[1] == 1) + 1) / 3)


def test_wrong_listings_are_named(tmp_path: Path, clips: list[str]) -> None:
    with pytest.raises(ClapError, match="cannot be read"):
        read_listing(tmp_path / "none.csv")
    with pytest.raises(ClapError, match="has the columns file, label"):
        read_listing(write(tmp_path / "a.csv", [(clips[0], "x")], ("file", "label")))
    with pytest.raises(ClapError, match="0 rows"):
        read_listing(write(tmp_path / "b.csv", []))
    with pytest.raises(ClapError) as caught:
        read_listing(write(tmp_path / "c.csv", [("gone.wav", "x"), (clips[0], "")]))
    assert "row 3: no label" in str(caught.value)
    assert "row 2" in str(caught.value)
    assert "gone.wav does not exist" in str(caught.value)


def test_top5_looks_no_further_than_five() -> None:
    similarities = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]], np.float32)
    right = np.zeros((2, 6), bool)
    right[:, 5] = True
    found = measure(similarities, right[:, :])
    assert found.top5 == 0.5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "columns none and 0 rows"),
        (b"path,label\n", "0 rows"),
        (b"path,label\n\n\n", "0 rows"),
        (b"path;label\none.wav;dog\n", "columns path;label and 1 rows"),
        (b"path\tlabel\none.wav\tdog\n", "comma between"),
        (b"path,label,label\none.wav,a,b\n", "columns path, label, label"),
        (b"path,path\none.wav,a\n", "columns path, path"),
        (b"path,label\none.wav\n", "row 2: 1 fields, not 2"),
        (b"path,label\none.wav,a,b\n", "row 2: 3 fields, not 2"),
        (b"path,label\none.wav,a|\n", "row 2: no label"),
        (b"path,label\n,a\n", "row 2"),
        (b"path,label\n.,a\n", "does not exist"),
        (b"path,label\n" + b"x" * 300 + b",a\n", "does not exist"),
        (b"path,label\n" + b"x" * 200_000 + b",a\n", "cannot be read"),
        (b'path,label\n"one.wav,a\n', "cannot be read"),
        (b"path,label\none.wav,a\0\n", "binary"),
        (b"path,label\none.wav,caf\xe9\n", "not UTF-8"),
        ("path,label\none.wav,é\n".encode("utf-16"), "not UTF-8"),
    ],
    ids=range(18),
)
def test_odd_listings_are_said(tmp_path: Path, clips: list[str], content: bytes, said: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(ClapError, match="--listing") as caught:
        read_listing(tmp_path / "list.csv")
    assert said in str(caught.value)


def test_a_listing_as_a_spreadsheet_writes_it(tmp_path: Path, clips: list[str]) -> None:
    content = '\ufeffpath, label \r\none.wav,Hundegebell|Straße\r\n\r\n"two.wav","a, b"\r\n'
    (tmp_path / "list.csv").write_text(content, "utf-8", newline="")
    assert [item.labels for item in read_listing(tmp_path / "list.csv")] == [
        {"Hundegebell", "Straße"}, {"a, b"}
    ]  # fmt: skip
    with pytest.raises(ClapError, match="Is a directory"):
        read_listing(tmp_path)
