"""Decoding in threads while the engine runs, batches across recordings, results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from runtime import audio
from runtime.clips.clip import Clip, Piece
from runtime.clips.handover import Handover, Left
from runtime.clips.pooling import Peaks, Pool
from runtime.cores import usable_cores
from runtime.encoder import Encoder
from runtime.errors import AudioError, ClapError, without_frames

if TYPE_CHECKING:
    from runtime.audio.facts import Facts
    from runtime.audio_graph import Rows

    Item: TypeAlias = audio.Source | tuple[NDArray[np.generic], int]

P = TypeVar("P", bound="Pool | Peaks")
S = TypeVar("S")

# A long recording comes in pieces, so many to a batch, and so many may wait for the engine.
PIECES = 4
WAITING = 2
# Recordings for each core, above which an engine of one thread each pays. OpenVINO compiles
# HTSAT-tiny for a second, and gains a hundredth on each recording.
MANY, MANY_ON = 2, {"openvino": 100}


@dataclass(frozen=True)
class Schedule:
    """How many recordings are worked through.

    Attributes:
        batch_size: windows given to the engine at once.
        decode_threads: that load and resample, ahead of the encoder.
        parallel: above 1, so many recordings are embedded at a time, each by a run of its own. A
            thread takes one from loading to embedding; there is one thread more than that, since
            much of decoding is Python, which is one thread's at a time, and the engine shall have
            work meanwhile. There are then no ``decode_threads`` and no batches across recordings.
    """

    batch_size: int
    decode_threads: int
    parallel: int


def at_once(encoder: Encoder, count: int) -> int:
    """``parallel`` for so many recordings, where nobody asked for one: of few, batches take less
    time than opening another engine.

    Raises:
        BackendError: the provider is not available.
    """
    many = MANY_ON.get(encoder.providers[0], MANY)
    return encoder.many_at_once if count > many * usable_cores() else 1


@dataclass(frozen=True)
class Heard(Generic[P]):
    """What became of an item.

    Attributes:
        item: as it was given.
        pool: that has taken all of its windows, or None.
        warning: of the recording.
        error: why there is no pool.
        facts: the recording as it came, or None.
    """

    item: Item
    pool: P | None = None
    warning: str | None = None
    error: ClapError | None = None
    facts: Facts | None = None


def embed_many(
    encoder: Encoder,
    items: Iterable[Item],
    sample_rate: int | None,
    schedule: Schedule,
    new_pool: Callable[[], P],
    open_clip: Callable[[Item], Opened] | None = None,
) -> Generator[Heard[P]]:
    """Embed many recordings.

    Args:
        encoder: runs the batches, in the thread that consumes the iterator.
        items: any iterable of recordings, endless ones too: it is read only as far ahead as about
            two batches need. An item is a source, or a pair of an array and its sample rate.
        sample_rate: of items that are arrays without their own.
        schedule: of the work.
        new_pool: what takes the windows of one recording.
        open_clip: what opens an item, where its windows are not the encoder's to cut.

    Yields:
        for each item, in order, its pooled windows or what is wrong with it. What an item raises,
        of whatever type, is its error alone; what the engine or ``items`` itself raises is raised.
    """

    def clip(item: Item) -> Clip:
        source, rate = _pair(item) if isinstance(item, tuple) else (item, sample_rate)
        return encoder.clip(source, rate)

    opened = open_clip or clip
    if schedule.parallel > 1:
        return _one_each(encoder, items, opened, schedule, new_pool)
    return _across(encoder, items, opened, schedule, new_pool)


def _one_each(
    encoder: Encoder,
    items: Iterable[Item],
    opened: Callable[[Item], Opened],
    schedule: Schedule,
    new_pool: Callable[[], P],
) -> Generator[Heard[P]]:
    """Each recording in a thread, from decoding to its pool."""
    lanes = BoundedSemaphore(schedule.parallel)

    def embedded(piece: Piece) -> NDArray[np.float32]:
        with lanes:
            return encoder.embed_piece(piece)

    def hear(item: Item) -> Heard[P]:
        pool = new_pool()
        for given in decoded(item, opened, schedule.batch_size):
            if (piece := given.piece) is not None:
                error = _added(pool, embedded(piece), piece)
                if error is not None:
                    return Heard(item, error=error)
            if given.ending is not None:
                end = given.ending
                return Heard(item, None if end.error else pool, end.warning, end.error, end.facts)
        raise AssertionError("a recording without an end")

    def start(threads: ThreadPoolExecutor, item: Item) -> Future[Heard[P]]:
        return threads.submit(hear, item)

    # Some wait, so that no thread does while the oldest recording's result is due.
    parallel = schedule.parallel
    with closing(_started(items, start, parallel + 1, lambda: parallel)) as started:
        for future in started:
            yield future.result()


class Opened(Protocol):
    """What is asked of an item that was opened; see :class:`runtime.clips.clip.Clip`."""

    @property
    def warning(self) -> str | None:
        """Why only a part of it can be used; known when all pieces are out."""
        ...

    @property
    def facts(self) -> Facts | None:
        """The recording as it came; known when all pieces are out."""
        ...

    def pieces(self, size: int) -> Generator[Piece]:
        """All windows in order, at most ``size`` at a time."""
        ...

    def __enter__(self) -> Opened: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Given:
    """A piece of an item, how the item ended, or both."""

    item: Item
    piece: Piece | None
    ending: Heard[Pool] | None


def _across(
    encoder: Encoder,
    items: Iterable[Item],
    opened: Callable[[Item], Opened],
    schedule: Schedule,
    new_pool: Callable[[], P],
) -> Generator[Heard[P]]:
    """Batches across recordings, which are decoded in threads."""
    size = schedule.batch_size
    waiting: deque[Given] = deque()
    nothing = np.empty((0, encoder.manifest.audio.window_samples), np.float32)
    clips = windows = 0

    def decode(item: Item, handover: Handover[Given]) -> None:
        try:
            for given in decoded(item, opened, -(-size // PIECES)):
                handover.put(given)
            handover.end()
        except Left:
            pass
        except BaseException as error:  # raised where the results are read
            handover.end(error)

    def start(threads: ThreadPoolExecutor, item: Item) -> Handover[Given]:
        handover: Handover[Given] = Handover(WAITING)
        threads.submit(decode, item, handover)
        return handover

    def further() -> int:
        # While the engine runs a batch, the next is decoded: as many clips as fill one, going by
        # those seen so far.
        return -(-size * clips // windows) if windows else 0

    def rows() -> Generator[Rows]:
        nonlocal clips, windows
        with closing(_started(items, start, schedule.decode_threads, further)) as started:
            for handover in started:
                try:
                    clips += 1
                    for given in handover:
                        windows += 1 if given.piece is None else len(given.piece)
                        waiting.append(given)
                        yield nothing if given.piece is None else given.piece.rows
                finally:
                    handover.leave()

    pool, error = new_pool(), None
    # Closed explicitly, so that an abandoned iterator leaves no threads behind even where nothing
    # counts references.
    with closing(rows()) as given_rows:
        for found in encoder.embed_clips(given_rows, size, finite=False, raw=encoder.raw):
            given = waiting.popleft()
            if given.piece is not None and error is None:
                error = _added(pool, found, given.piece)
            if given.ending is not None:
                end = given.ending
                error = end.error or error
                heard = pool if error is None else None
                yield Heard(given.item, heard, end.warning, error, end.facts)
                pool, error = new_pool(), None


def _started(
    items: Iterable[Item],
    start: Callable[[ThreadPoolExecutor, Item], S],
    threads: int,
    further: Callable[[], int],
) -> Generator[S]:
    """Start items in threads, ahead of the consumer; in order.

    Args:
        items: of any number.
        start: an item in a thread.
        threads: how many.
        further: how many items more than that are begun ahead.
    """
    running: deque[S] = deque()
    remaining = iter(items)
    process = os.getpid()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="clap-decode")
    try:
        while True:
            if os.getpid() != process:
                raise ClapError(
                    "this iterator was begun in another process, and its threads stayed there: "
                    "call predict_many in the process that reads the results."
                )
            while len(running) < threads + further():
                try:
                    item = next(remaining)
                except StopIteration:
                    break
                running.append(start(pool, item))
            if not running:
                return
            yield running.popleft()
    finally:
        for each in running:
            if isinstance(each, Handover):
                each.leave()
        pool.shutdown(wait=True, cancel_futures=True)


def decoded(item: Item, opened: Callable[[Item], Opened], size: int) -> Generator[Given]:
    """The pieces of an item, at most ``size`` windows each; whatever is wrong with it is its
    ending."""
    try:
        with audio.boundary(item):
            clip = opened(item)
        with clip:
            pieces = clip.pieces(size)
            last = False
            while not last:
                with audio.boundary(item):
                    piece = next(pieces)
                last = piece.last
                ending = Heard[Pool](item, None, clip.warning, None, clip.facts) if last else None
                yield Given(item, piece, ending)
    except ClapError as error:
        refused = Heard[Pool](item, error=without_frames(error))
    else:
        return
    yield Given(item, None, refused)


def _added(pool: Pool | Peaks, rows: NDArray[np.float32], piece: Piece) -> ClapError | None:
    try:
        pool.add(rows, piece)
    except AudioError as error:
        return without_frames(error)
    return None


def _pair(item: tuple[object, ...]) -> tuple[NDArray[np.generic], int]:
    if len(item) != 2:
        raise AudioError(
            f"an item is a tuple of {len(item)}: pass a source, or a pair (array, sample_rate)."
        )
    return cast("tuple[NDArray[np.generic], int]", item)
