"""A report as tables: for the terminal and in Markdown, from the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clap_export.bench import floor
from clap_export.bench.report import Latency, Measured, Report

if TYPE_CHECKING:
    from rich.console import Group

MIB = 1 << 20
TIMES = ("median ms", "p90 ms", "p99 ms", "min ms")


@dataclass(frozen=True)
class Section:
    """One table; columns after the first ``words`` hold numbers and are aligned to the right."""

    title: str
    columns: tuple[str, ...]
    words: int
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def sections(report: Report) -> list[Section]:
    """Everything in a report that people read."""
    settings, found = report.settings, report.candidates
    audio = sum(clip.seconds for clip in report.clips)
    clips = "1 clip" if len(report.clips) == 1 else f"{len(report.clips)} clips"
    slowest = found[0].end_to_end.latency.median_ms
    counted = any(b.millijoules_per_window is not None for one in found for b in one.batches)
    energy = ("mJ/window",) if counted else ()
    gpu = ("GPU",) if any(one.memory.gpu_mib is not None for one in found) else ()
    made = [
        Section(
            "From file to scores",
            ("", *TIMES, "times as quick", "clips/s", "audio s/s", "cosine", "top 1"),
            1,
            tuple(
                (
                    one.name,
                    *_times(one.end_to_end.latency),
                    number(slowest / one.end_to_end.latency.median_ms),
                    number(one.end_to_end.clips_per_second),
                    number(one.end_to_end.audio_seconds_per_second),
                    "" if one.cosine is None else f"{one.cosine:.6f}",
                    "" if one.accuracy is None else f"{100 * one.accuracy.top1:.1f} %",
                )
                for one in found
            ),
            f"{clips}, {audio:.1f} s, one at a time, {settings.labels} labels; {settings.runs} "
            f"runs after {settings.warmups} warm-ups, in {settings.rounds} rounds of all "
            "candidates. Cosine: least over the clips, to the first row"
            + (f"; top 1: on {settings.listing}." if settings.listing else "."),
        ),
        Section(
            "Batches of windows in memory to embeddings",
            (
                "",
                "windows",
                *TIMES,
                "ms/window",
                "windows/s",
                "audio s/s",
                *energy,
            ),
            1,
            tuple(
                (
                    one.name,
                    str(batch.windows),
                    *_times(batch.latency),
                    number(batch.median_ms_per_window),
                    number(batch.windows_per_second),
                    number(batch.audio_seconds_per_second),
                    *(_maybe(batch.millijoules_per_window) for _ in energy),
                )
                for one in found
                for batch in one.batches
            ),
            "Frontend and encoder. Throughput is taken from the median."
            + " Energy: of the whole GPU." * len(energy),
        ),
        _floors(report),
        Section(
            "Stages",
            ("", "stage", "what", "runs", *TIMES),
            3,
            tuple(
                (
                    one.name,
                    stage.name,
                    stage.detail,
                    str(stage.latency.runs),
                    *_times(stage.latency),
                )
                for one in found
                for stage in one.stages
            ),
        ),
        Section(
            "Many files in a stream",
            ("", "files", "batch", "runs", *TIMES, "files/s", "encoder alone ms", "share"),
            1,
            tuple(
                (
                    one.name,
                    str(one.folder.files),
                    str(one.folder.batch_size),
                    str(one.folder.latency.runs),
                    *_times(one.folder.latency),
                    number(1000 * one.folder.files / one.folder.latency.median_ms),
                    number(one.folder.encoder.median_ms),
                    f"{100 * one.folder.share:.0f} %",
                )
                for one in found
                if one.folder is not None
            ),
            "Classifier.predict_many, on a CPU with a file to each core where that is its way with "
            "so many; of peers, batches one after the other. Share: of the throughput of the "
            "encoder alone, driven likewise.",
        ),
        Section(
            "Memory (resident set) and disk, MiB",
            ("", "before", "ready", "after all runs", "peak", "disk", *gpu),
            1,
            tuple(
                (
                    one.name,
                    number(one.memory.before_mib),
                    number(one.memory.ready_mib),
                    number(one.memory.current_mib),
                    number(one.memory.peak_mib),
                    number(sum(one.model.file_bytes.values()) / MIB),
                    *(_maybe(one.memory.gpu_mib) for _ in gpu),
                )
                for one in found
            ),
            "Each candidate has a process of its own.",
        ),
        Section(
            "Models",
            ("", "model", "engine", "threads", "audio", "text", "input", "dim", "space"),
            9,
            tuple(_model_row(one) for one in found),
        ),
        Section("Clips", ("clip", "seconds", "Hz", "bytes"), 1, _clip_rows(report)),
        Section("Measured on", ("what", "value"), 2, _machine_rows(report)),
    ]
    return [
        _without_names(x) if len(found) == 1 and not x.columns[0] else x for x in made if x.rows
    ]


def table(report: Report) -> Group:
    """A report for the terminal: a rich renderable that holds all tables."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    tables: list[Table] = []
    for section in sections(report):
        shown = Table(
            title=f"\n[bold]{escape(section.title)}",
            title_style="",
            caption=escape(section.note) or None,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        for i, column in enumerate(section.columns):
            shown.add_column(column, justify="left" if i < section.words else "right")
        for row in section.rows:
            shown.add_row(*map(escape, row))
        tables.append(shown)
    return Group(*tables)


def markdown(report: Report) -> str:
    """A report as a Markdown document."""
    names = dict.fromkeys(one.model.name for one in report.candidates)
    lines = [f"# Benchmark of {', '.join(names)}", ""]
    for section in sections(report):
        rule = (":--" if i < section.words else "--:" for i in range(len(section.columns)))
        lines += [f"## {section.title}", "", _line(section.columns), _line(rule)]
        lines += [_line(cell.replace("|", "\\|") for cell in row) for row in section.rows]
        lines += ["", section.note, ""] if section.note else [""]
    return "\n".join(lines).rstrip() + "\n"


def number(value: float) -> str:
    """Three significant digits or more, without an exponent: ``1,234``, ``56.7``, ``0.0123``."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 2
    while digits < 6 and 0 < value < 10 ** (2 - digits):
        digits += 1
    return f"{value:.{digits - 1 if value >= 10 else digits}f}"


def _floors(report: Report) -> Section:
    """Batches beside the least time that the machine could take for them."""
    limits, found = report.ceilings, report.candidates
    if limits is None:
        return Section("", (), 0, ())
    rows: list[tuple[str, ...]] = []
    for one in found:
        operations = floor.gflop(one, found)
        if operations is None or one.memory.gpu_mib is None:
            continue
        for batch in one.batches:
            products, copy = floor.floors_ms(one, batch.windows, operations, limits)
            median, least = batch.latency.median_ms, max(products, copy)
            rows.append(
                (
                    one.name,
                    str(batch.windows),
                    *map(number, (median, products, copy)),
                    f"{100 * least / median:.0f} %",
                )
            )
    return Section(
        "Batches beside what the GPU can do",
        ("", "windows", "median ms", "products alone ms", "copy in alone ms", "share reached"),
        1,
        tuple(rows),
        f"Measured: {number(limits.fp16_tflops)} TFLOP/s in FP16, {number(limits.fp32_tflops)} in "
        f"FP32, {number(limits.host_to_device_gb_s)} GB/s to the GPU and "
        f"{number(limits.device_to_host_gb_s)} GB/s back. Products: of the encoder, at the rate of "
        "its precision; copy: of float32 samples. Share: the larger of the two, over the median.",
    )


def _maybe(value: float | None) -> str:
    return "" if value is None else number(value)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _times(latency: Latency) -> tuple[str, ...]:
    return tuple(map(number, (latency.median_ms, latency.p90_ms, latency.p99_ms, latency.min_ms)))


def _without_names(section: Section) -> Section:
    """Without the first column, which is the same in all rows."""
    rows = tuple(row[1:] for row in section.rows)
    return replace(section, columns=section.columns[1:], words=section.words - 1, rows=rows)


def _model_row(one: Measured) -> tuple[str, ...]:
    model = one.model
    return (
        one.name,
        f"{model.name} ({model.family})",
        one.engine,
        "one a core" if one.threads is None else str(one.threads),
        model.audio_precision,
        model.text_precision,
        f"{model.window_seconds:g} s at {model.sample_rate_hz} Hz",
        str(model.embedding_dim),
        model.space_id[:12],
    )


def _clip_rows(report: Report) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (clip.name, f"{clip.seconds:.2f}", str(clip.sample_rate_hz), f"{clip.bytes:,}")
        for clip in report.clips
    )


def _machine_rows(report: Report) -> tuple[tuple[str, str], ...]:
    machine = report.machine
    load = "unknown" if machine.load_average is None else f"{machine.load_average:.2f}"
    gpu = machine.gpu
    said = gpu and (
        f"{gpu.name}, {gpu.memory_mib / 1024:,.0f} GiB, compute capability "
        f"{gpu.compute_capability}, driver for CUDA {gpu.driver}"
    )
    return (
        ("CPU", f"{machine.cpu}, {machine.cores} cores usable"),
        *([("GPU", said)] if said else []),
        ("load before (1 min)", load),
        ("system", machine.system),
        ("Python", machine.python),
        ("packages", ", ".join(f"{name} {v}" for name, v in machine.packages.items())),
        ("measured", report.measured_at),
    )
