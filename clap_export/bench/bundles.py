"""A bundle in the runtime, as a subject of the benchmark."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export import invented
from clap_export.bench.candidate import FOLDER_BATCH, Candidate, Plan
from clap_export.bench.report import Model
from clap_export.bench.rows import Row, batch_rows, loading_rows
from clap_export.bench.timing import OwnSeconds
from runtime.audio_graph import graph_inputs
from runtime.backends import open_backend, open_engine
from runtime.bundle import Bundle
from runtime.classifier import Classifier
from runtime.clips.pooling import mean_embedding
from runtime.encoder import Encoder
from runtime.engines import Engine
from runtime.labels import LabelBank
from runtime.lookup import similarities
from runtime.manifest import MANIFEST, Graph
from runtime.scores import Ranking
from runtime.tokenizer import TextTokenizer

MANY_LABELS, TOP_K = 1000, 5


class BundleSubject:
    """See :class:`clap_export.bench.subject.Subject`."""

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        self._plan, self._candidate = plan, candidate
        self._bundle = Bundle(candidate.path)
        self._encoder = Encoder(
            self._bundle, providers=(candidate.provider,), threads=candidate.threads
        )
        manifest = self._bundle.manifest
        bank = (
            invented.bank(manifest, plan.names)
            if manifest.text is None
            else LabelBank.build(self._encoder, plan.names)
        )
        self._classifier = Classifier(self._encoder, bank, top_k=TOP_K)
        self._encoder.close_text()  # as in a service that knows its labels
        backend = self._encoder.open_audio()
        self.engine = backend.provider
        self.model = _model(self._bundle, backend.bfloat16)

    def setup(self) -> list[Row]:
        """Loading, and embedding the labels."""
        bundle, encoder = self._bundle, self._encoder
        manifest = bundle.manifest

        def load_audio() -> None:
            self._load(manifest.audio_graph, manifest.engines and manifest.engines.audio)

        rows = [
            Row(
                "check bundle",
                "manifest, sizes and hashes of all files",
                (lambda: Bundle(bundle.folder),),
            ),
            Row("load audio", "session of the audio graph", (load_audio,)),
        ]
        if manifest.text is None:
            return rows

        def load_text() -> None:
            spec, graph = manifest.text_encoder
            TextTokenizer(bundle.read(spec.tokenizer), spec)
            self._load(graph, manifest.engines and manifest.engines.text)

        def embed_labels() -> None:
            LabelBank.build(encoder, self._plan.names)

        encoder.embed_text("a sound")  # loads the text encoder
        return [
            *rows,
            Row("load text", "session of the text graph, tokenizer", (load_text,)),
            Row("text", f"embedding {len(self._plan.names)} labels", (embed_labels,)),
        ]

    def predict(self, path: Path) -> object:
        """``Classifier.predict``."""
        return self._classifier.predict(path)

    def stages(self) -> list[Row]:
        """Decoding, resampling, and scores of few labels and of many."""
        self._encoder.close_text()
        rows = loading_rows(self._plan.clips, self._bundle.manifest.audio.sample_rate)
        window = self._windows()[:1]
        embedding = mean_embedding(self._encoder.embed_windows(window))
        rows += [self._lookup(embedding, n) for n in (len(self._plan.names), MANY_LABELS)]
        if self._candidate.device == "cuda":
            rows += [self._scores(window), *self._gpu_rows()]
        return rows

    def batches(self) -> list[Row]:
        """Frontend and encoder in one graph."""

        def embed(batch: NDArray[np.float32]) -> object:
            return self._encoder.embed_windows(batch, len(batch))

        return batch_rows(embed, self._windows(), self._plan)

    def folder(self) -> tuple[int, int, list[Row]]:
        """``predict_many`` over the clips, again and again; and the encoder alone."""
        files, size = self._plan.files, FOLDER_BATCH[self._candidate.device]
        paths = list(islice(cycle(self._plan.clips), files))
        windows = [self._encoder.windows_of(path) for path in self._plan.clips]
        clips = list(islice(cycle(windows), files))
        # Those of the candidate's threads that the runtime would give a file each, were it free to.
        encoder = Encoder(self._bundle, providers=(self._candidate.provider,))
        parallel = min(self._candidate.threads or encoder.many_at_once, encoder.many_at_once)
        if parallel == 1:
            encoder = self._encoder
        classifier = Classifier(encoder, self._classifier.bank, top_k=TOP_K)

        def stream() -> None:
            for result in classifier.predict_many(paths, batch_size=size, parallel=parallel):
                assert result.error is None  # all have been decoded above

        def alone(clip: NDArray[np.float32]) -> NDArray[np.float32]:
            return encoder.embed_windows(clip, one_thread=True)

        def encode() -> None:
            if parallel == 1:
                deque(encoder.embed_clips(clips, size), maxlen=0)
                return
            with ThreadPoolExecutor(parallel) as pool:
                deque(pool.map(alone, clips), maxlen=0)

        return files, size, [
            Row("folder", "predict_many", (stream,)), Row("encoder", "", (encode,))
        ]  # fmt: skip

    def embed(self, path: Path) -> NDArray[np.float32]:
        """Mean of the windows' embeddings."""
        return self._encoder.embed_audio(path)[0]

    def embed_labels(self, names: Sequence[str]) -> NDArray[np.float32]:
        """In the bundle's template."""
        return LabelBank.build(self._encoder, names).embeddings

    def _windows(self) -> NDArray[np.float32]:
        """All clips' windows; of a model with feature fusion, the first window of each."""
        length = self._bundle.manifest.audio.window_samples
        found = chain.from_iterable(self._encoder.windows_of(path) for path in self._plan.clips)
        return np.stack([row[:length] for row in found])

    def _load(self, graph: Graph, engine: Engine | None) -> None:
        """Open and close what runs a graph: reading, hash, a look through it, and the engine."""
        candidate = self._candidate
        if candidate.provider == "tensorrt":
            assert engine is not None  # the encoder would not have opened
            open_engine(self._bundle.read(engine.file), engine).close()
        else:
            content, _ = self._bundle.graph(graph)
            open_backend(content, (candidate.provider,), candidate.threads).close()

    def _scores(self, window: NDArray[np.float32]) -> Row:
        """A window on the host to scores on the host: what a service adds to a request."""
        manifest, bank = self._bundle.manifest, self._classifier.bank
        ranking = Ranking.of(manifest, "softmax", None, None, TOP_K)

        def run() -> object:
            embedding = self._encoder.embed_windows(window, 1)[0]
            return ranking.rank(similarities(bank.embeddings, embedding), bank.names)

        return Row("scores", f"a window in memory to the top {TOP_K} of {len(bank)} labels", (run,))

    def _gpu_rows(self) -> list[Row]:
        """Of each size of batch that an engine takes at once: the parts of its way, as the GPU's
        events time them."""
        engines = self._bundle.manifest.engines
        if self.engine != "tensorrt" or engines is None:
            return []
        backend: Any = self._encoder.open_audio()  # the protocol has no times of the GPU
        windows, spec = self._windows(), self._bundle.manifest.audio

        def run(feed: dict[str, NDArray[Any]], part: int) -> Callable[[], object]:
            return lambda: OwnSeconds(backend.milliseconds(feed)[part] / 1000)

        rows: list[Row] = []
        for size in self._plan.batches:
            if size <= engines.audio.max_batch:
                feed = graph_inputs(windows[np.arange(size) % len(windows)], spec)
                rows += [
                    Row(name, f"batch {size}, GPU time", (run(feed, i),))
                    for i, name in enumerate(("copy in", "compute", "copy out"))
                ]
        if spec.long_clips == "windows":  # others take float32 alone
            rows += [self._int16(windows, size) for size in self._plan.batches]
        return rows

    def _int16(self, windows: NDArray[np.float32], size: int) -> Row:
        """A batch of samples as recordings hold them: half as many bytes on the way."""
        batch: Any = np.round(32767 * windows[np.arange(size) % len(windows)]).astype(np.int16)
        return Row(
            "int16", f"batch {size}, in memory to embeddings",
            (lambda: self._encoder.embed_windows(batch, size),),
        )  # fmt: skip

    def _lookup(self, embedding: NDArray[np.float32], n: int) -> Row:
        """Scores of an embedding against n random unit vectors: their values do not change the
        work."""
        bank = np.random.default_rng(0).standard_normal((n, len(embedding))).astype(np.float32)
        bank /= np.linalg.norm(bank, axis=1, keepdims=True)
        names = tuple(f"label {i}" for i in range(n))
        ranking = Ranking.of(self._bundle.manifest, "softmax", None, None, TOP_K)
        return Row(
            "lookup",
            f"scores and top {TOP_K} of {n} labels",
            (lambda: ranking.rank(similarities(bank, embedding), names),),
        )


def _model(bundle: Bundle, bfloat16: bool) -> Model:
    manifest = bundle.manifest
    files = {MANIFEST: (bundle.folder / MANIFEST).stat().st_size}
    files |= {name: entry.bytes for name, entry in manifest.files.items()}
    return Model(
        name=manifest.name,
        family=manifest.source.family,
        space_id=manifest.space_id,
        audio_precision=_precision(manifest.audio_graph, bfloat16),
        text_precision="none"
        if manifest.text_graph is None
        else _precision(manifest.text_graph, bfloat16),
        sample_rate_hz=manifest.audio.sample_rate,
        window_seconds=manifest.audio.window_samples / manifest.audio.sample_rate,
        embedding_dim=manifest.embedding_dim,
        file_bytes=files,
        encoder_gflop=None,
    )


def _precision(graph: Graph, bfloat16: bool) -> str:
    """What a graph is computed in: a bundle in bfloat16 is in FP32 where engine or CPU has none."""
    if graph.bfloat16 and not bfloat16:
        return f"{graph.in_file} for {graph.precision}"
    return graph.precision
