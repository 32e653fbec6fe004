"""What a benchmark found. ``runtime.schema`` writes it as JSON and reads it back; every number has
its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FORMAT: Literal["clap-export-bench"] = "clap-export-bench"
FORMAT_VERSION: Literal[1] = 1


@dataclass(frozen=True)
class Latency:
    """Of one thing done ``runs`` times; percentiles are interpolated between the two nearest runs,
    so that p99 of fewer than 100 runs lies close to the slowest."""

    runs: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float


@dataclass(frozen=True)
class Clip:
    """A recording that was classified; its name is without folders."""

    name: str
    seconds: float
    sample_rate_hz: int
    windows: int
    bytes: int


@dataclass(frozen=True)
class EndToEnd:
    """``Classifier.predict`` on each clip alone, from the file to ranked labels.

    Attributes:
        latency: over the runs of all clips.
        clips_per_second: clips, divided by the sum of each clip's median time.
        audio_seconds_per_second: the clips' length, divided by the same: the real-time factor.
    """

    latency: Latency
    clips_per_second: float
    audio_seconds_per_second: float


@dataclass(frozen=True)
class Stage:
    """One part of the way, timed alone: its name, what was done in words, and how long it took."""

    name: str
    detail: str
    latency: Latency


@dataclass(frozen=True)
class Batch:
    """The audio graph (frontend and encoder) on a batch of windows.

    Attributes:
        windows: in the batch.
        latency: of the whole batch.
        median_ms_per_window: the batch's median, divided by its windows.
        windows_per_second: windows, divided by the median.
        audio_seconds_per_second: the windows' length, divided by the median: the real-time factor.
    """

    windows: int
    latency: Latency
    median_ms_per_window: float
    windows_per_second: float
    audio_seconds_per_second: float


@dataclass(frozen=True)
class Model:
    """The bundle that was measured; ``file_bytes`` is the size of each file, manifest included."""

    name: str
    family: str
    space_id: str
    audio_precision: str
    text_precision: str
    sample_rate_hz: int
    window_seconds: float
    embedding_dim: int
    file_bytes: dict[str, int]


@dataclass(frozen=True)
class Settings:
    """How it was measured.

    Attributes:
        provider: what ran the graphs, such as ``cpu``.
        threads: inside one run of a graph; None is the engine's choice, one for each core.
        runs: counted rounds; each times every task once, in turn.
        warmups: rounds before them that were not counted.
        setup_runs: rounds of loading and of embedding labels; nothing warms these up but the
            operating system's file cache, which reading the hashes has filled.
    """

    provider: str
    threads: int | None
    runs: int
    warmups: int
    setup_runs: int


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        cpu: model name.
        cores: that this process may use.
        system: operating system and processor type.
        python: version.
        packages: versions of what was measured and what it ran on.
        load_average: runnable processes over the last minute when the measurement began (None where
            the system does not say): well above 0, the machine was busy and the numbers are high.
    """

    cpu: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    load_average: float | None


@dataclass(frozen=True)
class Memory:
    """Resident set size of the process.

    Attributes:
        before_mib: before the bundle was opened: Python and its libraries.
        ready_mib: with labels embedded, the text encoder closed and one clip classified.
        current_mib: after all runs; the engine keeps the buffers of the largest batch.
        peak_mib: at most so far, with the text encoder and every batch's input.
    """

    before_mib: float
    ready_mib: float
    current_mib: float
    peak_mib: float


@dataclass(frozen=True)
class Report:
    """Everything that was measured, and on what; ``measured_at`` is UTC in ISO 8601."""

    format: Literal["clap-export-bench"]
    format_version: Literal[1]
    measured_at: str
    model: Model
    settings: Settings
    clips: tuple[Clip, ...]
    end_to_end: EndToEnd
    stages: tuple[Stage, ...]
    batches: tuple[Batch, ...]
    memory: Memory
    machine: Machine
