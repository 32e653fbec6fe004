"""Decoding in threads while the engine runs, batches across files, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from runtime.encoder import Encoder
from runtime.errors import BackendError, BundleError, ClapError

if TYPE_CHECKING:
    from runtime import audio

    Item: TypeAlias = audio.Source | tuple[NDArray[np.generic], int]
    Embedded: TypeAlias = Generator[tuple[Item, NDArray[np.float32] | ClapError]]

_Decoded: TypeAlias = "NDArray[np.float32] | ClapError"


def embed_many(
    encoder: Encoder,
    items: Iterable[Item],
    sample_rate: int | None,
    batch_size: int,
    decode_threads: int,
    parallel: int,
) -> Embedded:
    """Embed the windows of many recordings.

    Args:
        encoder: runs the batches, in the thread that consumes the iterator.
        items: any iterable of recordings, endless ones too: it is read only as far ahead as about
            two batches need. An item is a source, or a pair of an array and its sample rate.
        sample_rate: of items that are arrays without their own.
        batch_size: windows given to the engine at once.
        decode_threads: that load and resample, ahead of the encoder.
        parallel: above 1, so many threads load recordings and run the encoder on each by itself.

    Yields:
        each item, in order, with its windows' embeddings float32 ``[n_windows, dim]`` or with what
        is wrong with it. Other exceptions, and those of the engine, are raised.
    """
    if parallel > 1:

        def embed(clip: NDArray[np.float32]) -> NDArray[np.float32]:
            return encoder.embed_windows(clip, batch_size)

        yield from decode_ahead(encoder, items, sample_rate, 1, parallel, embed)
        return
    waiting: deque[tuple[Item, ClapError | None]] = deque()
    nothing = np.empty((0, encoder.manifest.audio.window_samples), np.float32)

    def clips() -> Generator[NDArray[np.float32]]:
        stream = decode_ahead(encoder, items, sample_rate, batch_size, decode_threads)
        with closing(stream):
            for item, decoded in stream:
                error = decoded if isinstance(decoded, ClapError) else None
                waiting.append((item, error))
                yield nothing if isinstance(decoded, ClapError) else decoded

    # Closed in so many words, so that an abandoned iterator leaves no threads behind even where
    # nothing counts references.
    with closing(clips()) as source:
        for rows in encoder.embed_clips(source, batch_size):
            item, error = waiting.popleft()
            yield item, rows if error is None else error


def decode_ahead(
    encoder: Encoder,
    items: Iterable[Item],
    sample_rate: int | None,
    batch_size: int,
    decode_threads: int,
    then: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda clip: clip,
) -> Generator[tuple[Item, _Decoded]]:
    """Load items in threads, ahead of the consumer; in order. See :func:`embed_many`.

    Args:
        then: what the threads do with the windows of each.
    """

    def decode(item: Item) -> _Decoded:
        try:
            if isinstance(item, tuple):
                array, rate = _pair(item)
                return then(encoder.windows_of(array, rate))
            return then(encoder.windows_of(item, sample_rate))
        except (BackendError, BundleError):
            raise  # no fault of the item
        except ClapError as error:
            return error

    running: deque[tuple[Item, Future[_Decoded]]] = deque()
    remaining = iter(items)
    clips = total = 0
    pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="clap-decode")
    try:
        while True:
            # While the engine runs a batch, the next is decoded: as many clips as fill one, going
            # by those seen so far. Hour-long clips are thus not all held in memory at once.
            ahead = decode_threads + (-(-batch_size * clips // total) if total else 0)
            while len(running) < ahead:
                try:
                    item = next(remaining)
                except StopIteration:
                    break
                running.append((item, pool.submit(decode, item)))
            if not running:
                return
            item, future = running.popleft()
            decoded = future.result()
            clips += 1
            total += 1 if isinstance(decoded, ClapError) else len(decoded)
            yield item, decoded
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pair(item: tuple[object, ...]) -> tuple[NDArray[np.generic], int]:
    if len(item) != 2:
        raise ClapError(
            f"an item is a tuple of {len(item)}: pass a source, or a pair (array, sample_rate)."
        )
    return cast("tuple[NDArray[np.generic], int]", item)
