"""How many training windows a second the data alone gives: what a GPU may at most be fed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from runtime.audio_spec import AudioSpec
from train.config.contrastive import TrainConfig
from train.data.clips import ClipStore, Draws
from train.data.listing import read_listing

ENDLESS = range(1 << 30)


@dataclass(frozen=True)
class Throughput:
    """One measurement.

    Attributes:
        threads: that decoded and cut.
        windows_per_second: of joint batches as a run draws them.
        held: whether the clips were in memory.
    """

    threads: int
    windows_per_second: float
    held: bool


def measure(
    config: TrainConfig, most_threads: int, seconds: float = 5.0, streamed: bool = False
) -> Iterator[Throughput]:
    """Draw batches for some seconds with 1, 2, 4, … threads; nothing else runs.

    Args:
        config: a run; its listings, batch size, augmentation and window count.
        most_threads: the last number of threads tried.
        seconds: for each.
        streamed: decode while drawing, even where the clips fit into memory.

    Raises:
        ClapError: see :func:`train.data.listing.read_listing` and
            :class:`train.data.clips.ClipStore`.
    """
    clips = [clip for listing in config.listings for clip in read_listing(listing)]
    spec = audio_spec(config)
    memory = 0 if streamed else config.data.memory
    store = ClipStore(clips, spec, most_threads, memory, config.data.bad_share)
    counts = [2**i for i in range(most_threads.bit_length()) if 2**i < most_threads]
    for threads in (*counts, most_threads):
        store.threads = threads
        rows = 0
        draws = Draws(config.seed, 0, config.loop.batch_size, config.augment)
        with closing(store.batches(draws, ENDLESS)) as batches:
            next(batches)  # the queue is filled once; from here on it is the steady state
            began = time.perf_counter()
            while not rows or time.perf_counter() - began < seconds:
                rows += len(next(batches).indices)
            took = time.perf_counter() - began
        yield Throughput(threads, rows / took, store.held)


def audio_spec(config: TrainConfig) -> AudioSpec:
    """The audio input of the run's model: its own, or that of the checkpoint it goes on from.

    Raises:
        ClapError: the checkpoint cannot be loaded.
    """
    if config.model is not None:
        return config.model.audio
    from clap_export.checkpoints import load

    assert config.init is not None  # TrainConfig holds one of the two
    return load(config.init).model.config.audio
