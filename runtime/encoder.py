"""Recordings and texts to embeddings of one space."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from runtime import audio, tuned
from runtime.arguments import MOST_THREADS, check_batch_size, maybe_whole, shown
from runtime.audio_graph import AudioGraph
from runtime.backends import GPU
from runtime.bundle import Bundle
from runtime.clips import windows
from runtime.clips.clip import Clip, Piece, unchecked
from runtime.clips.policy import Policy, chosen
from runtime.clips.pooling import Peaks, Pool, check_finite
from runtime.errors import BundleError, ClapError, LabelError
from runtime.loaded import Loaded
from runtime.loaded_bundle import LoadedBundle
from runtime.text_graph import TextGraph

if TYPE_CHECKING:
    from runtime.audio_graph import Embeddings, Rows

P = TypeVar("P", bound="Pool | Peaks")

ENOUGH_ON_CPU = 4  # windows


class Encoder(LoadedBundle):
    """The two encoders of a bundle. Each is loaded when first used; threads may share one Encoder,
    and any of them may close it. It pickles as its arguments; in a forked child its engines are
    loaded anew.

    Args:
        bundle: folder of a bundle, or an opened one.
        providers: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``: the first is the one wanted, and
            its absence is an error. Default ``tensorrt`` of a bundle with engines; else what was
            quickest on this machine, if that was measured (``clap-export tune``, see
            :mod:`runtime.tuned`), with its threads and batch size; else ``cpu``.
        threads: of the CPU inside one run. None lets the engine choose for single recordings, and
            many are given one thread and one core each; see :attr:`many_at_once`.
        check_hashes: compare the SHA-256 of a file of the bundle with that of the bytes that are
            loaded; default for a folder. An opened bundle has its own say, and is compared again
            if it was.
        batch_size: windows or texts given to an engine at once; default 16, and of windows on a CPU
            4: more cost it memory, and no window gets quicker.
        max_seconds: longer recordings are refused; default any length is taken.
        device: number of the GPU, for ``cuda`` and ``tensorrt``; default the first.
        windows: which windows of a recording are heard and how they are pooled: a
            :class:`runtime.clips.policy.Policy`, a preset's name, or None for the bundle's own.

    Attributes:
        batch_size: of windows.
        text_batch_size: of texts.
        policy: the one that was chosen.

    Raises:
        BackendError: ``tensorrt`` of a bundle without engines, or beside other providers.
        BundleError, SchemaError: the bundle is missing, damaged or of another version, or its audio
            graph does not give what the policy needs.
        ClapError: another argument is out of range.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        check_hashes: bool | None = None,
        batch_size: int | None = None,
        max_seconds: float = math.inf,
        device: int | None = None,
        windows: Policy | str | None = None,
    ) -> None:
        self.text_batch_size = 16 if batch_size is None else check_batch_size(batch_size)
        self.max_seconds = audio.check_max_seconds(max_seconds)
        if not isinstance(bundle, (str, os.PathLike, Bundle)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BundleError(f"{shown(bundle)} is no bundle: pass the path of its folder.")
        self._given = bundle
        opened = isinstance(bundle, Bundle)
        files = bundle if isinstance(bundle, Bundle) else Bundle(bundle, check_hashes=False)
        manifest = files.manifest
        self.policy = chosen(
            windows, manifest.policy, manifest.audio, manifest.gives_norm, manifest.source.family
        )
        threads = maybe_whole("threads", threads, most=MOST_THREADS)
        quickest = None
        if providers is None and device is None and manifest.engines is None:
            quickest = tuned.choice(files)
        self._asked = providers is not None
        if quickest is not None:
            providers = (quickest.provider,)
        super().__init__(
            Loaded(
                files,
                not opened if check_hashes is None else check_hashes,
                providers,
                threads,
                maybe_whole("device", device, 0),
                self.policy.quirks.whole_texts,
                None if quickest is None else quickest.threads,
            )
        )
        self.providers = self._loaded.providers
        self.device = self._loaded.device or 0
        gpu = self.providers[0] in GPU
        self.batch_size = self.text_batch_size if gpu or batch_size else ENOUGH_ON_CPU
        if quickest is not None and batch_size is None:
            self.batch_size = quickest.batch_size
        self._batch_size = batch_size
        longer = self.policy.quirks.always_longer
        self._audio = AudioGraph(manifest, self._loaded.audio, longer)
        self._alone = AudioGraph(manifest, self._loaded.single, longer)
        self._text = TextGraph(manifest, self._loaded.text)

    def __reduce__(self) -> tuple[object, ...]:
        make = partial(
            type(self), providers=self.providers if self._asked else None,
            threads=self._loaded.threads,
            check_hashes=self._loaded.check_hashes, batch_size=self._batch_size,
            max_seconds=self.max_seconds, device=self._loaded.device, windows=self.policy,
        )  # fmt: skip
        return make, (self._given,)

    @property
    def clip_space_id(self) -> str:
        """Hash of the embedding space and the policy: recordings' embeddings of another do not
        match these."""
        return self.policy.clip_space_id(self.manifest.space_id, self.manifest.audio)

    def embed_audio(
        self,
        source: audio.Source | Sequence[audio.Source],
        sample_rate: int | None = None,
    ) -> Embeddings:
        """Embed recordings of any length.

        A long clip's embedding is pooled from those of its windows, as the policy says; a model
        with feature fusion hears it at once.

        Args:
            source: one clip (see :func:`runtime.audio.read`), or a list or tuple of clips.
            sample_rate: of arrays, in Hz.

        Returns:
            float32 ``[n, dim]`` of unit norm; n is 1 for one clip.

        A file of which only a part could be used is used, and an :class:`AudioWarning` says so.

        Raises:
            AudioError: a clip cannot be used.
            BackendError: the engine is not available or failed.
            ClapError: an empty list, or a policy that leaves no embedding.
        """
        many = isinstance(source, (list, tuple))
        sources = cast("Sequence[audio.Source]", source if many else [source])
        if not sources:
            raise ClapError("no recordings were given: pass at least one.")
        pools = self.hear(((clip, sample_rate) for clip in sources), self.new_pool)
        return np.stack([pool.embedding() for pool in pools])

    def new_pool(self) -> Pool:
        """What pools the windows of one recording.

        Raises:
            ClapError: the policy leaves no embedding.
        """
        if self.policy.pooling == "max":
            raise ClapError(
                f"the policy '{self.policy.name}' takes the highest scores over windows, which "
                "leaves no embedding: use it with a Classifier, or choose another policy."
            )
        return Pool(self.policy.pooling)

    def clip(
        self,
        source: audio.Source,
        sample_rate: int | None = None,
        policy: Policy | None = None,
        check: Callable[[], None] = unchecked,
    ) -> Clip:
        """A recording, opened, as the windows of a policy (default the encoder's); to be closed.

        Args:
            source: see :meth:`embed_audio`.
            sample_rate: of an array, in Hz.
            policy: which windows are wanted.
            check: called for every block that is decoded, until the windows are all there; what it
                raises ends the work.

        Raises:
            AudioError: the recording cannot be opened.
        """
        spec = self.manifest.audio
        wanted = policy or self.policy
        return Clip(source, sample_rate, spec, wanted, self.max_seconds, check)

    def embed_pieces(self, clip: Clip) -> Iterator[tuple[Piece, Embeddings]]:
        """A recording's pieces, and the embeddings float32 ``[n, dim]`` of their windows, as they
        come.

        Raises:
            AudioError: the recording cannot be used.
            BackendError: the engine is not available or failed.
        """
        with closing(clip.pieces_ahead(self.batch_size)) as pieces:
            yield from self._audio.embed_pieces(pieces, self.batch_size)

    def hear(
        self, clips: Iterable[tuple[audio.Source, int | None]], new_pool: Callable[[], P]
    ) -> Iterator[P]:
        """Embed recordings one after the other, in batches that span them.

        Args:
            clips: sources, and the sample rates of those that are arrays.
            new_pool: what takes the windows of one recording.

        Yields:
            for each recording the pool that has taken all of its windows.

        Raises:
            AudioError: a recording cannot be used.
            BackendError: the engine is not available or failed.
        """

        def pieces() -> Generator[Piece]:
            for source, sample_rate in clips:
                with self.clip(source, sample_rate) as clip:
                    yield from clip.pieces_ahead(self.batch_size)

        pool: P | None = None
        with closing(pieces()) as given:
            for piece, rows in self._audio.embed_pieces(given, self.batch_size, self.raw):
                pool = new_pool() if pool is None else pool
                pool.add(rows, piece)
                if piece.last:
                    yield pool
                    pool = None

    def embed_windows(
        self,
        batch: NDArray[np.float32],
        batch_size: int | None = None,
        *,
        finite: bool = True,
        one_thread: bool = False,
    ) -> Embeddings:
        """Embed windows that are already at the model's rate and length.

        Args:
            batch: float32 ``[n, window_samples]``, n >= 1, in [-1, 1]; or int16 with full scale
                32768, which is half as much for a GPU's bus. A model with feature fusion takes
                float32 alone, and also longer rows, which are whole clips.
            batch_size: windows given to the engine at once; default the encoder's.
            finite: refuse embeddings that are not finite or not of unit norm; else that is for the
                caller to do.
            one_thread: as one of many at a time; see :attr:`many_at_once`.

        Returns:
            float32 ``[n, dim]`` of unit norm.

        Raises:
            ClapError: another shape or type.
            BackendError: the engine is not available or failed.
        """
        size = self.batch_size if batch_size is None else check_batch_size(batch_size)
        found = (self._alone if one_thread else self._audio).embed(batch, size)
        return check_finite(found) if finite else found

    def embed_piece(self, piece: Piece) -> Embeddings:
        """Embed windows of one recording with one thread, as one of many at a time; see
        :attr:`many_at_once`.

        Returns:
            float32 ``[n, dim]``, for a :class:`Pool` of the policy.

        Raises:
            BackendError: the engine is not available or failed.
        """
        return self._alone.embed(piece.rows, len(piece), self.raw)

    def embed_together(
        self, pieces: Sequence[Piece], *, one_thread: bool = False
    ) -> list[tuple[Embeddings, NDArray[np.float32] | None]]:
        """Embed windows of any number of recordings at once, for those who pool them by their own
        policies.

        Args:
            pieces: at least one; of any policies with the encoder's quirks.
            one_thread: as one of many at a time; see :attr:`many_at_once`.

        Returns:
            for each piece its embeddings float32 ``[n, dim]`` of unit norm, which are not looked at
            (see :func:`runtime.clips.pooling.check_heard`), and the norms ``[n]`` that they had in
            the encoder; None of an older bundle, which gives none.

        Raises:
            BackendError: the engine is not available or failed.
        """
        graph = self._alone if one_thread else self._audio
        return graph.embed_together(pieces)

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
        if isinstance(texts, bytes) or not isinstance(cast(object, texts), (str, Iterable)):
            raise LabelError(f"texts={shown(texts)}: pass one text or several.")
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ClapError("no texts were given: pass at least one.")
        return self._text.embed(texts, self.text_batch_size)

    def windows_of(
        self, source: audio.Source, sample_rate: int | None = None
    ) -> NDArray[np.float32]:
        """A recording as :meth:`embed_windows` takes it: float32 ``[n_windows, window_samples]``,
        or ``[1, samples]`` when it is longer than a window and the model has feature fusion.

        Raises:
            AudioError: the recording cannot be used.
        """
        return windows.rows(audio.said(self.read(source, sample_rate)).samples, self.manifest.audio)

    def read(self, source: audio.Source, sample_rate: int | None = None) -> audio.Recording:
        """A recording whole, at the model's rate, with a warning where a part is missing.

        Raises:
            AudioError: the recording cannot be used, or lasts more than an hour and the encoder has
                no ``max_seconds``.
        """
        limit = audio.MAX_SECONDS if self.max_seconds == math.inf else self.max_seconds
        return audio.prepared(source, self.manifest.audio, sample_rate, max_seconds=limit)

    def embed_clips(
        self,
        clips: Iterable[Rows],
        batch_size: int | None = None,
        *,
        finite: bool = True,
        raw: bool = False,
    ) -> Iterator[Embeddings]:
        """Embed clips given as windows, in batches that span clips; lazily, in order.

        Args:
            clips: each as :meth:`windows_of` gives it; ``n_windows`` may be 0, for a clip that
                only holds its place. Or a list of what feature fusion gathered of long clips.
            batch_size: windows given to the engine at once; default the encoder's.
            finite: refuse embeddings that are not finite or not of unit norm; else that is for the
                caller to do.
            raw: give the encoder's vectors before they are scaled to unit norm.

        Yields:
            float32 ``[n_windows, dim]`` for each clip.
        """
        size = self.batch_size if batch_size is None else check_batch_size(batch_size)
        found = self._audio.embed_clips(clips, size, raw)
        return (check_finite(rows) for rows in found) if finite else found

    @property
    def raw(self) -> bool:
        """Whether the policy pools the encoder's vectors before they are scaled to unit norm."""
        return self.policy.pooling == "raw_mean"
