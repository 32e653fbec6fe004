"""Files of events while they come, read by readers that are not ours."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_export.timelines.cues import LONGEST
from clap_export.timelines.journals import EVENTS, SEGMENTS, EventTable, Heard, SegmentTable, ending
from clap_export.timelines.timeline import Band
from runtime import Event, Events, Rule, Segment
from runtime.plain_text import printable
from tests.clap_export.timelines import readers
from tests.clap_export.timelines.made import ODD, segment

HEARD = Heard("folder/a.wav", Band(50.0, 8000.0))


def windows(on: dict[str, list[tuple[int, int]]], count: int) -> list[Segment]:
    """Windows of a second, in which labels score 0.9 in their stretches and else 0.1."""
    return [
        segment(
            i,
            i + 1,
            *((x, 0.9 if any(a <= i < b for a, b in s) else 0.1) for x, s in on.items()),
        )
        for i in range(count)
    ]


def journal(kind: str, given: list[Segment], rule: Rule | None = None) -> tuple[str, list[Event]]:
    """What a journal writes, and the events that ended."""
    made, events = EVENTS[kind](HEARD), Events(rule)
    pieces, found = [made.head], []
    for each in given:
        changed = events.push(each)
        pieces.append(made.segment(each, events))
        pieces += [made.event(event, None) for event in changed]
        found += changed
    changed = events.finish()
    pieces += [made.event(event, None) for event in changed]
    found += changed
    assert all(not piece or piece.endswith("\n") for piece in pieces)
    return "".join([*pieces, made.rest()]), [e for e in found if e.phase == "ended"]


def test_each_kind_says_the_same() -> None:
    given = windows({label: [(3 * i, 3 * i + 2)] for i, label in enumerate(ODD)}, 3 * len(ODD))
    wanted = [(3 * i, 3 * i + 2, printable(label)) for i, label in enumerate(ODD)]
    text, _ = journal(".csv", given)
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert [row["label"].removeprefix("'") for row in rows] == [
        x.removeprefix("'") for _, _, x in wanted
    ]
    assert not [row for row in rows if row["label"].startswith(("=", "+", "-", "@"))]
    assert [(float(row["start"]), float(row["end"])) for row in rows] == [w[:2] for w in wanted]
    assert {row["peak"] for row in rows} == {"0.9"}
    assert readers.audacity(journal(".txt", given)[0]) == wanted
    selections = readers.raven(journal(".selections.txt", given)[0])
    assert [row["Annotation"] for row in selections] == [x for _, _, x in wanted]
    assert [row["Selection"] for row in selections] == [str(i + 1) for i in range(len(ODD))]
    assert {(row["Begin File"], row["High Freq (Hz)"]) for row in selections} == {
        ("a.wav", "8000.0")
    }
    cues = readers.webvtt(journal(".vtt", given)[0])
    assert [(c.start, c.end, c.text.rpartition(" ")[0]) for c in cues] == wanted
    lines = list(map(json.loads, journal(".jsonl", given)[0].splitlines()))
    assert [x["label"] for x in lines if x["phase"] == "ended"] == ODD
    assert [x["phase"] for x in lines[:2]] == ["began", "ended"]


STRETCHES = st.lists(
    st.tuples(st.integers(0, 399), st.integers(1, 150)).map(lambda p: (p[0], sum(p))), max_size=3
)


@settings(max_examples=150, deadline=None)
@given(
    on=st.dictionaries(st.sampled_from("abcdef"), STRETCHES, min_size=1),
    minimum=st.sampled_from([0.0, 3.0, 100.0]),
    gap=st.sampled_from([0.0, 5.0]),
)
def test_subtitles_are_in_order_and_cover_each_event(
    on: dict[str, list[tuple[int, int]]], minimum: float, gap: float
) -> None:
    text, ended = journal(".vtt", windows(on, 400), Rule(0.5, minimum=minimum, gap=gap))
    cues = readers.webvtt(text)  # in the order of their starts
    assert max((cue.end - cue.start for cue in cues), default=0.0) <= LONGEST + 1e-3
    for label in on:
        mine = [e for e in ended if e.label == label]
        inside = [c for c in cues if c.text.startswith(f"{label} ")]
        assert len(inside) >= len(mine)
        for event in mine:
            here = [c for c in inside if c.start < event.end and c.end > event.start]
            assert max(c.end for c in here) == pytest.approx(event.end)
            if minimum <= LONGEST:  # else it is known too late for its beginning
                assert sum(c.end - c.start for c in here) == pytest.approx(event.end - event.start)


def test_a_label_that_is_on_for_days_delays_no_subtitle() -> None:
    made, events = EVENTS[".vtt"](HEARD), Events(Rule(0.5))
    written, most = 0, 0
    for each in windows(
        {"fan": [(0, 10**9)], "dog": [(i, i + 1) for i in range(0, 3000, 2)]}, 3000
    ):
        changed = events.push(each)
        written += made.segment(each, events).count("-->")
        for event in changed:
            made.event(event, None)
        most = max(most, len(made._cues._waiting))  # type: ignore[attr-defined]
    assert most < 3 * LONGEST
    assert written > 1500 + 3000 / LONGEST - 3 * LONGEST


def test_windows_of_a_stream() -> None:
    given = windows({"a": [(1, 2)], "=b": []}, 3)
    events = Events()
    rows = SEGMENTS[".csv"](HEARD)
    text = rows.head + "".join(rows.segment(each, events) for each in given)
    found = list(csv.DictReader(io.StringIO(text), strict=True))
    assert len(found) == 6
    assert (found[2]["start"], found[2]["label"], found[2]["score"]) == ("1.000000", "a", "0.9")
    assert found[1]["label"] == "'=b"
    lines = SEGMENTS[".jsonl"](HEARD)
    (first, *_) = [json.loads(lines.segment(each, events)) for each in given]
    assert (first["type"], first["start"], len(first["predictions"])) == ("segment", 0, 2)


def test_tables(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow.parquet")
    events = EventTable(HEARD, tmp_path / "events.parquet")
    with events.table:
        for i in range(20_000):
            for phase in ("began", "ended"):
                event = Event(ODD[i % len(ODD)], phase, i, i + 0.5, 0.75, i + 0.25)  # type: ignore[arg-type]
                events.event(event, "2026-02-03T04:05:06.789Z" if i % 2 else None)
            assert len(events.table._rows) < 1 << 14
    file = arrow.ParquetFile(tmp_path / "events.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (2, 20_000)
    rows = file.read().to_pylist()
    assert [row["label"] for row in rows[: len(ODD)]] == ODD
    assert rows[0]["at"] is None
    assert rows[1]["at"].isoformat() == "2026-02-03T04:05:06.789000+00:00"
    assert (rows[1]["start"], rows[1]["end"], rows[1]["peak_at"]) == (1.0, 1.5, 1.25)
    made = SegmentTable(HEARD, tmp_path / "windows.parquet")
    with made.table:
        made.segment(segment(0, 1, ("a", 0.75), ("b", 0.25)))
    rows = arrow.read_table(tmp_path / "windows.parquet").to_pylist()
    assert [(row["label"], row["rank"], row["score"]) for row in rows] == [
        ("a", 1, 0.75),
        ("b", 2, 0.25),
    ]


def test_the_longest_ending_counts() -> None:
    assert ending(Path("x/a.Selections.TXT"), tuple(EVENTS)) == ".selections.txt"
    assert ending(Path("a.txt"), tuple(EVENTS)) == ".txt"
    assert ending(Path("a.wav"), tuple(EVENTS)) is None
