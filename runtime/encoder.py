"""Recordings and texts to embeddings of one space."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import audio, fusion, grouping, windows
from runtime.agreement import check_shapes
from runtime.backends import Backend, open_backend, open_engine
from runtime.bundle import AudioSpec, Bundle, Graph, Manifest
from runtime.content import Content
from runtime.engines import Engine
from runtime.errors import BackendError, BundleError, ClapError
from runtime.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from typing import TypeAlias

    Embeddings: TypeAlias = NDArray[np.float32]

log = logging.getLogger(__name__)

NORM_TOLERANCE = 1e-2  # the norm is taken in float32; TensorRT may round the result to half
TENSORRT = "tensorrt"  # the provider that runs engines, not graphs


class Encoder:
    """The two encoders of a bundle. Each is loaded when first used; threads may share one Encoder.

    Args:
        bundle: folder of a bundle, or an opened one.
        providers: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``: the first is the one wanted, and
            its absence is an error. Default ``tensorrt`` of a bundle with engines, else ``cpu``.
        threads: of the CPU inside one run; None lets the engine choose.
        check_hashes: compare the SHA-256 of a file of the bundle with that of the bytes that are
            loaded. An opened bundle has its own say, and is compared again if it was.
        batch_size: most windows or texts given to an engine at once.
        max_seconds: longer recordings are refused.
        device: number of the GPU, for ``cuda`` and ``tensorrt``.

    Raises:
        BackendError: ``tensorrt`` of a bundle without engines, or beside other providers.
        BundleError, SchemaError: the bundle is missing, damaged or of another version.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        check_hashes: bool = True,
        batch_size: int = 16,
        max_seconds: float = audio.MAX_SECONDS,
        device: int = 0,
    ) -> None:
        self.batch_size = check_batch_size(batch_size)
        if not max_seconds > 0:
            raise ClapError(f"max_seconds={max_seconds}: pass a positive number of seconds.")
        self.max_seconds = max_seconds
        self._check_hash = check_hashes and not isinstance(bundle, Bundle)
        self._bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle, check_hashes=False)
        self.providers = self._chosen(providers)
        self.device = device
        self._threads = threads
        self._audio_lock, self._text_lock = threading.Lock(), threading.Lock()
        self._audio: Backend | None = None
        self._text: tuple[Backend, TextTokenizer] | None = None

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self._bundle.manifest

    def embed_audio(
        self,
        source: audio.Source | Sequence[audio.Source],
        sample_rate: int | None = None,
    ) -> Embeddings:
        """Embed recordings of any length.

        A long clip's embedding is the mean of its windows' embeddings, scaled to unit norm; a
        model with feature fusion hears it at once.

        Args:
            source: one clip (see :func:`runtime.audio.load`), or a list or tuple of clips.
            sample_rate: of arrays, in Hz.

        Returns:
            float32 ``[n, dim]`` of unit norm; n is 1 for one clip.

        Raises:
            AudioError: a clip cannot be used.
            BackendError: the engine is not available or failed.
            ClapError: an empty list.
        """
        many = isinstance(source, (list, tuple))
        sources = cast("Sequence[audio.Source]", source if many else [source])
        if not sources:
            raise ClapError("no recordings were given: pass at least one.")
        clips = (self.windows_of(clip, sample_rate) for clip in sources)
        return np.stack([mean_embedding(rows) for rows in self.embed_clips(clips)])

    def embed_windows(
        self, batch: NDArray[np.float32], batch_size: int | None = None
    ) -> Embeddings:
        """Embed windows that are already at the model's rate and length.

        Args:
            batch: float32 ``[n, window_samples]``, n >= 1, in [-1, 1]; or int16 with full scale
                32768, which is half as much for a GPU's bus. A model with feature fusion takes
                float32 alone, and also longer rows, which are whole clips.
            batch_size: windows given to the engine at once; default the encoder's.

        Returns:
            float32 ``[n, dim]`` of unit norm.

        Raises:
            ClapError: another shape or type.
            BackendError: the engine is not available or failed.
        """
        if not len(self._checked(batch)):
            raise ClapError("no windows were given: pass at least one.")
        size = self.batch_size if batch_size is None else check_batch_size(batch_size)
        return np.concatenate(list(self._stream(self._batches(batch, size))))

    def embed_text(self, texts: str | Sequence[str]) -> Embeddings:
        """Embed texts as they are, without a prompt template.

        Args:
            texts: one text or several.

        Returns:
            float32 ``[n, dim]`` of unit norm.

        Raises:
            LabelError: a blank text.
            BackendError: the engine is not available or failed.
            ClapError: no texts.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ClapError("no texts were given: pass at least one.")
        backend, tokenizer = self.open_text()
        size = self.batch_size
        batches = [texts[i : i + size] for i in range(0, len(texts), size)]
        found = backend.stream(dict(tokenizer(batch)) for batch in batches)
        name = backend.output_names[0]
        return np.concatenate(
            [self._result(out[name], len(batch)) for batch, out in zip(batches, found, strict=True)]
        )

    def windows_of(
        self, source: audio.Source, sample_rate: int | None = None
    ) -> NDArray[np.float32]:
        """A recording as :meth:`embed_windows` takes it: float32 ``[n_windows, window_samples]``,
        or ``[1, samples]`` when it is longer than a window and the model has feature fusion.

        Raises:
            AudioError: the recording cannot be used.
        """
        spec = self.manifest.audio
        samples = audio.prepare(source, spec, sample_rate, max_seconds=self.max_seconds)
        return windows.rows(samples, spec)

    def embed_clips(
        self, clips: Iterable[NDArray[np.float32]], batch_size: int | None = None
    ) -> Iterator[Embeddings]:
        """Embed clips given as windows, in batches that span clips; lazily, in order.

        Args:
            clips: each as :meth:`windows_of` gives it; ``n_windows`` may be 0, for a clip that
                only holds its place.
            batch_size: windows given to the engine at once; default the encoder's.

        Yields:
            float32 ``[n_windows, dim]`` for each clip.
        """
        size = self.batch_size if batch_size is None else check_batch_size(batch_size)
        return grouping.embed(
            grouping.groups(clips, size),
            lambda group: self._batches(self._together(group), size),
            self._stream,
            self.manifest.embedding_dim,
        )

    def open_audio(self) -> Backend:
        """Load the audio encoder, or return it when it is loaded.

        Raises:
            BackendError: the provider is not available, or the graph cannot be loaded.
            BundleError: its file was altered, or is no audio graph.
        """
        with self._audio_lock:
            if self._audio is None:
                engines = self.manifest.engines
                backend = self._open(self.manifest.audio_graph, engines and engines.audio)
                wanted = fusion.INPUTS if self._fused else ("waveform",)
                if backend.input_names != wanted:
                    raise BundleError(
                        f"'{self.manifest.audio_graph.file}' has inputs {backend.input_names}; "
                        f"this audio graph must have {wanted}. Export the bundle again."
                    )
                self._audio = backend
            return self._audio

    def close_text(self) -> None:
        """Release the text encoder; it is loaded again when needed."""
        with self._text_lock:
            if self._text is not None:
                self._text[0].close()
                self._text = None

    def close(self) -> None:
        """Release both encoders; they are loaded again when needed."""
        self.close_text()
        with self._audio_lock:
            if self._audio is not None:
                self._audio.close()
                self._audio = None

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open_text(self) -> tuple[Backend, TextTokenizer]:
        """Load the text encoder and its tokenizer, or return them when they are loaded.

        Raises:
            BackendError: the provider is not available, or the graph cannot be loaded.
            BundleError: a file was altered, is none, or does not fit the others.
        """
        with self._text_lock:
            if self._text is None:
                spec = self.manifest.text
                tokenizer = TextTokenizer(self._read(spec.tokenizer), spec)
                engines = self.manifest.engines
                backend = self._open(
                    self.manifest.text_graph, engines and engines.text, tokenizer.largest_id
                )
                if set(backend.input_names) != set(spec.inputs):
                    raise BundleError(
                        f"'{self.manifest.text_graph.file}' has inputs {backend.input_names}, the "
                        f"manifest says {spec.inputs}. Export the bundle again."
                    )
                self._text = (backend, tokenizer)
            return self._text

    def _chosen(self, providers: Sequence[str] | None) -> tuple[str, ...]:
        """The providers, or the bundle's own."""
        engines = self.manifest.engines
        if providers is None:
            return ("cpu",) if engines is None else (TENSORRT,)
        chosen = (providers,) if isinstance(providers, str) else tuple(providers)
        if TENSORRT in chosen and len(chosen) > 1:
            raise BackendError(
                f"providers={chosen!r}: TensorRT runs its engines alone; pass ('tensorrt',)."
            )
        if TENSORRT in chosen and engines is None:
            raise BackendError(
                f"provider 'tensorrt' was asked for, but {self._bundle.folder} holds no engines. "
                "Build them on the GPU that shall run them: "
                f"clap-export build {self._bundle.folder}"
            )
        return chosen

    def _open(self, graph: Graph, engine: Engine | None, largest_id: int = 0) -> Backend:
        if engine is not None and self.providers == (TENSORRT,):
            backend = open_engine(self._read(engine.file), engine, self.device)
        else:
            content, found = self._bundle.graph(graph, check_hash=self._check_hash)
            check_shapes(self.manifest, graph, found, largest_id)
            backend = open_backend(content, self.providers, self._threads, self.device)
        log.debug("opened %s on %s", graph.file, backend.provider)
        return backend

    def _read(self, name: str) -> Content:
        return self._bundle.read(name, check_hash=self._check_hash)

    def _checked(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        length = self.manifest.audio.window_samples
        fits = batch.ndim == 2 and (
            batch.shape[1] == length or (self._fused and batch.shape[1] > length)
        )
        # With feature fusion rows are mirrored and gathered on the host, as floats.
        types = (np.float32,) if self._fused else (np.float32, np.int16)
        if not fits or batch.dtype not in types:
            raise ClapError(
                f"windows of shape {batch.shape} and type {batch.dtype} were given: this model "
                f"takes float32 [n, {length}]"
                + (" or longer." if self._fused else ", or the same in int16.")
            )
        return batch

    def _result(self, result: Embeddings, rows: int) -> Embeddings:
        """An engine's output, if it is what the manifest promises."""
        expected = (rows, self.manifest.embedding_dim)
        if result.shape != expected or result.dtype != np.float32:
            raise BundleError(
                f"the graph returned {result.dtype} {result.shape}, the manifest promises float32 "
                f"{expected}. Export the bundle again."
            )
        if not np.isfinite(result).all():
            # Seen when a half-precision encoder overflows; as scores it would sort at random.
            raise BackendError(
                "the engine returned embeddings that are not finite. "
                "Export the bundle with another precision (fp32)."
            )
        off = np.abs(np.linalg.norm(result, axis=1) - 1)
        if (off > NORM_TOLERANCE).any():
            raise BundleError(
                f"the graph returned embeddings that are not of unit norm (off by {off.max():.3g})."
                " Export the bundle again."
            )
        return result

    def _together(
        self, clips: list[NDArray[np.float32]]
    ) -> Sequence[NDArray[np.float32]] | NDArray[np.float32]:
        """Rows of several clips."""
        if self._fused:
            return [row for clip in clips for row in clip]
        return self._checked(np.concatenate(clips))

    @property
    def _fused(self) -> bool:
        return self.manifest.audio.long_clips == "fusion"

    def _batches(
        self, rows: Sequence[NDArray[np.float32]] | NDArray[np.float32], size: int
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """What the audio graph takes: windows or, with feature fusion, clips of any lengths."""
        spec = self.manifest.audio
        if self._fused:
            parts = fusion.batches(list(rows), spec, size)
        else:
            parts = (rows[i : i + size] for i in range(0, len(rows), size))
        return (graph_inputs(part, spec) for part in parts)

    def _stream(self, feeds: Iterable[dict[str, NDArray[Any]]]) -> Iterator[Embeddings]:
        """Run batches through the audio encoder."""
        backend = self.open_audio()
        counts: deque[int] = deque()

        def counted() -> Iterator[dict[str, NDArray[Any]]]:
            for feed in feeds:
                counts.append(len(feed["waveform"]))
                yield feed if backend.provider == TENSORRT else _float_samples(feed)

        for outputs in backend.stream(counted()):
            yield self._result(outputs[backend.output_names[0]], counts.popleft())


def _float_samples(feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Samples in [-1, 1], for engines that cannot widen int16 themselves."""
    waveform = feed["waveform"]
    if waveform.dtype != np.int16:
        return feed
    return {**feed, "waveform": waveform.astype(np.float32) / np.float32(32768)}


def graph_inputs(
    rows: Sequence[NDArray[np.float32]] | NDArray[np.float32], spec: AudioSpec
) -> dict[str, NDArray[Any]]:
    """What an audio graph takes, by name.

    Args:
        rows: windows float32 ``[window_samples]``, or with feature fusion clips at least as long.
        spec: of the bundle.
    """
    if spec.long_clips == "fusion":
        return fusion.inputs(list(rows), spec)
    return {"waveform": np.ascontiguousarray(rows)}


def mean_embedding(rows: Embeddings) -> Embeddings:
    """Mean of unit vectors ``[n, dim]``, n >= 1, scaled to unit norm again: ``[dim]`` float32."""
    mean = rows.mean(axis=0, dtype=np.float64)
    # Opposite vectors may cancel out: no direction is left, and zero is similar to nothing.
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def check_batch_size(batch_size: int) -> int:
    """A batch size of at least 1.

    Raises:
        ClapError: it is not.
    """
    if batch_size < 1:
        raise ClapError(f"batch_size={batch_size}: pass at least 1.")
    return batch_size
