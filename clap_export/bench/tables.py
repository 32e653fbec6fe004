"""A report as tables: for the terminal and in Markdown, from the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clap_export.bench.report import Latency, Report

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
    settings, model, end = report.settings, report.model, report.end_to_end
    audio = sum(clip.seconds for clip in report.clips)
    clips = "1 clip" if len(report.clips) == 1 else f"{len(report.clips)} clips"
    return [
        Section(
            "From file to predictions",
            ("clips", *TIMES, "clips/s", "audio s/s"),
            1,
            (
                (
                    f"{clips}, {audio:.1f} s",
                    *_times(end.latency),
                    number(end.clips_per_second),
                    number(end.audio_seconds_per_second),
                ),
            ),
            f"Classifier.predict, one clip at a time; {settings.runs} runs after "
            f"{settings.warmups} warm-ups, all tasks in turn.",
        ),
        Section(
            "Audio graph (frontend and encoder) by batch",
            ("windows", *TIMES, "ms/window", "windows/s", "audio s/s"),
            0,
            tuple(
                (
                    str(batch.windows),
                    *_times(batch.latency),
                    number(batch.median_ms_per_window),
                    number(batch.windows_per_second),
                    number(batch.audio_seconds_per_second),
                )
                for batch in report.batches
            ),
            f"A window lasts {model.window_seconds:g} s. Throughput is taken from the median.",
        ),
        Section(
            "Stages",
            ("stage", "what", "runs", *TIMES),
            2,
            tuple(
                (stage.name, stage.detail, str(stage.latency.runs), *_times(stage.latency))
                for stage in report.stages
            ),
        ),
        Section(
            "Memory (resident set) and disk",
            ("what", "MiB"),
            1,
            (
                ("memory before the bundle is opened", number(report.memory.before_mib)),
                ("memory with the classifier ready", number(report.memory.ready_mib)),
                ("memory after all runs", number(report.memory.current_mib)),
                ("memory at its peak", number(report.memory.peak_mib)),
                *((name, number(size / MIB)) for name, size in model.file_bytes.items()),
                ("whole bundle on disk", number(sum(model.file_bytes.values()) / MIB)),
            ),
        ),
        Section("Clips", ("clip", "seconds", "Hz", "windows", "bytes"), 1, _clip_rows(report)),
        Section("Measured on", ("what", "value"), 2, _machine_rows(report)),
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
    lines = [f"# Benchmark of {report.model.name}", ""]
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


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _times(latency: Latency) -> tuple[str, ...]:
    return tuple(map(number, (latency.median_ms, latency.p90_ms, latency.p99_ms, latency.min_ms)))


def _clip_rows(report: Report) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            clip.name,
            f"{clip.seconds:.2f}",
            str(clip.sample_rate_hz),
            str(clip.windows),
            f"{clip.bytes:,}",
        )
        for clip in report.clips
    )


def _machine_rows(report: Report) -> tuple[tuple[str, str], ...]:
    machine, model, settings = report.machine, report.model, report.settings
    load = "unknown" if machine.load_average is None else f"{machine.load_average:.2f}"
    threads = "one for each core" if settings.threads is None else str(settings.threads)
    return (
        ("CPU", f"{machine.cpu}, {machine.cores} cores usable"),
        ("load before (1 min)", load),
        ("system", machine.system),
        ("Python", machine.python),
        ("packages", ", ".join(f"{name} {v}" for name, v in machine.packages.items())),
        ("model", f"{model.name} ({model.family}), {model.embedding_dim} dimensions"),
        ("precision", f"audio {model.audio_precision}, text {model.text_precision}"),
        ("input", f"{model.window_seconds:g} s at {model.sample_rate_hz} Hz"),
        ("engine", f"{settings.provider}, threads: {threads}"),
        ("space", model.space_id),
        ("measured", report.measured_at),
    )
