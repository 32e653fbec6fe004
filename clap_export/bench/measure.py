"""The benchmark: every stage and every batch size in turn, through the runtime that users run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

from clap_export.bench import tasks
from clap_export.bench.machine import machine, memory_mib
from clap_export.bench.report import (
    FORMAT,
    FORMAT_VERSION,
    Batch,
    EndToEnd,
    Memory,
    Model,
    Report,
    Settings,
    Stage,
)
from clap_export.bench.timing import interleave, latency, pass_seconds
from runtime.bundle import MANIFEST, Bundle
from runtime.classifier import Classifier
from runtime.encoder import Encoder
from runtime.errors import ClapError
from runtime.labels import LabelBank

DEFAULT_BATCHES = (1, 8, 32)
DEFAULT_RUNS = 30
MIN_RUNS = 3
WARMUPS = 3
SETUP_RUNS = 3
CLIP_SECONDS, CLIP_RATE = 5.0, 44_100

_Times = list[list[float]]


def bench(
    bundle: Path,
    clips: Sequence[Path] | None = None,
    batches: Sequence[int] = DEFAULT_BATCHES,
    threads: int | None = None,
    runs: int = DEFAULT_RUNS,
    progress: Callable[[str], None] = lambda _: None,
    *,
    provider: str = "cpu",
) -> Report:
    """Measure a bundle on this machine.

    Args:
        bundle: its folder.
        clips: recordings to classify; without any, a siren of 5 s at 44.1 kHz is generated.
        batches: sizes to run the audio graph with, in windows.
        threads: inside one run of a graph; None lets the engine choose.
        runs: counted rounds, in which every task is done once.
        progress: told what is being done, outside the timed stretches.
        provider: what shall run the graphs, ``cpu`` or ``cuda``.

    Raises:
        ClapError: a batch below 1, fewer than 3 runs, a clip or bundle that cannot be used, or the
            provider is not available.
    """
    sizes = _check(batches, runs, clips or ())
    here = machine()  # its load is read before there is any of ours
    before_mib, _ = memory_mib()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clap-bench-"))
        progress("opening the bundle")
        opened = Bundle(bundle)
        paths = list(clips or [_made_clip(Path(folder))])
        encoder = stack.enter_context(Encoder(opened, providers=(provider,), threads=threads))
        names = [f"sound {i}" for i in range(tasks.LABELS)]
        classifier = Classifier(encoder, LabelBank.build(encoder, names), top_k=tasks.TOP_K)
        encoder.close_text()  # as in a service that knows its labels
        classifier.predict(paths[0])
        ready_mib, _ = memory_mib()

        setup = tasks.setup_rows(opened, encoder, names, provider, threads)
        setup_times = _time(setup, SETUP_RUNS, 0, lambda said: progress(f"loading, {said}"))
        encoder.close_text()

        loaded = [tasks.load(path, encoder) for path in paths]
        records = tuple(clip.record for clip in loaded)
        stages = tasks.stage_rows(encoder, loaded)
        rows = [
            tasks.end_to_end_row(classifier, loaded),
            *stages,
            *tasks.batch_rows(encoder, loaded, sizes),
        ]
        times = _time(rows, runs, WARMUPS, progress)
        ran_on = encoder.open_audio().provider
        current_mib, peak_mib = memory_mib()

    one_pass = pass_seconds(times[0])
    split = 1 + len(stages)
    model = _model(opened)
    return Report(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        model=model,
        settings=Settings(ran_on, threads, runs, WARMUPS, SETUP_RUNS),
        clips=records,
        end_to_end=EndToEnd(
            latency(*times[0]),
            len(records) / one_pass,
            sum(record.seconds for record in records) / one_pass,
        ),
        stages=tuple(
            Stage(row.name, row.detail, latency(*each))
            for row, each in zip(stages + setup, times[1:split] + setup_times, strict=True)
        ),
        batches=tuple(
            batch_of(size, each, model.window_seconds)
            for size, each in zip(sizes, times[split:], strict=True)
        ),
        memory=Memory(before_mib, ready_mib, current_mib, peak_mib),
        machine=here,
    )


def batch_of(size: int, times: _Times, window_seconds: float) -> Batch:
    """Latency and throughput of a batch of windows from its times in seconds."""
    found = latency(*times)
    per_second = 1000 * size / found.median_ms
    return Batch(size, found, found.median_ms / size, per_second, window_seconds * per_second)


def _check(batches: Sequence[int], runs: int, clips: Sequence[Path]) -> tuple[int, ...]:
    """The batch sizes without repetition, in their order."""
    if not batches or min(batches) < 1:
        raise ClapError(f"batches={list(batches)}: pass sizes of at least 1, such as 1,8,32.")
    if runs < MIN_RUNS:
        raise ClapError(f"runs={runs}: pass at least {MIN_RUNS}, fewer say nothing.")
    missing = [f"'{clip}'" for clip in clips if not clip.is_file()]
    if missing:
        raise ClapError(f"no recording at {', '.join(missing)}: check the path.")
    return tuple(dict.fromkeys(batches))


def _made_clip(folder: Path) -> Path:
    from clap_export import sounds, synth

    path = folder / "generated siren.wav"
    synth.write_wav(path, sounds.siren(CLIP_RATE, CLIP_SECONDS), CLIP_RATE)
    return path


def _time(
    rows: Sequence[tasks.Row], runs: int, warmups: int, progress: Callable[[str], None]
) -> list[_Times]:
    """For each row and each of its tasks, the times in seconds."""
    every = list(chain.from_iterable(row.tasks for row in rows))
    each = iter(interleave(every, runs, warmups, progress))
    return [[next(each) for _ in row.tasks] for row in rows]


def _model(bundle: Bundle) -> Model:
    manifest = bundle.manifest
    files = {MANIFEST: (bundle.folder / MANIFEST).stat().st_size}
    files |= {name: entry.bytes for name, entry in manifest.files.items()}
    return Model(
        name=manifest.name,
        family=manifest.source.family,
        space_id=manifest.space_id,
        audio_precision=manifest.audio_graph.precision,
        text_precision=manifest.text_graph.precision,
        sample_rate_hz=manifest.audio.sample_rate,
        window_seconds=manifest.audio.window_samples / manifest.audio.sample_rate,
        embedding_dim=manifest.embedding_dim,
        file_bytes=files,
    )
