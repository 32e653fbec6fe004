"""Recordings to rows: decoded and hashed in threads, embedded in batches, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from clap_export.library.item import Item, Opened, opened
from clap_export.library.row import Row, Windows
from runtime import pipeline
from runtime.clips.clip import Piece
from runtime.clips.handover import ahead
from runtime.clips.pooling import Pool
from runtime.encoder import Encoder
from runtime.pipeline import Heard, Schedule

HASHED = 64  # recordings that are hashed ahead: their bytes are then in the system's memory
NO_DIRECTION = 0.5  # norm below which windows have cancelled out


class Kept(Pool):
    """A pool that counts the windows of a recording, and keeps them if it is told to.

    Args:
        encoder: whose policy is followed.
        each_window: keep them.
    """

    def __init__(self, encoder: Encoder, each_window: bool) -> None:
        super().__init__(encoder.policy.pooling)
        self._rate, self._each = encoder.manifest.audio.sample_rate, each_window
        self._times: list[tuple[int, int]] = []
        self._vectors: list[NDArray[np.float32]] = []
        self.count = 0

    def add(self, rows: NDArray[np.float32], piece: Piece) -> None:
        """Take more windows."""
        super().add(rows, piece)
        self.count += len(piece)
        if self._each:
            self._times += zip(piece.starts, piece.ends, strict=True)
            # With raw means they are as the encoder gives them.
            norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
            self._vectors.append((rows / norms).astype(np.float32))

    def windows(self) -> Windows | None:
        """All of them, if they were kept."""
        if not self._each:
            return None
        times = np.array(self._times, np.float64) / self._rate
        return Windows(times[:, 0], times[:, 1], np.concatenate(self._vectors))


def rows(
    encoder: Encoder, items: Iterable[Item], schedule: Schedule, each_window: bool,
    passed: Callable[[Opened], bool],
) -> Generator[Row]:  # fmt: skip
    """Embed recordings.

    Args:
        encoder: with the library's policy.
        items: any number; they are read as far ahead as the engine needs.
        schedule: of the work.
        each_window: keep the vectors of windows.
        passed: whether a recording need not be embedded, seen by its bytes.

    Yields:
        a row for each that is not passed over. Of those with an error some come early.

    Raises:
        BackendError: the engine failed.
    """
    begun: deque[Opened] = deque()
    failed: deque[Row] = deque()

    def sources() -> Generator[str | bytes]:
        with closing(ahead(map(opened, items), HASHED)) as found:
            for each in found:
                if each.error is not None:
                    failed.append(Row(each.item, each.sha256, error=each.error))
                elif not passed(each):
                    begun.append(each)
                    yield each.source

    def new_pool() -> Kept:
        return Kept(encoder, each_window)

    # Both are closed here, so that no thread goes on hashing where nothing counts references.
    with (
        closing(sources()) as given,
        closing(pipeline.embed_many(encoder, given, None, schedule, new_pool)) as stream,
    ):
        for heard in stream:
            yield from _all(failed)
            yield _row(begun.popleft(), heard)
    yield from _all(failed)


def schedule(encoder: Encoder, count: int, batch_size: int | None, decode_threads: int) -> Schedule:
    """How so many recordings are best worked through; see
    :meth:`runtime.Classifier.predict_many`."""
    parallel = pipeline.at_once(encoder, count)
    return Schedule(batch_size or encoder.batch_size, decode_threads, parallel)


def _all(rows: deque[Row]) -> Iterator[Row]:
    while rows:
        yield rows.popleft()


def _row(found: Opened, heard: Heard[Kept]) -> Row:
    if heard.pool is not None and found.changed():
        return Row(found.item, None, error=changed(found.item))
    return row(found.item, found.sha256, heard)


def changed(item: Item) -> str:
    """What is said of a file that is another one by now."""
    return f"'{item.where}' changed while it was read: embed it again."


def row(item: Item, sha256: str | None, heard: Heard[Kept]) -> Row:
    """What became of a recording, as a row."""
    if heard.pool is None:
        return Row(item, sha256, error=sentence(item, heard.error))
    embedding = heard.pool.embedding()
    if not float(np.linalg.norm(embedding)) > NO_DIRECTION:
        error = (
            f"the vectors of the windows of '{item.where}' cancel out: none is left for all of it."
        )
        return Row(item, sha256, error=error)
    windows, count = heard.pool.windows(), heard.pool.count
    return Row(item, sha256, heard.facts, count, embedding, windows, heard.warning)


def sentence(item: Item, error: object) -> str:
    """An error of a recording; of bytes nobody knows the name."""
    return str(error) if item.member is None else f"'{item.where}': {error}"
