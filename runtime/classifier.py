"""Zero-shot classification: recordings against a bank of labels."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from runtime import audio, kept_labels, pipeline
from runtime.arguments import MOST_THREADS, check_batch_size, maybe_whole, shown, whole
from runtime.bundle import Bundle
from runtime.clips.policy import Policy
from runtime.clips.pooling import Peaks, Pool, check_heard, mean_embedding
from runtime.encoder import Encoder
from runtime.errors import ClapError, LabelError
from runtime.labels import LabelBank, read_labels
from runtime.lookup import Lookup
from runtime.manifest import Manifest
from runtime.scores import Mode, Prediction, Ranking, check_top_k

if TYPE_CHECKING:
    from runtime.encoder import Embeddings

    Labels: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str]] | str | Path | LabelBank


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording; times in seconds from its start.

    Attributes:
        start: of the window.
        end: of the window, or of the recording where that is earlier.
        predictions: best first; empty means "none of these".
    """

    start: float
    end: float
    predictions: list[Prediction]


@dataclass(frozen=True)
class Result:
    """What :meth:`Classifier.predict_many` found for one item.

    Attributes:
        source: the item, as it was given.
        predictions: best first; empty when there is an error, or for "none of these".
        error: why the item could not be used, or None.
        warning: a sentence that says why only a part of a file was used, or None.
    """

    source: object
    predictions: list[Prediction]
    error: ClapError | None
    warning: str | None = None


class Classifier:
    """Scores recordings against labels.

    Threads may share one Classifier, and any of them may close it. It pickles, as its arguments and
    its bank, and opens its bundle where it is unpickled; in a forked child it opens its engines
    anew.

    Args:
        bundle: folder of a bundle, an opened one, or an Encoder to share, which has decided on
            providers, threads, hashes, batch size, longest recording, device and windows.
        labels: a list of names; a dict of names to texts that are used as they are; a path of a
            text file with one label a line or of a saved bank or head (``.npz``); or a LabelBank.
            With a bank the text encoder is never loaded.
        templates: prompts with one ``{}``, averaged; default the manifest's.
        scores: ``softmax`` over the labels, ``cosine``, or ``multilabel`` (an independent
            probability for each label; needs a calibration in the bundle). Default ``softmax``, and
            of a head its own.
        threshold: predictions with a lower score are dropped.
        min_similarity: predictions with a lower cosine are dropped. When all are, the result is an
            empty list: "none of these".
        top_k: most predictions returned; default all.
        providers: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``: the first is the one wanted, and
            its absence is an error. Default ``tensorrt`` of a bundle with engines, else ``cpu``.
        threads: of the CPU inside one run; default the engine's choice for single recordings, and
            one each for many.
        batch_size: windows given to the engine at once; default 16, and on a CPU 4.
        check_hashes: compare the SHA-256 of a file of the bundle when it is loaded; default for a
            folder, not for an opened bundle.
        max_seconds: longer recordings are refused; default any length is taken.
        device: number of the GPU, for ``cuda`` and ``tensorrt``; default the first.
        windows: which windows of a recording are heard and how they are pooled; see
            :class:`runtime.Encoder`.

    Raises:
        BundleError, SchemaError: the bundle is unusable, or the bank is of another space.
        LabelError: the labels or templates are unusable.
        BackendError: the provider is not available.
        ClapError: another argument is out of range, or was given beside an Encoder.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle | Encoder,
        labels: Labels,
        *,
        templates: str | Sequence[str] | None = None,
        scores: Mode | None = None,
        threshold: float | None = None,
        min_similarity: float | None = None,
        top_k: int | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
        check_hashes: bool | None = None,
        max_seconds: float | None = None,
        device: int | None = None,
        windows: Policy | str | None = None,
    ) -> None:
        options = {
            "providers": providers, "threads": threads, "batch_size": batch_size,
            "check_hashes": check_hashes, "max_seconds": max_seconds, "device": device,
            "windows": windows,
        }  # fmt: skip
        given: dict[str, Any] = {k: value for k, value in options.items() if value is not None}
        shared = isinstance(bundle, Encoder)
        if shared and given:
            raise ClapError(
                f"{', '.join(given)} cannot be set beside an Encoder, which has them already: give "
                "them to the Encoder."
            )
        self._encoder = bundle if isinstance(bundle, Encoder) else Encoder(bundle, **given)
        self._ranking = Ranking.of(self.manifest, scores, threshold, min_similarity, top_k)
        # Both encoders are loaded at once. A missing device shows now, not at the first recording.
        with ThreadPoolExecutor(1, thread_name_prefix="clap-open") as pool:
            opening = pool.submit(self._encoder.open_audio)
            try:
                self._bank = _bank(self._encoder, labels, templates)
            finally:
                opening.result()
        self._ranking = self._ranking.of_labels(self._bank.head, scores)
        self._lookup = Lookup(self._bank.embeddings, self._encoder)
        if not shared:
            self._encoder.close_text()  # most of a bundle's memory, and no longer needed

    def __reduce__(self) -> tuple[object, ...]:
        ranking = self._ranking
        make = partial(
            type(self), scores=ranking.mode, threshold=ranking.threshold,
            min_similarity=ranking.min_similarity, top_k=ranking.top_k,
        )  # fmt: skip
        return make, (self._encoder, self._bank)

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self._encoder.manifest

    @property
    def encoder(self) -> Encoder:
        """The encoders."""
        return self._encoder

    @property
    def bank(self) -> LabelBank:
        """The labels and their embeddings; ``classifier.bank.save(path)`` keeps them."""
        return self._bank

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self._bank.names

    @property
    def scores(self) -> Mode:
        """What the scores are."""
        return self._ranking.mode

    def predict(
        self, source: audio.Source, sample_rate: int | None = None, top_k: int | None = None
    ) -> list[Prediction]:
        """Classify one recording of any length.

        Args:
            source: path, bytes, binary file object or array; see :func:`runtime.audio.load`.
            sample_rate: of an array, in Hz.
            top_k: most predictions returned; default the classifier's.

        Returns:
            predictions, best first; empty for "none of these".

        A file of which only a part could be read is used, and an :class:`AudioWarning` says so.

        Raises:
            AudioError: the recording cannot be used.
            BackendError: the engine failed.
        """
        check_top_k(top_k)
        (pool,) = self._encoder.hear([(source, sample_rate)], self._new_pool)
        return self._rank(pool, top_k)

    def predict_many(
        self,
        sources: Iterable[pipeline.Item],
        sample_rate: int | None = None,
        batch_size: int | None = None,
        decode_threads: int = 2,
        top_k: int | None = None,
        parallel: int | None = None,
    ) -> Generator[Result]:
        """Classify many recordings: decoded in threads while the engine runs batches across them,
        or, where that is quicker, one on each core.

        Args:
            sources: any iterable, read lazily. An item is a source, or a pair
                ``(array, sample_rate)``.
            sample_rate: of arrays that come alone, in Hz.
            batch_size: windows given to the engine at once; default the classifier's.
            decode_threads: that load and resample.
            top_k: most predictions for each; default the classifier's.
            parallel: 1 for batches across recordings. Above 1, so many are embedded at a time, each
                with one thread of the engine (unless the classifier has ``threads``), by threads
                that also decode; ``decode_threads`` are then not used.
                Default what suits the engine (see :attr:`Encoder.many_at_once`), unless the
                classifier has ``threads`` or there are few recordings. The engine of one
                thread is opened then, and stays beside the one for single recordings if that was
                ever used.

        Returns:
            an iterator with one Result per item, in order. Whatever goes wrong with an item is its
            error and does not disturb the others. Its ``close()`` ends the threads early.

        Raises:
            ClapError: an argument is out of range (at once).
            BackendError: the engine failed (while iterating).
        """
        check_top_k(top_k)
        if isinstance(sources, (str, bytes, bytearray, memoryview, np.ndarray, os.PathLike)) or (
            not isinstance(sources, Iterable) or hasattr(sources, "read")  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise ClapError("predict_many takes an iterable of recordings: pass one in a list.")
        schedule = pipeline.Schedule(
            self._encoder.batch_size if batch_size is None else check_batch_size(batch_size),
            whole("decode_threads", decode_threads, most=MOST_THREADS),
            maybe_whole("parallel", parallel, most=MOST_THREADS)
            or pipeline.at_once(self._encoder, operator.length_hint(sources, sys.maxsize)),
        )
        stream = pipeline.embed_many(self._encoder, sources, sample_rate, schedule, self._new_pool)
        return self._results(stream, top_k)

    def timeline(
        self,
        source: audio.Source,
        sample_rate: int | None = None,
        hop: float | None = None,
        top_k: int | None = None,
    ) -> list[Segment]:
        """Classify each window of a recording.

        Args:
            source: see :meth:`predict`.
            sample_rate: of an array, in Hz.
            hop: seconds between the starts of windows; default the manifest's. The last window is
                aligned to the recording's end.
            top_k: most predictions for each window; default the classifier's.

        Returns:
            segments in order of time.

        Raises:
            AudioError: the recording cannot be used.
            ClapError: hop is not a positive time.
            BackendError: the engine failed.
        """
        return list(self.segments(source, sample_rate, hop, top_k))

    def segments(
        self,
        source: audio.Source,
        sample_rate: int | None = None,
        hop: float | None = None,
        top_k: int | None = None,
    ) -> Generator[Segment]:
        """:meth:`timeline`, segment by segment while the recording is read.

        Raises:
            ClapError: hop is not a positive time (at once).
            AudioError: the recording cannot be used (while iterating).
            BackendError: the engine failed (while iterating).
        """
        check_top_k(top_k)
        policy = self._encoder.policy.timeline(self.manifest.audio, hop)
        return self._segments(source, sample_rate, policy, top_k)

    def rank(self, rows: Embeddings, top_k: int | None = None) -> list[Prediction]:
        """Predictions for a recording, from the embeddings of its windows.

        Args:
            rows: float32 ``[n_windows, dim]`` of unit norm, n_windows >= 1.
            top_k: most predictions; default the classifier's.

        Raises:
            AudioError: the embeddings are not finite.
        """
        cosines = self._lookup.cosines(mean_embedding(check_heard(rows)))
        return self._ranking.rank(cosines, self._bank.names, top_k)

    def close(self) -> None:
        """Release the engines; they are loaded again when needed.

        Other threads may be predicting: these finish, and the memory is free when the last of them
        is done.
        """
        self._lookup.close()
        self._encoder.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_pool(self) -> Pool | Peaks:
        if self._encoder.policy.pooling == "max":
            return Peaks(self._lookup.cosines, self._ranking.scores)
        return self._encoder.new_pool()

    def _rank(self, pool: Pool | Peaks, top_k: int | None) -> list[Prediction]:
        names = self._bank.names
        if isinstance(pool, Peaks):
            return self._ranking.rank(pool.cosines, names, top_k, pool.scores)
        return self._ranking.rank(self._lookup.cosines(pool.embedding()), names, top_k)

    def _segments(
        self, source: audio.Source, sample_rate: int | None, policy: Policy, top_k: int | None
    ) -> Generator[Segment]:
        rate = self.manifest.audio.sample_rate
        with self._encoder.clip(source, sample_rate, policy) as clip:
            for piece, rows in self._encoder.embed_pieces(clip):
                for start, end, row in zip(piece.starts, piece.ends, rows, strict=True):
                    yield Segment(start / rate, end / rate, self.rank(row[np.newaxis], top_k))

    def _results(
        self, stream: Generator[pipeline.Heard[Any]], top_k: int | None
    ) -> Generator[Result]:
        with closing(stream):
            for heard in stream:
                found = [] if heard.pool is None else self._rank(heard.pool, top_k)
                yield Result(heard.item, found, heard.error, heard.warning)


def _bank(encoder: Encoder, labels: Labels, templates: str | Sequence[str] | None) -> LabelBank:
    if isinstance(labels, (str, Path)):
        path = Path(labels)
        labels = LabelBank.load(path) if path.suffix.lower() == ".npz" else read_labels(path)
    if not isinstance(labels, LabelBank):
        if isinstance(labels, bytes) or not isinstance(labels, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise LabelError(
                f"labels={shown(labels)}: pass names, a mapping of names to texts, the path of a "
                "file with them, or a LabelBank."
            )
        return kept_labels.bank(encoder, labels, templates)
    if templates is not None:
        raise LabelError("templates do not apply to a saved label bank: build it with them.")
    labels.check_fits(encoder.manifest)
    return labels
