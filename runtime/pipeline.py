"""Decoding in threads while the engine runs, batches across files, results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from runtime import audio, windows
from runtime.encoder import Encoder
from runtime.errors import AudioError, ClapError
from runtime.pooling import clip_embedding

if TYPE_CHECKING:
    Item: TypeAlias = audio.Source | tuple[NDArray[np.generic], int]


@dataclass(frozen=True)
class Schedule:
    """How many recordings are worked through.

    Attributes:
        batch_size: windows given to the engine at once.
        decode_threads: that load and resample, ahead of the encoder.
        parallel: above 1, this number of threads. Each takes one recording at a time, from loading
            to embedding. There are then no ``decode_threads`` and no batches across recordings.
    """

    batch_size: int
    decode_threads: int
    parallel: int


@dataclass(frozen=True)
class Heard:
    """What became of an item: rows, or what is wrong with it.

    Attributes:
        item: as it was given.
        rows: windows float32 ``[n_windows, window_samples]``, later their embedding ``[dim]``.
        warning: of the recording.
        error: why there are no rows.
    """

    item: Item
    rows: NDArray[np.float32] | None = None
    warning: str | None = None
    error: ClapError | None = None


def embed_many(
    encoder: Encoder, items: Iterable[Item], sample_rate: int | None, schedule: Schedule
) -> Generator[Heard]:
    """Embed many recordings.

    Args:
        encoder: runs the batches, in the thread that consumes the iterator.
        items: any iterable of recordings, endless ones too: it is read only as far ahead as about
            two batches need. An item is a source, or a pair of an array and its sample rate.
        sample_rate: of items that are arrays without their own.
        schedule: of the work.

    Yields:
        for each item, in order, its embedding or what is wrong with it. What an item raises, of
        whatever type, is its error alone; what the engine or ``items`` itself raises is raised.
    """
    size = schedule.batch_size
    if schedule.parallel > 1:

        def embed(clip: NDArray[np.float32]) -> NDArray[np.float32]:
            return encoder.embed_windows(clip, size, finite=False, one_thread=True)

        heard = decode_ahead(encoder, items, sample_rate, 1, schedule.parallel, embed)
        with closing(heard):
            for each in heard:
                yield each if each.rows is None else _embedded(each, each.rows)
        return
    waiting: deque[Heard] = deque()
    nothing = np.empty((0, encoder.manifest.audio.window_samples), np.float32)

    def clips() -> Generator[NDArray[np.float32]]:
        stream = decode_ahead(encoder, items, sample_rate, size, schedule.decode_threads)
        with closing(stream):
            for each in stream:
                waiting.append(Heard(each.item, None, each.warning, each.error))
                yield nothing if each.rows is None else each.rows

    # Closed explicitly, so that an abandoned iterator leaves no threads behind even where
    # nothing counts references.
    with closing(clips()) as source:
        for rows in encoder.embed_clips(source, size, finite=False):
            each = waiting.popleft()
            yield each if each.error is not None else _embedded(each, rows)


def decode_ahead(
    encoder: Encoder,
    items: Iterable[Item],
    sample_rate: int | None,
    batch_size: int,
    decode_threads: int,
    then: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda clip: clip,
) -> Generator[Heard]:
    """Load items in threads, ahead of the consumer; in order. See :func:`embed_many`.

    ``then`` is what the threads do with the windows of each.
    """

    def decode(item: Item) -> Heard:
        try:
            with audio.boundary(item):
                source, rate = _pair(item) if isinstance(item, tuple) else (item, sample_rate)
                found = encoder.read(source, rate)
                rows = windows.rows(found.samples, encoder.manifest.audio)
        except ClapError as error:
            return Heard(item, error=error)
        return Heard(item, then(rows), found.warning)

    running: deque[tuple[Item, Future[Heard]]] = deque()
    remaining = iter(items)
    clips = total = 0
    process = os.getpid()
    pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="clap-decode")
    try:
        while True:
            if os.getpid() != process:
                raise ClapError(
                    "this iterator was begun in another process, and its threads stayed there: "
                    "call predict_many in the process that reads the results."
                )
            # While the engine runs a batch, the next is decoded: as many clips as fill one, going
            # by those seen so far. So hour-long clips are not all held in memory at once.
            ahead = decode_threads + (-(-batch_size * clips // total) if total else 0)
            while len(running) < ahead:
                try:
                    item = next(remaining)
                except StopIteration:
                    break
                running.append((item, pool.submit(decode, item)))
            if not running:
                return
            _, future = running.popleft()
            heard = future.result()
            clips += 1
            total += 1 if heard.rows is None else len(heard.rows)
            yield heard
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _embedded(heard: Heard, rows: NDArray[np.float32]) -> Heard:
    try:
        return Heard(heard.item, clip_embedding(rows), heard.warning)
    except ClapError as error:
        return Heard(heard.item, None, heard.warning, error)


def _pair(item: tuple[object, ...]) -> tuple[NDArray[np.generic], int]:
    if len(item) != 2:
        raise AudioError(
            f"an item is a tuple of {len(item)}: pass a source, or a pair (array, sample_rate)."
        )
    return cast("tuple[NDArray[np.generic], int]", item)
