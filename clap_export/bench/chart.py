"""A report as a picture: latency and throughput against the batch, accuracy against latency."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

from clap_export.bench.report import Measured, Report
from clap_export.figure import new, save

COLOURS = (
    "#1f5fa8", "#c8601a", "#3a8f3a", "#8e4bab", "#a83232", "#6b6b6b", "#128a8a", "#b8960b",
    "#d35d90", "#4a4a9c",
)  # fmt: skip


def plot(report: Report, path: Path) -> None:
    """Draw every candidate.

    Args:
        report: of a benchmark.
        path: of the picture; its ending chooses PNG, SVG or PDF.

    Raises:
        ClapError: matplotlib is not installed, or the file cannot be written.
    """
    several = len(report.candidates) > 1
    figure = new(14 if several else 10, 5)
    axes = figure.subplots(1, 3 if several else 2)
    _latency(report, axes[0])
    _throughput(report, axes[1])
    if several:
        _accuracy(report, axes[2])
    handles, labels = axes[-1 if several else 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    here = report.machine
    on = f"{here.cpu}, {here.cores} cores" if here.gpu is None else f"{here.gpu.name}, {here.cpu}"
    figure.suptitle(on, fontsize=10)
    save(figure, path)


def _latency(report: Report, axes: Any) -> None:
    """Median of a batch, with a band up to the 90th percentile."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for colour, one in _coloured(report):
        sizes = [batch.windows for batch in one.batches]
        medians = [batch.latency.median_ms for batch in one.batches]
        axes.plot(sizes, medians, "o-", color=colour, label=one.name, markersize=4)
        p90 = [batch.latency.p90_ms for batch in one.batches]
        axes.fill_between(sizes, medians, p90, color=colour, alpha=0.12, linewidth=0)
    axes.set_title("Latency of a batch: median, band to p90", fontsize=10)
    axes.set_ylabel("milliseconds for the batch")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _batch_axis(report, axes)


def _throughput(report: Report, axes: Any) -> None:
    from matplotlib.ticker import StrMethodFormatter

    for colour, one in _coloured(report):
        sizes = [batch.windows for batch in one.batches]
        per_second = [batch.audio_seconds_per_second for batch in one.batches]
        axes.plot(sizes, per_second, "o-", color=colour, markersize=4)
    axes.set_title("Throughput", fontsize=10)
    axes.set_ylabel("seconds of audio per second")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    _batch_axis(report, axes)


def _accuracy(report: Report, axes: Any) -> None:
    """Top-1 accuracy with its 95 % interval, or without a listing the cosine to the first one."""
    measured = any(one.accuracy is not None for one in report.candidates)
    for colour, one in zip(cycle(COLOURS), report.candidates, strict=False):
        value = one.cosine
        if measured:
            value = None if one.accuracy is None else 100 * one.accuracy.top1
        x = one.end_to_end.latency.median_ms
        shown = float("nan") if value is None else value
        axes.plot([x], [shown], "o", color=colour, label=one.name, markersize=7)
        if one.accuracy is not None:
            ends = [100 * end for end in one.accuracy.interval]
            axes.plot([x, x], ends, color=colour, alpha=0.35, linewidth=1.5)
    axes.set_title("From file to scores", fontsize=10)
    axes.set_xlabel("median milliseconds")
    axes.set_xlim(left=0)
    what = "top-1 accuracy, %, with its 95 % interval" if measured else "least cosine to the first"
    axes.set_ylabel(what)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.3)


def _batch_axis(report: Report, axes: Any) -> None:
    from matplotlib.ticker import NullLocator

    sizes = sorted({batch.windows for one in report.candidates for batch in one.batches})
    axes.set_xscale("log", base=2)
    if sizes:
        axes.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("windows in a batch")
    axes.grid(alpha=0.3)


def _coloured(report: Report) -> list[tuple[str, Measured]]:
    pairs = zip(cycle(COLOURS), report.candidates, strict=False)
    return [(colour, one) for colour, one in pairs if one.batches]
