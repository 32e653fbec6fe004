"""The audio graph: rows of samples in batches to embeddings, on the engine that runs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio_spec import AudioSpec
from runtime.clips import fusion, grouping
from runtime.errors import BundleError, ClapError
from runtime.manifest import EMBEDDING, NORM, Manifest

if TYPE_CHECKING:
    from typing import TypeAlias

    from runtime.backends import Backend
    from runtime.clips.clip import Piece
    from runtime.clips.fusion import Gathered
    from runtime.lease import Lease

    Embeddings: TypeAlias = NDArray[np.float32]
    Rows: TypeAlias = NDArray[np.float32] | Sequence[NDArray[np.float32] | Gathered]


class AudioGraph:
    """Runs rows of samples.

    Args:
        manifest: of the bundle.
        lease: of the engine.
        always_longer: see :func:`runtime.clips.fusion.inputs`.
    """

    def __init__(
        self, manifest: Manifest, lease: Lease[Backend], always_longer: bool = False
    ) -> None:
        self._manifest, self._lease = manifest, lease
        self._always_longer = always_longer

    def embed(self, rows: Rows, size: int, raw: bool = False) -> Embeddings:
        """Embed rows, at least one.

        Args:
            rows: windows float32 or int16 ``[n, window_samples]``, or clips for feature fusion.
            size: rows given to the engine at once.
            raw: give the encoder's vectors before they are scaled to unit norm.

        Returns:
            float32 ``[n, dim]``.

        Raises:
            ClapError: another shape or type.
            BackendError: the engine is not available or failed.
        """
        if isinstance(rows, np.ndarray):
            self._checked(rows)
        if not len(rows):
            raise ClapError("no windows were given: pass at least one.")
        return np.concatenate(list(self._stream(self._batches(rows, size), raw)))

    def embed_with_norms(
        self, rows: Rows, size: int
    ) -> tuple[Embeddings, NDArray[np.float32] | None]:
        """:meth:`embed`, with the norms ``[n]`` that the vectors had before they were scaled; None
        of an older bundle, which gives none."""
        if isinstance(rows, np.ndarray):
            self._checked(rows)
        if not len(rows):
            raise ClapError("no windows were given: pass at least one.")
        found: list[Embeddings] = []
        norms: list[NDArray[np.float32]] = []
        for unit, outputs in self._outputs(self._batches(rows, size)):
            found.append(unit)
            if self._manifest.gives_norm:
                norms.append(self._norms(outputs, len(unit)))
        return np.concatenate(found), np.concatenate(norms) if norms else None

    def embed_together(
        self, pieces: Sequence[Piece]
    ) -> list[tuple[Embeddings, NDArray[np.float32] | None]]:
        """:meth:`embed_with_norms` of all windows of the pieces at once, for each piece."""
        rows = [row for piece in pieces for row in piece.rows]
        given = rows if self._fused else np.stack(cast("list[NDArray[np.float32]]", rows))
        found, norms = self.embed_with_norms(given, len(rows))
        ends = np.cumsum([len(piece) for piece in pieces])[:-1]
        parts = np.split(found, ends)
        if norms is None:
            return [(part, None) for part in parts]
        return list(zip(parts, np.split(norms, ends), strict=True))

    def embed_clips(
        self, clips: Iterable[Rows], size: int, raw: bool = False
    ) -> Iterator[Embeddings]:
        """Embed clips given as rows, in batches that span clips; lazily, in order. A clip without
        rows only holds its place.

        Yields:
            float32 ``[rows, dim]`` for each clip.
        """
        return grouping.embed(
            grouping.groups(clips, size),
            lambda group: self._batches(self._together(group), size),
            lambda feeds: self._stream(feeds, raw),
            self._manifest.embedding_dim,
        )

    def embed_pieces(
        self, pieces: Iterator[Piece], size: int, raw: bool = False
    ) -> Iterator[tuple[Piece, Embeddings]]:
        """:meth:`embed_clips` of pieces, each beside its embeddings."""
        waiting: deque[Piece] = deque()

        def rows() -> Generator[Rows]:
            for piece in pieces:
                waiting.append(piece)
                yield piece.rows

        with closing(rows()) as given:
            for found in self.embed_clips(given, size, raw):
                yield waiting.popleft(), found

    def _checked(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        length = self._manifest.audio.window_samples
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

    def _together(self, clips: list[Rows]) -> Rows:
        """Rows of several clips."""
        if self._fused:
            return [row for clip in clips for row in clip]
        return self._checked(np.concatenate(cast("list[NDArray[np.float32]]", clips)))

    @property
    def _fused(self) -> bool:
        return self._manifest.audio.long_clips == "fusion"

    def _batches(self, rows: Rows, size: int) -> Iterator[dict[str, NDArray[Any]]]:
        """What the audio graph takes: windows or, with feature fusion, clips of any lengths."""
        spec = self._manifest.audio
        if self._fused:
            parts = fusion.batches(list(rows), spec, size)
        else:
            parts = (rows[i : i + size] for i in range(0, len(rows), size))
        return (graph_inputs(part, spec, self._always_longer) for part in parts)

    def _stream(self, feeds: Iterable[dict[str, NDArray[Any]]], raw: bool) -> Iterator[Embeddings]:
        """Run batches through the audio encoder; ``raw`` undoes the scaling to unit norm."""
        for rows, outputs in self._outputs(feeds):
            yield rows * self._norms(outputs, len(rows))[:, np.newaxis] if raw else rows

    def _outputs(
        self, feeds: Iterable[dict[str, NDArray[Any]]]
    ) -> Iterator[tuple[Embeddings, Mapping[str, NDArray[Any]]]]:
        """Run batches: their embeddings of unit norm, and all that the engine gives."""
        counts: deque[int] = deque()
        with self._lease.use() as backend:

            def counted() -> Iterator[dict[str, NDArray[Any]]]:
                for feed in feeds:
                    counts.append(len(feed["waveform"]))
                    yield feed if backend.takes_int16 else _float_samples(feed)

            for outputs in backend.stream(counted()):
                yield checked_result(outputs[EMBEDDING], counts.popleft(), self._manifest), outputs

    def _norms(self, outputs: Mapping[str, NDArray[Any]], rows: int) -> NDArray[np.float32]:
        """An engine's norms, if they are what the manifest promises."""
        found = outputs.get(NORM)
        if found is None or found.shape != (rows,) or found.dtype != np.float32:
            raise BundleError(
                f"the audio graph gives no '{NORM}' of float32 [{rows}], which the manifest "
                "promises. Export the bundle again."
            )
        return found


def checked_result(result: Embeddings, rows: int, manifest: Manifest) -> Embeddings:
    """An engine's output, if it is what the manifest promises."""
    expected = (rows, manifest.embedding_dim)
    if result.shape != expected or result.dtype != np.float32:
        raise BundleError(
            f"the graph returned {result.dtype} {result.shape}, the manifest promises float32 "
            f"{expected}. Export the bundle again."
        )
    return result


def _float_samples(feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Samples in [-1, 1], for engines that cannot widen int16 themselves."""
    waveform = feed["waveform"]
    if waveform.dtype != np.int16:
        return feed
    return {**feed, "waveform": waveform.astype(np.float32) / np.float32(32768)}


def graph_inputs(
    rows: Rows, spec: AudioSpec, always_longer: bool = False
) -> dict[str, NDArray[Any]]:
    """What an audio graph takes, by name.

    Args:
        rows: windows float32 ``[window_samples]``, or with feature fusion clips at least as long.
        spec: of the bundle.
        always_longer: see :func:`runtime.clips.fusion.inputs`.
    """
    if spec.long_clips == "fusion":
        return fusion.inputs(list(rows), spec, always_longer)
    return {"waveform": np.ascontiguousarray(rows)}
