"""Measure a bundle on this machine: latency, throughput, memory, size. Torch is not needed."""

from __future__ import annotations

from clap_export.bench.chart import plot
from clap_export.bench.measure import DEFAULT_BATCHES, DEFAULT_RUNS, bench
from clap_export.bench.report import Report
from clap_export.bench.tables import markdown, table

__all__ = ["DEFAULT_BATCHES", "DEFAULT_RUNS", "Report", "bench", "markdown", "plot", "table"]
