"""Every format is read back by a reader that is not ours, with labels that no reader obeys."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from clap_export.timelines import parquet
from clap_export.timelines.formats import TEXTS
from clap_export.timelines.timeline import Timeline
from runtime.errors import AudioError, BackendError, ClapError
from runtime.plain_text import printable
from tests.clap_export.timelines import readers
from tests.clap_export.timelines.made import ODD, one_each, segment, timeline

SHOWN = [printable(label) for label in ODD]


def text(name: str, *timelines: Timeline) -> str:
    return "".join(TEXTS[name].text(timelines))


def test_csv() -> None:
    found = text("csv", timeline(one_each(ODD), "=x,\n.wav"), timeline([segment(1, 2)]))
    rows = list(csv.DictReader(io.StringIO(found), strict=True))
    assert [row["label"].removeprefix("'") for row in rows] == [s.removeprefix("'") for s in SHOWN]
    assert {row["file"] for row in rows} == {"'=x,\\n.wav"}
    for i, row in enumerate(rows):
        assert not row["label"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert (float(row["start"]), float(row["end"])) == (i, i + 1)
        assert (row["rank"], float(row["score"]), float(row["similarity"])) == ("1", 0.5, 0.25)
    assert len(found.splitlines()) == 1 + len(ODD)


def test_csv_has_a_row_for_each_label_of_a_window() -> None:
    found = text("csv", timeline([segment(0, 2, ("a", 0.75), ("b", 0.25))]))
    rows = list(csv.reader(io.StringIO(found)))
    assert rows[1:] == [
        ["a.wav", "0.000000", "2.000000", "a", "1", "0.75", "0.375"],
        ["a.wav", "0.000000", "2.000000", "b", "2", "0.25", "0.125"],
    ]


def test_audacity() -> None:
    found = readers.audacity(text("audacity", timeline(one_each(ODD))))
    assert found == [(i, i + 1, label) for i, label in enumerate(SHOWN)]


def test_raven() -> None:
    found = readers.raven(text("raven", timeline(one_each(ODD), "folder/a\tb.wav")))
    assert [row["Annotation"] for row in found] == SHOWN
    assert [row["Selection"] for row in found] == [str(i + 1) for i in range(len(ODD))]
    for i, row in enumerate(found):
        assert (float(row["Begin Time (s)"]), float(row["End Time (s)"])) == (i, i + 1)
        assert (float(row["Low Freq (Hz)"]), float(row["High Freq (Hz)"])) == (50, 8000)
        assert (row["View"], row["Channel"]) == ("Spectrogram 1", "1")
        assert float(row["Score"]) == 0.5
        assert row["Begin File"] == "a\\tb.wav"


def test_webvtt() -> None:
    cues = readers.webvtt(text("webvtt", timeline(one_each(ODD))))
    assert [(cue.start, cue.end) for cue in cues] == [(i, i + 1) for i in range(len(ODD))]
    assert [cue.text for cue in cues] == [f"{label} (0.50)" for label in SHOWN]


def test_webvtt_counts_hours_and_has_no_empty_cue() -> None:
    windows = [segment(360000, 360000.0001, ("a", 1.0)), segment(360001, 360002, ("b", 1.0))]
    first, second = readers.webvtt(text("webvtt", timeline(windows)))
    assert (first.start, first.end) == (360000, 360000.001)
    assert second.start == 360001


def test_json() -> None:
    windows = one_each(ODD)
    found = text("json", timeline(windows), timeline([segment(0, 1)], "\udce9.wav"))
    assert found.isascii()
    first, second = map(json.loads, found.splitlines())
    assert first["file"] == "a.wav"
    assert first["segments"] == [
        {"start": i, "end": i + 1, "predictions": [{"label": x, "score": 0.5, "similarity": 0.25}]}
        for i, x in enumerate(ODD)
    ]
    assert second["file"] == "\udce9.wav"
    assert second["segments"] == [{"start": 0, "end": 1, "predictions": []}]


def breaking(error: Exception, after: int):
    yield from one_each(ODD[:after])
    raise error


def test_what_breaks_off_keeps_its_beginning_and_says_why() -> None:
    found = timeline(breaking(AudioError("NaN in hour 3."), 2))
    line = json.loads(text("json", found))
    assert len(line["segments"]) == 2
    assert line["error"] == "NaN in hour 3."
    assert (found.count, found.end) == (2, 2)
    line = json.loads(text("json", timeline(breaking(OSError("gone"), 0))))
    assert line.keys() == {"file", "error"}
    assert "a.wav" in line["error"]
    for name in ("csv", "audacity", "raven", "webvtt"):
        whole, cut = timeline(one_each(ODD[:3])), timeline(breaking(AudioError("cut"), 3))
        assert text(name, cut) == text(name, whole)
        assert cut.error is not None


def test_faults_of_the_engine_are_no_faults_of_the_file() -> None:
    with pytest.raises(BackendError):
        text("json", timeline(breaking(BackendError("no memory"), 1)))


def test_windows_are_written_as_they_come() -> None:
    """Nothing of a day's timeline is held: each piece is out before the next window is read."""
    read = []

    def endless():
        for i in range(10**9):
            read.append(i)
            yield segment(i, i + 1, (f"label {i}", 0.5))

    for name in TEXTS:
        read.clear()
        pieces = TEXTS[name].text([timeline(endless())])
        for _ in range(2000):
            next(pieces)
        assert 600 < len(read) <= 2002, name


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    windows = [segment(i, i + 1, ("a", 0.75), (ODD[i % len(ODD)] + "!", 0.25)) for i in range(9000)]
    parquet.write([timeline(windows), timeline([segment(0, 1, ("z", 1.0))], "\udce9.wav")], path)
    table = arrow.read_table(path).to_pylist()
    assert arrow.ParquetFile(path).num_row_groups == 2
    assert len(table) == 18001
    assert table[-1] == {
        "file": "\\udce9.wav", "start": 0, "end": 1, "label": "z", "rank": 1, "score": 1,
        "similarity": 0.5,
    }  # fmt: skip
    assert [row["label"] for row in table[1:-1:2]] == [w.predictions[1].label for w in windows]
    assert [row["rank"] for row in table[:4]] == [1, 2, 1, 2]
    parquet.write([timeline([])], path)
    assert arrow.read_table(path).num_rows == 0


def test_parquet_without_pyarrow_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ClapError, match="pip install pyarrow"):
        parquet.pyarrow()
