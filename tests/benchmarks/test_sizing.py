"""The page's tables of clusters are those of the measured rates, by the formula that it names."""

from __future__ import annotations

import json

import pytest

from benchmarks.library import sizing
from benchmarks.library.sizing import Cluster, pace

# Round figures: a file of 1 MB, windows of 4 MB.
RATES = {
    "decode": 100.0, "encode": 25.0, "write_512": 5000.0, "bytes_of_file": 1e6,
    "bytes_carried": 4e6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("cluster", "rate", "stage"),
    [
        # Of 11 cores one writes; eight embed 200 a second, which two decode.
        (Cluster(1, 11), 200, "processors"),
        # 125 MB a second come in, and no windows leave the only node.
        (Cluster(1, 1000, gbit=1), 125, "network"),
        # With two nodes half of the windows do: 3 MB for each recording.
        (Cluster(2, 1000, gbit=1), 250e6 / 3e6, "network"),
        (Cluster(1, 100_000, gbit=1000), 5000, "write"),
        (Cluster(1, 100_000, gbit=1000, writers=3), 15_000, "write"),
        (Cluster(1, 11, gpus=1, gpu_rate=4000, gbit=100), 1000, "decode"),
        (Cluster(1, 101, gpus=2, gpu_rate=200, gbit=100), 400, "encode"),
    ],
)
def test_the_slowest_stage_sets_the_pace(cluster: Cluster, rate: float, stage: str) -> None:
    found, slowest = pace(cluster, RATES)
    assert (found, slowest) == (pytest.approx(rate), stage)


def test_times_are_for_people() -> None:
    assert sizing.hours(3600, 1) == "60 min"
    assert sizing.hours(10**9, 1000) == "278 h"


def test_the_page_has_the_tables_of_the_report() -> None:
    """``python -m benchmarks.library.sizing --write`` writes them anew."""
    text = sizing.PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- scale -->") == 1
    if sizing.RATES.exists():
        assert sizing.written(text, json.loads(sizing.RATES.read_text())) == text
