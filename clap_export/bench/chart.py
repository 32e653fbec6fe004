"""A report as a picture: what larger batches cost in latency and give in throughput."""

from __future__ import annotations

from pathlib import Path

from clap_export.bench.report import Report
from clap_export.bench.tables import number
from runtime.errors import ClapError

BLUE, ORANGE, GREY = "#1f5fa8", "#c8601a", "#666666"
DPI = 150


def plot(report: Report, path: Path) -> None:
    """Draw latency and throughput of the audio graph against the batch size.

    Args:
        report: of a benchmark.
        path: of the picture; its ending chooses PNG, SVG or PDF.

    Raises:
        ClapError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        # Without pyplot: no display is looked for, and nobody's settings are changed.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter
    except ImportError as error:
        raise ClapError(
            f"plots need matplotlib, which cannot be imported ({error}). "
            "Install it: pip install matplotlib"
        ) from error
    batches = sorted(report.batches, key=lambda batch: batch.windows)
    sizes = [batch.windows for batch in batches]
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)

    left.plot(sizes, [b.latency.median_ms for b in batches], "o-", color=BLUE, label="median")
    left.plot(sizes, [b.latency.p99_ms for b in batches], "^:", color=ORANGE, label="p99")
    left.plot(sizes, [b.latency.min_ms for b in batches], "v:", color=GREY, label="fastest")
    left.set_title("Latency of one batch")
    left.set_ylabel("milliseconds for the batch")
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    left.legend(frameon=False)

    per_second = [b.windows_per_second for b in batches]
    right.plot(sizes, per_second, "o-", color=BLUE)
    for size, value in zip(sizes, per_second, strict=True):
        right.annotate(
            number(value), (size, value), (0, 8), textcoords="offset points", ha="center"
        )
    right.set_title("Throughput")
    right.set_ylabel("windows per second")
    right.set_ylim(0, 1.2 * max(per_second))
    seconds = report.model.window_seconds
    other = right.secondary_yaxis("right", functions=(lambda y: y * seconds, lambda y: y / seconds))
    other.set_ylabel("seconds of audio per second")
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    other.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))

    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"windows of {seconds:g} s in a batch")
        axes.grid(alpha=0.3)
    threads = report.settings.threads or report.machine.cores
    figure.suptitle(
        f"{report.model.name}, audio graph in {report.model.audio_precision} on "
        f"{report.machine.cpu}, {threads} thread{'s' if threads > 1 else ''}",
        fontsize=10,
    )
    try:
        figure.savefig(path, dpi=DPI, format=path.suffix.removeprefix(".") or "png")
    except (OSError, ValueError) as error:
        raise ClapError(f"'{path}' cannot be written ({error}).") from error
