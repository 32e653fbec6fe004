"""``classify --timeline``: where results go, and what is refused before any work."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main, results
from runtime import Classifier, Segment
from tests.clap_export.cli.test_cli import refused
from tests.clap_export.timelines import readers
from tests.clap_export.timelines.made import segment, timeline
from tests.tiny import bundle as tiny

LABELS = ("--labels", "dog,rain,bell,wind")


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recordings of five windows in an empty folder, which is where the command works."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        Path(f"{i}.wav").write_bytes(tiny.wav(tiny.clip(i, 5 * tiny.WINDOW)))
    return ["0.wav", "1.wav"]


def call(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)


def best(bundle: Path, file: str) -> list[tuple[float, float, str]]:
    with Classifier(bundle, LABELS[1].split(",")) as classifier:
        found = classifier.timeline(file)
    return [(s.start, s.end, s.predictions[0].label) for s in found]


def test_regions_of_what_is_heard_most(tiny_bundle: Path, clips: list[str]) -> None:
    windows = best(tiny_bundle, clips[0])
    for name, reader in (("audacity", readers.audacity), ("webvtt", readers.webvtt)):
        result = call("classify", tiny_bundle, clips[0], *LABELS, "--timeline", "--format", name)
        assert result.exit_code == 0, result.output
        found = reader(result.stdout)
        if name == "webvtt":
            found = [(c.start, c.end, c.text.rpartition(" ")[0]) for c in found]
        assert found[0][0] == 0
        assert found[-1][1] == windows[-1][1]
        for start, end, label in windows:
            middle = (start + end) / 2
            assert [x for a, b, x in found if a <= middle < b] == [label]
        assert len(found) == 1 + sum(a[2] != b[2] for a, b in itertools.pairwise(windows))


def test_raven_boxes_end_where_the_recording_or_the_model_does(
    tiny_bundle: Path, clips: list[str]
) -> None:
    Path("low.wav").write_bytes(tiny.wav(tiny.clip(0, 9000), 11025))
    for file, high in ((clips[0], 8000), ("low.wav", 5512.5)):
        given = ("--timeline", "--format", "raven")
        result = call("classify", tiny_bundle, file, *LABELS, *given)
        (row, *_) = readers.raven(result.stdout)
        assert float(row["High Freq (Hz)"]) == high
        assert row["Begin File"] == file


def test_csv_and_json_of_several_files_say_the_same(tiny_bundle: Path, clips: list[str]) -> None:
    given = ("classify", tiny_bundle, *clips, *LABELS, "--timeline", "--hop", 0.2)
    lines = list(map(json.loads, call(*given, "--json").stdout.splitlines()))
    assert lines == list(map(json.loads, call(*given, "--format", "json").stdout.splitlines()))
    wanted = [
        (line["file"], f"{s['start']:.6f}", p["label"], str(rank), f"{p['score']:.6g}")
        for line in lines
        for s in line["segments"]
        for rank, p in enumerate(s["predictions"], 1)
    ]
    assert len(wanted) == 2 * 11 * 3  # windows of half a second every 0.2 s of 2.5
    assert call(*given, "--format", "csv", "-o", "all.csv").stdout == ""
    text = Path("all.csv").read_text("utf-8")
    assert text == call(*given, "--format", "csv").stdout
    rows = [tuple(row.values()) for row in csv.DictReader(text.splitlines())]
    assert [(*row[:2], row[3], row[4], row[5]) for row in rows] == wanted


def test_parquet_says_it_too(tiny_bundle: Path, clips: list[str]) -> None:
    arrow = pytest.importorskip("pyarrow.parquet")
    given = ("classify", tiny_bundle, *clips, *LABELS, "--timeline", "--top-k", 2, "--format")
    assert call(*given, "parquet", "-o", "all.parquet").exit_code == 0
    assert call(*given, "csv", "-o", "all.csv").exit_code == 0
    table = arrow.read_table("all.parquet").to_pylist()
    rows = list(csv.DictReader(Path("all.csv").read_text("utf-8").splitlines()))
    assert len(table) == len(rows) == 2 * 5 * 2
    for one, other in zip(table, rows, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(float(other["score"]), rel=1e-5)
    assert "needs --output" in refused(*given, "parquet")


def test_a_folder_has_a_file_for_each(tiny_bundle: Path, clips: list[str]) -> None:
    for name, suffix in (
        ("audacity", ".txt"), ("raven", ".selections.txt"), ("webvtt", ".vtt"), ("json", ".json"),
    ):  # fmt: skip
        given = ("--timeline", "--format", name, "--output", name)
        assert call("classify", tiny_bundle, *clips, *LABELS, *given).exit_code == 0
        for file in clips:
            alone = call("classify", tiny_bundle, file, *LABELS, "--timeline", "--format", name)
            assert Path(name, f"{file}{suffix}").read_text("utf-8") == alone.stdout
        assert len(list(Path(name).iterdir())) == 2
        again = call("classify", tiny_bundle, *clips, *LABELS, *given)
        assert again.exit_code == 2
        assert "exists" in again.stderr
        assert call("classify", tiny_bundle, *clips, *LABELS, *given, "--overwrite").exit_code == 0


def test_a_file_that_fails_leaves_no_file_and_none_of_the_others_is_lost(
    tiny_bundle: Path, clips: list[str]
) -> None:
    Path("bad.wav").write_bytes(b"RIFF....WAVEnonsense")
    files = [clips[0], "bad.wav", clips[1]]
    given = ("--timeline", "--format", "webvtt", "-o", "out", "--plot", "out")
    result = call("classify", tiny_bundle, *files, *LABELS, *given)
    assert result.exit_code == 2
    assert result.stderr.count("Error: ") == 1
    assert "bad.wav" in result.stderr
    assert {p.name for p in Path("out").iterdir()} == {
        "0.wav.vtt", "0.wav.png", "1.wav.vtt", "1.wav.png",
    }  # fmt: skip
    assert call("classify", tiny_bundle, "bad.wav", *LABELS, *given[:-4], "-o", "x").exit_code == 2
    assert not Path("x").exists()


def test_a_recording_that_is_not_whole_is_used_and_said(
    tiny_bundle: Path, clips: list[str]
) -> None:
    Path("cut.wav").write_bytes(Path(clips[0]).read_bytes()[:90000])
    for extra in ((), ("--plot", "cut.png")):
        given = ("classify", tiny_bundle, "cut.wav", *LABELS, "--timeline", *extra)
        result = call(*given, "--format", "csv")
        assert result.exit_code == 0
        assert result.stderr.startswith("Warning: 'cut.wav'")
        line = json.loads(call(*given, "--json", "--overwrite").stdout)
        assert "cut.wav" in line["warning"]


@pytest.mark.parametrize("source", ["file", "-"])
def test_a_plot_changes_nothing_of_what_is_printed(
    tiny_bundle: Path, clips: list[str], source: str
) -> None:
    Path("a.wav").write_bytes(tiny.wav(tiny.clip(3, 30_000), 22_050))
    file = "a.wav" if source == "file" else "-"
    stdin = Path("a.wav").read_bytes()
    given = ("classify", tiny_bundle, file, *LABELS, "--timeline", "--hop", 0.3, "--json")
    plain = json.loads(call(*given, stdin=stdin).stdout)
    drawn = json.loads(call(*given, "--plot", "a.png", stdin=stdin).stdout)
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert len(plain["segments"]) == len(drawn["segments"]) > 3
    for one, other in zip(plain["segments"], drawn["segments"], strict=True):
        assert (one["start"], one["end"]) == (other["start"], other["end"])
        for p, q in zip(one["predictions"], other["predictions"], strict=True):
            assert p["label"] == q["label"]
            assert p["score"] == pytest.approx(q["score"], abs=1e-5)


def test_what_cannot_be_is_refused_before_any_work(
    tiny_bundle: Path, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sub").mkdir()
    Path("sub/0.wav").write_bytes(Path(clips[0]).read_bytes())
    one = ("classify", tiny_bundle, clips[0], *LABELS)
    two = ("classify", tiny_bundle, *clips, *LABELS, "--timeline")
    for arguments, said in (
        ((*one, "--format", "csv"), "--format csv needs --timeline"),
        ((*one, "--output", "x"), "--output needs --timeline"),
        ((*one, "--plot", "x.png"), "--plot needs --timeline"),
        ((*one, "--timeline", "--output", "x"), "needs a --format"),
        ((*one, "--timeline", "--json", "--format", "csv"), "choose one"),
        ((*one, "--timeline", "--plot", "x.gif"), ".png, .svg, .pdf"),
        ((*two, "--format", "audacity"), "--output FOLDER"),
        ((*two, "--format", "raven", "--output", clips[0]), "folder"),
        (("classify", tiny_bundle, "0.wav", "sub/0.wav", *LABELS, "--timeline", "--format",
          "webvtt", "-o", "out"), "two recordings are called '0.wav'"),
    ):  # fmt: skip
        assert said in refused(*arguments)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = refused(*one, "--timeline", "--plot", "x.png")
    assert "pip install matplotlib" in line
    assert not Path("x.png").exists()


def test_samples_that_are_no_numbers_are_said(tiny_bundle: Path, clips: list[str]) -> None:
    samples = tiny.clip(0, 5 * tiny.WINDOW)
    samples[4 * tiny.WINDOW :] = np.nan
    Path("nan.wav").write_bytes(tiny.wav(samples))
    result = call("classify", tiny_bundle, "nan.wav", *LABELS, "--timeline", "--json")
    line = json.loads(result.stdout)
    assert "nan.wav" in line.get("error", "") + line.get("warning", "")


def test_a_table_is_printed_page_by_page(tiny_bundle: Path, clips: list[str]) -> None:
    """A page has its headings, and names the file and the time of its first row."""
    long = tiny.clip(0, 200 * tiny.WINDOW)
    Path("long.wav").write_bytes(tiny.wav(long))
    result = call("classify", tiny_bundle, "long.wav", *LABELS, "--timeline")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    heads = [i for i, line in enumerate(lines) if "similarity" in line]
    assert len(heads) == 3  # 600 rows
    assert all("long.wav" in lines[i + 2] for i in heads)
    rows = [line for line in lines if line.count("│") == 6]
    assert len(rows) == 600
    assert [line.split("│")[2].strip() for line in rows[:4]] == ["0.0-0.5 s", "", "", "0.5-1.0 s"]


def test_pages_come_while_windows_do(capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[int] = []

    def windows() -> Iterator[Segment]:
        for i in range(1000):
            printed.append(capsys.readouterr().out.count("a.wav"))
            yield segment(i, i + 1, ("dog", 0.5))

    assert results.print_timelines([timeline(windows())]) == 0
    assert [i for i, count in enumerate(printed) if count] == [201, 401, 601, 801]


def test_a_hop_that_is_none_is_refused_once(tiny_bundle: Path, clips: list[str]) -> None:
    for hop in ("0", "nan", "-1", "1e-9"):
        line = refused("classify", tiny_bundle, *clips, *LABELS, "--timeline", "--hop", hop)
        assert f"hop={float(hop)}" in line


def test_what_counts_of_a_policy_is_said(tiny_bundle: Path, clips: list[str]) -> None:
    given = ("classify", tiny_bundle, clips[0], *LABELS, "--timeline", "--format", "csv")
    plain, head = call(*given), call(*given, "--windows", "head")
    assert head.stdout == plain.stdout
    assert "'head' nothing counts here" in head.stderr
