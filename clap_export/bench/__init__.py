"""Measure bundles on this machine, side by side and beside what people use otherwise: latency,
throughput, memory, size, accuracy. Torch is needed for peers alone."""

from __future__ import annotations

from clap_export.bench.candidate import Candidate, Peers, Request, candidates
from clap_export.bench.chart import plot
from clap_export.bench.measure import bench
from clap_export.bench.report import Report
from clap_export.bench.tables import markdown, table

__all__ = [
    "Candidate",
    "Peers",
    "Report",
    "Request",
    "bench",
    "candidates",
    "markdown",
    "plot",
    "table",
]
