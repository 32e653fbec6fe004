"""The benchmark: every stage and every batch size in turn, through the runtime that users run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.machine import machine, memory_mib
from clap_export.bench.report import (
    FORMAT,
    FORMAT_VERSION,
    Batch,
    Clip,
    EndToEnd,
    Memory,
    Model,
    Report,
    Settings,
    Stage,
)
from clap_export.bench.timing import interleave, latency, pass_seconds
from runtime import audio, windows
from runtime.backends import open_backend
from runtime.bundle import MANIFEST, Bundle
from runtime.classifier import Classifier
from runtime.encoder import Encoder, mean_embedding
from runtime.errors import ClapError
from runtime.labels import LabelBank
from runtime.scores import Ranking
from runtime.tokenizer import TextTokenizer

DEFAULT_BATCHES = (1, 8, 32)
DEFAULT_RUNS = 30
MIN_RUNS = 3
WARMUPS = 3
SETUP_RUNS = 3
LABELS, MANY_LABELS = 50, 1000
TOP_K = 5
CLIP_SECONDS, CLIP_RATE = 5.0, 44_100

Task = Callable[[], object]


def bench(
    bundle: Path,
    clips: Sequence[Path] | None = None,
    batches: Sequence[int] = DEFAULT_BATCHES,
    threads: int | None = None,
    runs: int = DEFAULT_RUNS,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure a bundle on the CPU of this machine.

    Args:
        bundle: its folder.
        clips: recordings to classify; without any, a siren of 5 s at 44.1 kHz is generated.
        batches: sizes to run the audio graph with, in windows.
        threads: inside one run of a graph; None lets the engine choose.
        runs: counted rounds, in which every task is done once.
        progress: told what is being done, outside the timed stretches.

    Raises:
        ClapError: a batch below 1, fewer than 3 runs, a clip or bundle that cannot be used.
    """
    sizes = _check(batches, runs, clips or ())
    here = machine()  # before there is any load of ours
    before_mib, _ = memory_mib()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clap-bench-"))
        paths = list(clips or [_made_clip(Path(folder))])
        progress("opening the bundle")
        opened = Bundle(bundle)
        encoder = stack.enter_context(Encoder(opened, threads=threads))
        bank = LabelBank.build(encoder, [f"sound {i}" for i in range(LABELS)])
        setup = _setup_stages(opened, encoder, bank, threads, progress)
        encoder.close_text()  # as in a service, where the labels are known
        classifier = Classifier(encoder, bank, top_k=TOP_K)
        loaded = [_load(path, encoder) for path in paths]

        rows = _tasks(paths, loaded, encoder, classifier, sizes)
        timed = iter(
            interleave([task for _, tasks in rows for task in tasks], runs, WARMUPS, progress)
        )
        times = {row: [next(timed) for _ in tasks] for row, tasks in rows}
        current_mib, peak_mib = memory_mib()
        provider = encoder.open_audio().provider

    records = tuple(record for record, _, _ in loaded)
    window_seconds = opened.manifest.audio.window_samples / opened.manifest.audio.sample_rate
    one_pass = pass_seconds(times[("end to end", "")])
    return Report(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        model=_model(opened),
        settings=Settings(provider, threads, runs, WARMUPS, SETUP_RUNS),
        clips=records,
        end_to_end=EndToEnd(
            latency(*times[("end to end", "")]),
            len(records) / one_pass,
            sum(clip.seconds for clip in records) / one_pass,
        ),
        stages=tuple(
            Stage(name, detail, latency(*times[(name, detail)]))
            for name, detail in times
            if name not in ("end to end", "batch")
        )
        + setup,
        batches=tuple(_batch(size, times[("batch", str(size))], window_seconds) for size in sizes),
        memory=Memory(before_mib, current_mib, peak_mib),
        machine=here,
    )


def _check(batches: Sequence[int], runs: int, clips: Sequence[Path]) -> tuple[int, ...]:
    """The batch sizes without repetition, in their order."""
    if not batches or min(batches) < 1:
        raise ClapError(f"batches={list(batches)}: pass sizes of at least 1, such as 1,8,32.")
    if runs < MIN_RUNS:
        raise ClapError(f"runs={runs}: pass at least {MIN_RUNS}; fewer say nothing.")
    missing = [f"'{clip}'" for clip in clips if not clip.is_file()]
    if missing:
        raise ClapError(f"no such recording: {', '.join(missing)}. Check the path.")
    return tuple(dict.fromkeys(batches))


def _made_clip(folder: Path) -> Path:
    from clap_export import sounds, synth

    path = folder / "generated siren.wav"
    synth.write_wav(path, sounds.siren(CLIP_RATE, CLIP_SECONDS), CLIP_RATE)
    return path


def _load(path: Path, encoder: Encoder) -> tuple[Clip, NDArray[np.float32], NDArray[np.float32]]:
    """A clip's record, its samples at its own rate, and its windows."""
    samples, rate = audio.decode(path)
    rows = encoder.windows_of(path)
    record = Clip(path.name, len(samples) / rate, rate, len(rows), path.stat().st_size)
    return record, samples, rows


def _setup_stages(
    bundle: Bundle,
    encoder: Encoder,
    bank: LabelBank,
    threads: int | None,
    progress: Callable[[str], None],
) -> tuple[Stage, ...]:
    """What happens once in a process: loading, and embedding the labels."""
    manifest = bundle.manifest
    graphs = [bundle.path(graph.file) for graph in (manifest.audio_graph, manifest.text_graph)]

    def load_text() -> None:
        TextTokenizer(bundle.path(manifest.text.tokenizer), manifest.text)
        open_backend(graphs[1], threads=threads).close()

    rows: dict[tuple[str, str], Task] = {
        ("check bundle", "manifest and hashes of all files"): lambda: Bundle(bundle.folder),
        ("load audio", "session of the audio graph"): lambda: open_backend(
            graphs[0], threads=threads
        ).close(),
        ("load text", "session of the text graph, tokenizer"): load_text,
        ("text", f"embedding {LABELS} labels, one prompt each"): lambda: LabelBank.build(
            encoder, bank.names
        ),
    }
    times = interleave(
        list(rows.values()), SETUP_RUNS, 0, lambda said: progress(f"loading, {said}")
    )
    return tuple(Stage(*row, latency(each)) for row, each in zip(rows, times, strict=True))


def _tasks(
    paths: Sequence[Path],
    loaded: Sequence[tuple[Clip, NDArray[np.float32], NDArray[np.float32]]],
    encoder: Encoder,
    classifier: Classifier,
    sizes: Sequence[int],
) -> list[tuple[tuple[str, str], list[Task]]]:
    """Rows of the report (name, detail) with their tasks: one for each clip where it matters."""
    spec = encoder.manifest.audio
    # Bound by defaults: a closure would see the last of the loop's values.
    rows: list[tuple[tuple[str, str], list[Task]]] = [
        (("end to end", ""), [lambda path=path: classifier.predict(path) for path in paths]),
        (
            ("decode", "file to mono float32"),
            [lambda path=path: audio.decode(path) for path in paths],
        ),
    ]
    changed = [
        (samples, clip.sample_rate_hz)
        for clip, samples, _ in loaded
        if clip.sample_rate_hz != spec.sample_rate
    ]
    if changed:
        rates = ", ".join(str(rate) for rate in sorted({rate for _, rate in changed}))
        rows.append(
            (
                ("resample", f"{rates} to {spec.sample_rate} Hz"),
                [
                    lambda x=x, rate=rate: audio.resample(x, rate, spec.sample_rate)
                    for x, rate in changed
                ],
            )
        )
    rng = np.random.default_rng(0)
    embedding = mean_embedding(encoder.embed_windows(loaded[0][2]))
    ranking = Ranking.of(encoder.manifest, "softmax", None, None, TOP_K)
    for n in (LABELS, MANY_LABELS):
        bank = rng.standard_normal((n, len(embedding))).astype(np.float32)
        bank /= np.linalg.norm(bank, axis=1, keepdims=True)
        names = [f"label {i}" for i in range(n)]
        rows.append(
            (
                ("lookup", f"scores and top {TOP_K} of {n} labels"),
                [lambda bank=bank, names=names: ranking.rank(bank @ embedding, names)],
            )
        )
    pool = np.concatenate([batch for _, _, batch in loaded])[: max(sizes)]
    for size in sizes:
        batch = pool[np.arange(size) % len(pool)]
        rows.append(
            (("batch", str(size)), [lambda batch=batch: encoder.embed_windows(batch, len(batch))])
        )
    return rows


def _batch(size: int, times: Sequence[Sequence[float]], window_seconds: float) -> Batch:
    found = latency(*times)
    per_second = 1000 * size / found.median_ms
    return Batch(size, found, found.median_ms / size, per_second, window_seconds * per_second)


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
