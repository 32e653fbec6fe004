"""The benchmark: every candidate in turn, through the code that its users run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.candidate import (
    FILES,
    LABELS,
    Candidate,
    Device,
    Plan,
    Request,
    candidates,
)
from clap_export.bench.gpu import Meter
from clap_export.bench.machine import machine
from clap_export.bench.process import Process
from clap_export.bench.report import (
    FORMAT,
    FORMAT_VERSION,
    Batch,
    Ceilings,
    Clip,
    EndToEnd,
    Folder,
    Gpu,
    Measured,
    Model,
    Report,
    Settings,
    Stage,
)
from clap_export.bench.timing import latency, pass_seconds
from clap_export.bench.worker import Timed, Times, Worker
from clap_export.parity.accuracy import Accuracy, Labelled, measure, read_listing
from runtime import audio
from runtime.errors import ClapError
from runtime.manifest import read_manifest

DEFAULT_BATCHES: dict[Device, tuple[int, ...]] = {
    "cpu": (1, 4, 16),
    "cuda": (1, 8, 16, 32, 64, 128, 256),
}
MIN_RUNS, MOST_REST, MOST_FILES = 3, 60.0, 100_000
ROUNDS, WARMUPS, SETUP_RUNS = 3, 3, 3
CLIP_SECONDS, CLIP_RATE = 5.0, 44_100
ENGINES = {
    "cpu": "ONNX Runtime",
    "cuda": "ONNX Runtime, CUDA",
    "tensorrt": "TensorRT",
    "openvino": "OpenVINO",
}


def bench(request: Request, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Measure candidates on this machine.

    Every candidate has a process of its own. They work one at a time, in rounds A B C A B C ..., so
    that all see the same drift of the machine.

    Args:
        request: what to measure, and how.
        progress: told what is being done, outside the timed stretches.

    Raises:
        BackendError: ``cuda`` without a GPU.
        ClapError: nothing to measure, a batch or stream below 1, fewer than 3 runs, no length of a
            rest, a clip, listing or candidate that cannot be used, or a provider that is not there.
    """
    found, device, runs = candidates(request), request.device, request.runs
    sizes = _check(request)
    gpu = _gpu() if device == "cuda" else None
    here = machine(gpu)  # its load is read before there is any of ours
    items = read_listing(request.listing) if request.listing else []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clap-bench-"))
        ceilings = None
        if gpu is not None:
            progress("measuring what the GPU can do at most")
            ceilings = _ceilings()
        paths = request.clips or (_made_clip(Path(folder)),)
        records = tuple(_clip(path) for path in paths)
        plan = Plan(paths, sizes, request.rest, request.files or FILES[device])
        runners: list[_Runner] = []
        for candidate in found:
            progress(f"opening {candidate.path.name} ({candidate.kind})")
            runner = _Runner(stack.enter_context(Worker(candidate, plan)), candidate)
            runner.open(items, runners[0] if runners else None, progress)
            runners.append(runner)
        names = _names(runners)
        for i in range(ROUNDS):
            some = runs // ROUNDS + (i < runs % ROUNDS)
            for name, runner in zip(names, runners, strict=True):
                progress(f"round {i + 1} of {ROUNDS}: {name}")
                if some:
                    runner.round(some, WARMUPS if i == 0 else 1)
        for name, runner in zip(names, runners, strict=True):
            runner.finish(name, progress)
        listing = request.listing.name if request.listing else None
        return Report(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            settings=Settings(device, LABELS, ROUNDS, runs, WARMUPS, SETUP_RUNS, listing),
            clips=records,
            candidates=tuple(
                runner.measured(name, records, sizes)
                for name, runner in zip(names, runners, strict=True)
            ),
            machine=here,
            ceilings=ceilings,
        )


def cosine(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Of two embeddings, whatever their norms: a peer in half precision is not quite at 1."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


class _Runner:
    """One candidate: its process, and what has been measured so far."""

    def __init__(self, worker: Worker, candidate: Candidate) -> None:
        self._worker, self._candidate = worker, candidate
        self._times: dict[str, Timed] = {}
        self.cosine: float | None = None
        self.accuracy: Accuracy | None = None

    def open(
        self, items: Sequence[Labelled], first: _Runner | None, progress: Callable[[str], None]
    ) -> None:
        """Load it, see how near its embeddings are to the first one's, and how accurate."""
        ask = self._worker.ask
        opened: tuple[Model, str] = ask("open")
        self.model, self.engine = opened
        self.setup: Timed = ask("setup", SETUP_RUNS)
        self.embeddings: list[NDArray[np.float32]] = ask("embeddings")
        others = self.embeddings if first is None else first.embeddings
        alike = first is None or _alike(self.model, first.model)
        if alike:
            pairs = zip(self.embeddings, others, strict=True)
            self.cosine = min(cosine(x, y) for x, y in pairs)
        if items and (alike or self._candidate.kind == "bundle"):
            progress(f"accuracy of {self.model.name} ({self._candidate.kind})")
            names = sorted(frozenset().union(*(item.labels for item in items)))
            # Peers differ in the audio encoder alone: they are given the first one's labels.
            source = self if first is None or self._candidate.kind == "bundle" else first
            bank = source._worker.ask("labels", names)
            similarities = ask("similarities", [item.path for item in items], bank)
            right = np.array([[name in item.labels for name in names] for item in items])
            self.accuracy = measure(similarities, right)
        self._folder: tuple[int, int] = ask("prepare")

    def round(self, runs: int, warmups: int) -> None:
        """One turn."""
        found: dict[str, Timed] = self._worker.ask("round", runs, warmups)
        if not self._times:
            self._times = found
            return
        for part, rows in found.items():
            for (_, _, kept), (_, _, new) in zip(self._times[part], rows, strict=True):
                for times, more in zip(kept, new, strict=True):
                    times += more

    def finish(self, name: str, progress: Callable[[str], None]) -> None:
        """What is measured but once, when all times are taken."""
        if self._candidate.on_gpu:
            progress(f"energy of {name}")
        self._energy: list[float | None] = self._worker.ask("energy")

    @property
    def parts(self) -> tuple[str, str, str]:
        """Model, precision, and what runs it."""
        model, threads = self.model, self._candidate.threads
        engine = ENGINES.get(self.engine, self.engine)
        if self.engine == "tensorrt":  # bundles of several versions may stand side by side
            engines = read_manifest(self._candidate.path).engines
            engine += f" {engines.audio.version}" if engines else ""
        if threads is not None:
            engine += f", {threads} thread{'s' if threads > 1 else ''}"
        return model.name, model.audio_precision.upper(), engine

    def measured(self, name: str, clips: Sequence[Clip], sizes: Sequence[int]) -> Measured:
        """The report's part of it."""
        ((_, _, whole),) = self._times["whole"]
        batches = self._times["batches"]
        one_pass = pass_seconds(whole)
        folder = None
        if self._times["folder"]:
            (_, _, stream), (_, _, encoder) = self._times["folder"]
            folder = folder_of(stream, encoder, *self._folder)
        return Measured(
            name=name,
            engine=self.engine,
            threads=self._candidate.threads,
            model=self.model,
            end_to_end=EndToEnd(
                latency(*whole),
                len(clips) / one_pass,
                sum(clip.seconds for clip in clips) / one_pass,
            ),
            stages=tuple(
                Stage(row, detail, latency(*times))
                for row, detail, times in self._times["stages"] + self.setup
            ),
            batches=tuple(
                batch_of(size, times, self.model.window_seconds, millijoules)
                for size, (_, _, times), millijoules in zip(
                    sizes if batches else (), batches, self._energy, strict=True
                )
            ),
            folder=folder,
            memory=self._worker.ask("memory"),
            cosine=self.cosine,
            accuracy=self.accuracy,
        )


def batch_of(
    size: int, times: Times, window_seconds: float, millijoules: float | None = None
) -> Batch:
    """Latency and throughput of a batch of windows from its times in seconds, and the energy of a
    window from that of the batch."""
    found = latency(*times)
    per_second = 1000 * size / found.median_ms
    return Batch(
        windows=size,
        latency=found,
        median_ms_per_window=found.median_ms / size,
        windows_per_second=per_second,
        audio_seconds_per_second=window_seconds * per_second,
        millijoules_per_window=None if millijoules is None else millijoules / size,
    )


def folder_of(stream: Times, encoder: Times, files: int, batch_size: int) -> Folder:
    """The stream of files beside its encoder, from times in seconds."""
    whole, alone = latency(*stream), latency(*encoder)
    return Folder(files, batch_size, whole, alone, alone.median_ms / whole.median_ms)


def _gpu() -> Gpu:
    meter = Meter()
    try:
        return meter.gpu()
    finally:
        meter.close()


def _ceilings() -> Ceilings | None:
    """In a process of its own, whose memory goes with it; torch measures them, if it is there."""
    if find_spec("torch") is None:
        return None
    from clap_export.bench.ceilings import Ceiling

    with Process(Ceiling) as process:
        return process.ask("measure")


def _alike(one: Model, other: Model) -> bool:
    """Whether embeddings compare; what does not know its space (transformers) is believed to be
    made from the same checkpoint."""
    spaces = {one.space_id, other.space_id} - {""}
    return len(spaces) < 2 and one.embedding_dim == other.embedding_dim


def _names(runners: Sequence[_Runner]) -> list[str]:
    """A name for each, without what all have in common."""
    columns = list(zip(*(runner.parts for runner in runners), strict=True))
    told = [column for column in columns if len(set(column)) > 1] or columns
    names = [", ".join(parts) for parts in zip(*told, strict=True)]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]


def _check(request: Request) -> tuple[int, ...]:
    """The batch sizes without repetition, in their order."""
    batches = request.batches
    if batches is None:
        batches = DEFAULT_BATCHES[request.device]
    if not batches or min(batches) < 1:
        raise ClapError(f"batches={list(batches)}: pass sizes of at least 1, such as 1,8,32.")
    if request.runs < MIN_RUNS:
        raise ClapError(f"runs={request.runs}: pass at least {MIN_RUNS}, fewer say nothing.")
    if request.rest is not None and not 0 < request.rest <= MOST_REST:
        raise ClapError(f"rest={request.rest}: pass seconds, above 0 and up to {MOST_REST:g}.")
    if request.files is not None and not 1 <= request.files <= MOST_FILES:
        raise ClapError(f"files={request.files}: pass a number from 1 to {MOST_FILES:,}.")
    missing = [f"'{clip}'" for clip in request.clips if not clip.is_file()]
    if missing:
        raise ClapError(f"no recording at {', '.join(missing)}: check the path.")
    return tuple(dict.fromkeys(batches))


def _clip(path: Path) -> Clip:
    samples, rate = audio.decode(path)
    return Clip(path.name, len(samples) / rate, rate, path.stat().st_size)


def _made_clip(folder: Path) -> Path:
    from clap_export.sounds import catalogue, synth

    path = folder / "generated siren.wav"
    synth.write_wav(path, catalogue.siren(CLIP_RATE, CLIP_SECONDS), CLIP_RATE)
    return path
