"""What is timed: rows of the report, each with the calls that its times come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.report import Clip
from runtime import audio
from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.classifier import Classifier
from runtime.encoder import Encoder, mean_embedding
from runtime.labels import LabelBank
from runtime.scores import Ranking
from runtime.tokenizer import TextTokenizer

LABELS, MANY_LABELS = 50, 1000
TOP_K = 5


@dataclass(frozen=True)
class Row:
    """A row of the report: its name, what is done in words, and one call for each part of it."""

    name: str
    detail: str
    tasks: tuple[Callable[[], object], ...]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A clip: its record, float32 samples ``[n]`` at its own rate, and its windows float32
    ``[n_windows, window_samples]``."""

    path: Path
    record: Clip
    samples: NDArray[np.float32]
    windows: NDArray[np.float32]


def load(path: Path, encoder: Encoder) -> Loaded:
    """Read a clip.

    Raises:
        AudioError: it cannot be used.
    """
    samples, rate = audio.decode(path)
    windows = encoder.windows_of(samples, rate)
    record = Clip(path.name, len(samples) / rate, rate, len(windows), path.stat().st_size)
    return Loaded(path, record, samples, windows)


def setup_rows(
    bundle: Bundle, encoder: Encoder, names: Sequence[str], provider: str, threads: int | None
) -> list[Row]:
    """What happens once in a process: loading, and embedding the labels."""
    manifest = bundle.manifest

    def load_audio() -> None:
        open_backend(bundle.path(manifest.audio_graph.file), (provider,), threads).close()

    def load_text() -> None:
        TextTokenizer(bundle.path(manifest.text.tokenizer), manifest.text)
        open_backend(bundle.path(manifest.text_graph.file), (provider,), threads).close()

    def embed_labels() -> None:
        LabelBank.build(encoder, names)

    encoder.embed_text(names[0])  # loads the text encoder
    return [
        Row(
            "check bundle",
            "manifest, sizes and hashes of all files",
            (lambda: Bundle(bundle.folder),),
        ),
        Row("load audio", "session of the audio graph", (load_audio,)),
        Row("load text", "session of the text graph, tokenizer", (load_text,)),
        Row("text", f"embedding {len(names)} labels in the default template", (embed_labels,)),
    ]


def end_to_end_row(classifier: Classifier, clips: Sequence[Loaded]) -> Row:
    """From each file on disk to predictions."""

    def predict(path: Path) -> Callable[[], object]:
        return lambda: classifier.predict(path)

    return Row("end to end", "Classifier.predict", tuple(predict(clip.path) for clip in clips))


def stage_rows(encoder: Encoder, clips: Sequence[Loaded]) -> list[Row]:
    """Parts of the way of each clip; those whose rate is the bundle's are not resampled."""
    target = encoder.manifest.audio.sample_rate

    def decode(clip: Loaded) -> Callable[[], object]:
        return lambda: audio.decode(clip.path)

    def resample(clip: Loaded) -> Callable[[], object]:
        return lambda: audio.resample(clip.samples, clip.record.sample_rate_hz, target)

    rows = [Row("decode", "file to mono float32", tuple(decode(clip) for clip in clips))]
    changed = [clip for clip in clips if clip.record.sample_rate_hz != target]
    if changed:
        rates = ", ".join(str(rate) for rate in sorted({c.record.sample_rate_hz for c in changed}))
        rows.append(
            Row("resample", f"{rates} to {target} Hz", tuple(resample(clip) for clip in changed))
        )
    embedding = mean_embedding(encoder.embed_windows(clips[0].windows))
    return rows + [_lookup_row(encoder, embedding, n) for n in (LABELS, MANY_LABELS)]


def batch_rows(encoder: Encoder, clips: Sequence[Loaded], sizes: Sequence[int]) -> list[Row]:
    """The audio graph on batches of the clips' windows, repeated as often as needed."""

    def embed(batch: NDArray[np.float32]) -> Callable[[], object]:
        return lambda: encoder.embed_windows(batch, len(batch))

    pool = np.concatenate([clip.windows for clip in clips])
    return [
        Row(f"batch {size}", "audio graph", (embed(pool[np.arange(size) % len(pool)]),))
        for size in sizes
    ]


def _lookup_row(encoder: Encoder, embedding: NDArray[np.float32], n: int) -> Row:
    """Scores of a clip's embedding ``[dim]`` against n random unit vectors: their values do not
    change the work."""
    bank = np.random.default_rng(0).standard_normal((n, len(embedding))).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    names = tuple(f"label {i}" for i in range(n))
    ranking = Ranking.of(encoder.manifest, "softmax", None, None, TOP_K)
    return Row(
        "lookup",
        f"scores and top {TOP_K} of {n} labels",
        (lambda: ranking.rank(bank @ embedding, names),),
    )
