"""Windows to regions: the overlap is shared, what follows each other is one."""

from __future__ import annotations

import random
from itertools import count, pairwise

import pytest

from clap_export.timelines import regions as module
from clap_export.timelines.regions import Region, regions, shares
from runtime import Segment
from tests.clap_export.timelines.made import segment


def test_overlap_is_shared_at_its_middle() -> None:
    found = list(shares([segment(0, 10), segment(4, 14), segment(8, 18), segment(9, 19)]))
    assert [(s.start, s.end) for s in found] == [(0, 7), (7, 11), (11, 13.5), (13.5, 19)]


def test_windows_back_to_back_and_apart_stay_as_they_are() -> None:
    windows = [segment(0, 5), segment(5, 10), segment(12, 17)]
    assert list(shares(windows)) == windows
    assert list(shares([])) == []


def test_the_same_label_goes_on() -> None:
    found = regions([
        segment(0, 2, ("a", 0.5), ("b", 0.4)), segment(1, 3, ("a", 0.9)),
        segment(2, 4, ("b", 0.6)), segment(3, 5), segment(4, 6, ("b", 0.7)),
    ])  # fmt: skip
    assert list(found) == [
        Region("a", 0, 2.5, 0.9), Region("b", 0, 1.5, 0.4),
        Region("b", 2.5, 3.5, 0.6), Region("b", 4.5, 6, 0.7),
    ]  # fmt: skip


def test_a_gap_between_windows_ends_a_region() -> None:
    found = regions([segment(0, 1, ("a", 0.5)), segment(3, 4, ("a", 0.6))])
    assert list(found) == [Region("a", 0, 1, 0.5), Region("a", 3, 4, 0.6)]


def slow(windows: list[Segment]) -> set[tuple[str, float, float, float]]:
    """Label by label over all windows at once."""
    parts = list(shares(windows))
    found = set()
    for label in {p.label for part in parts for p in part.predictions}:
        run: list[tuple[float, float, float]] = []
        for part in [*parts, segment(0, 0)]:
            score = next((p.score for p in part.predictions if p.label == label), None)
            if score is not None:
                run.append((part.start, part.end, score))
            elif run:
                found.add((label, run[0][0], run[-1][1], max(s for *_, s in run)))
                run = []
    return found


@pytest.mark.parametrize("seed", range(8))
def test_against_a_slow_reference_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    windows = [
        segment(i * 0.5, i * 0.5 + 2, *((x, rng.random()) for x in "abcd" if rng.random() < 0.6))
        for i in range(60)
    ]
    found = list(regions(windows))
    assert {(r.label, r.start, r.end, r.score) for r in found} == slow(windows)
    assert [r.start for r in found] == sorted(r.start for r in found)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that never ends holds back all that begin behind it; it is cut in the end."""
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    taken = count()

    def endless():
        while True:
            i = next(taken)
            yield segment(i, i + 1, ("sea", 0.5), *([("bell", 0.9)] * (i % 2)))

    stream = regions(endless())
    found = [next(stream) for _ in range(100)]
    assert [r.start for r in found] == sorted(r.start for r in found)
    sea = [r for r in found if r.label == "sea"]
    assert len(sea) > 2
    assert all(a.end == b.start for a, b in pairwise(sea))
