"""What a benchmark found. ``runtime.schema`` writes it as JSON and reads it back; every number has
its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clap_export.parity.accuracy import Accuracy

FORMAT: Literal["clap-export-bench"] = "clap-export-bench"
FORMAT_VERSION: Literal[3] = 3


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
    bytes: int


@dataclass(frozen=True)
class EndToEnd:
    """Each clip alone, from the file to scores of all labels, whose embeddings are at hand (but not
    to transformers' pipeline, which makes them anew).

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
    """A batch of windows, from samples in memory to embeddings.

    Attributes:
        windows: in the batch.
        latency: of the whole batch.
        median_ms_per_window: the batch's median, divided by its windows.
        windows_per_second: windows, divided by the median.
        audio_seconds_per_second: the windows' length, divided by the median: the real-time factor.
        millijoules_per_window: that the whole GPU took while it ran such batches without a pause;
            None on a CPU, and where the GPU does not count.
    """

    windows: int
    latency: Latency
    median_ms_per_window: float
    windows_per_second: float
    audio_seconds_per_second: float
    millijoules_per_window: float | None


@dataclass(frozen=True)
class Folder:
    """Many files classified in a stream, and their windows alone given to the encoder.

    Attributes:
        files: how many.
        batch_size: in windows, of both.
        latency: of all files, from disk to predictions.
        encoder: of all their windows, from memory to embeddings.
        share: of the encoder's throughput that is left: the ratio of the medians.
    """

    files: int
    batch_size: int
    latency: Latency
    encoder: Latency
    share: float


@dataclass(frozen=True)
class Model:
    """What was measured.

    Attributes:
        file_bytes: the size of each file.
        encoder_gflop: the audio encoder's operations for one window behind the frontend, in 1e9, a
            multiplication and an addition being two; None where they were not counted.
    """

    name: str
    family: str
    space_id: str
    audio_precision: str
    text_precision: str
    sample_rate_hz: int
    window_seconds: float
    embedding_dim: int
    file_bytes: dict[str, int]
    encoder_gflop: float | None


@dataclass(frozen=True)
class Memory:
    """Resident set size of the candidate's process.

    Attributes:
        before_mib: before it was opened: Python and its libraries.
        ready_mib: with labels embedded, the text encoder closed and one clip classified.
        current_mib: after all runs; the engine keeps the buffers of the largest batch.
        peak_mib: at most so far, with the text encoder and every batch's input.
        gpu_mib: of the GPU, after all runs, beside the driver's own for a process; None on a CPU.
    """

    before_mib: float
    ready_mib: float
    current_mib: float
    peak_mib: float
    gpu_mib: float | None


@dataclass(frozen=True)
class Measured:
    """One candidate.

    Attributes:
        name: of the model, its precision, and what runs it; unique in the report.
        engine: what ran it, such as ``cpu`` (ONNX Runtime), ``tensorrt`` or ``torch``.
        threads: of the CPU; None is the engine's choice, one for each core.
        stages: parts of the way, and what happens once in a process.
        batches: empty for what takes one recording at a time.
        folder: None for what takes one recording at a time, and for peers on a GPU.
        cosine: least over the clips, to the report's first candidate; None in another space.
        accuracy: None without a listing, and for a peer of another space.
    """

    name: str
    engine: str
    threads: int | None
    model: Model
    end_to_end: EndToEnd
    stages: tuple[Stage, ...]
    batches: tuple[Batch, ...]
    folder: Folder | None
    memory: Memory
    cosine: float | None
    accuracy: Accuracy | None


@dataclass(frozen=True)
class Settings:
    """How it was measured.

    Attributes:
        device: that peers, and bundles by default, ran on.
        labels: that each recording was scored with.
        rounds: turns of every candidate, between which the others have theirs.
        runs: counted ones, over all rounds; each does every task once. A stream of many files is
            run once a round.
        warmups: of the first round, not counted; every other round has one.
        setup_runs: of loading and of embedding labels; nothing warms these up but the operating
            system's file cache, which reading the hashes has filled.
        listing: its file's name, or None.
    """

    device: Literal["cpu", "cuda"]
    labels: int
    rounds: int
    runs: int
    warmups: int
    setup_runs: int
    listing: str | None


@dataclass(frozen=True)
class Gpu:
    """The GPU.

    Attributes:
        name: such as ``NVIDIA H200``.
        compute_capability: such as ``9.0``.
        driver: highest CUDA version that the installed driver serves, such as ``13.0``.
        memory_mib: all of it.
    """

    name: str
    compute_capability: str
    driver: str
    memory_mib: float


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do at most, measured before the candidates.

    Attributes:
        host_to_device_gb_s: copying pinned memory to the GPU, 1e9 bytes a second.
        device_to_host_gb_s: and back.
        fp16_tflops: a large FP16 matrix product, 1e12 operations a second.
        fp32_tflops: the same in FP32, without TF32.
    """

    host_to_device_gb_s: float
    device_to_host_gb_s: float
    fp16_tflops: float
    fp32_tflops: float


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        cpu: model name.
        cores: that this process may use.
        system: operating system and processor type.
        python: version.
        packages: versions of what was measured and what it ran on.
        gpu: that was measured; None for a CPU's report.
        load_average: runnable processes over the last minute when the measurement began (None where
            the system does not say): well above 0, the machine was busy and the numbers are high.
    """

    cpu: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    gpu: Gpu | None
    load_average: float | None


@dataclass(frozen=True)
class Report:
    """Everything that was measured, and on what.

    Attributes:
        measured_at: UTC in ISO 8601.
        ceilings: None for a CPU's report, and without torch, which measures them.
    """

    format: Literal["clap-export-bench"]
    format_version: Literal[3]
    measured_at: str
    settings: Settings
    clips: tuple[Clip, ...]
    candidates: tuple[Measured, ...]
    machine: Machine
    ceilings: Ceilings | None
