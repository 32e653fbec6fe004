"""Clips with their waveforms, and training windows cut from them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soxr

from runtime.audio_spec import AudioSpec
from runtime.cores import usable_cores
from runtime.errors import AudioError, ClapError
from runtime.files import writing
from train.config.data import AugmentConfig
from train.data.listing import Clip
from train.data.prefetch import Batch, fill
from train.data.recording import FULL_SCALE, Recording
from train.data.waveforms import Held, Streamed, Waveforms, size_of
from train.machine.distributed import ALONE, Ranks
from train.machine.free_memory import free_memory
from train.machine.progress import track
from train.machine.random_streams import generator

log = logging.getLogger(__name__)

T = TypeVar("T")

REPORT = "data.json"
# A clip that changes its speed is cut this much longer on both sides: soxr's quick filter reaches a
# few samples out.
EDGE = 16
# Replacements tried for a row whose file turns out to be bad; more means that nearly all are.
TRIES = 100


@dataclass(frozen=True)
class Draws:
    """What the batches of an epoch are drawn by: the same values give the same batches.

    Attributes:
        seed: of the run, at least 0.
        epoch: counted from 0.
        batch_size: of the joint batch, all processes together.
        augment: how windows are varied.
        long_share: of the steps, whose clips are cut ``long_windows`` windows long.
        long_windows: see there.
        turns: steps of an epoch, if every clip is to have its turn before any comes again; None
            draws by weight, with replacement.
    """

    seed: int
    epoch: int
    batch_size: int
    augment: AugmentConfig
    turns: int | None = None
    long_share: float = 0.0
    long_windows: int = 1


class ClipStore:
    """Every clip mixed down and resampled by the runtime's own code.

    They are decoded once and held in memory when they fit, and otherwise decoded as they are drawn,
    only as far as the window reaches. Both give the same windows: exactly the same at equal rates,
    and within one step of int16 where a clip has to be resampled.

    Clips that cannot be read are left out and counted. Held in memory, all of them are found at
    once; otherwise those whose header cannot be read, and the rest when they are drawn: another
    clip then takes the row. Files that are cut, or damaged otherwise, are used as far as they go,
    and told of.

    Args:
        clips: what to load.
        spec: the model's audio input.
        threads: that decode and cut; default one for each usable core.
        memory: most bytes that the waveforms may take; default half of what is free.
        bad_share: largest share of clips that may be left out.

    Raises:
        ClapError: no clip could be read, or more than ``bad_share`` could not.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        spec: AudioSpec,
        threads: int | None = None,
        memory: int | None = None,
        bad_share: float = 0.05,
    ) -> None:
        self.spec = spec
        self.threads = threads or usable_cores()
        self.bad: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        self._bad_indices: set[int] = set()
        self._given, self._bad_share = len(clips), bad_share
        everything = list(clips)
        headers, everything = self._each(everything, self._header, "reading headers")
        limit = free_memory() // 2 if memory is None else memory
        self.bytes = size_of(headers, spec)
        self.held = self.bytes <= limit
        self.samples: Waveforms
        if self.held:
            arrays, self.clips = self._each(everything, self._decode, "decoding")
            self.samples = Held(arrays)
        else:
            self.clips = everything
            self.samples = Streamed([_recording(clip) for clip in everything], headers, spec)
        self._order = (-1, -1), np.zeros(0, np.int64)
        weights = np.array([clip.weight for clip in self.clips])
        self.probability = weights / weights.sum()
        self._cumulative = np.cumsum(self.probability)
        self._cumulative /= self._cumulative[-1]

    def _each(
        self, clips: list[Clip], read: Callable[[Clip], T], what: str
    ) -> tuple[list[T], list[Clip]]:
        """Read something of every clip, in threads; clips that cannot be read are left out."""

        def tried(clip: Clip) -> T | AudioError:
            try:
                return read(clip)
            except AudioError as error:
                return error

        found: list[T] = []
        kept: list[Clip] = []
        with ThreadPoolExecutor(self.threads) as pool:
            results = zip(clips, pool.map(tried, clips), strict=True)
            for clip, result in track(results, what, total=len(clips)):
                if isinstance(result, AudioError):
                    self._note(clip, result)
                else:
                    found.append(result)
                    kept.append(clip)
        self._check_share(self._given - len(kept))
        return found, kept

    def _header(self, clip: Clip) -> tuple[int, int]:
        recording = _recording(clip)
        if (found := recording.stated()) is not None:
            return found
        samples, warning = recording.count(self.spec)
        self._doubt(clip, warning)
        return samples, 0

    def _decode(self, clip: Clip) -> np.ndarray:
        samples, warning = _recording(clip).heard(self.spec)
        self._doubt(clip, warning)
        return samples

    def _doubt(self, clip: Clip, warning: str | None) -> None:
        if warning is not None and clip.where not in self.damaged:
            self.damaged[clip.where] = warning
            log.warning("used as far as it goes: %s", warning)

    def _note(self, clip: Clip, reason: AudioError) -> None:
        if clip.where not in self.bad:
            self.bad[clip.where] = str(reason)
            log.warning("left out: %s", reason)

    def _check_share(self, missing: int) -> None:
        if not missing:
            return
        where, reason = next(iter(self.bad.items()))
        if missing >= self._given:
            raise ClapError(f"none of the {self._given} clips could be read; the first: {reason}")
        if missing > self._bad_share * self._given:
            raise ClapError(
                f"{missing} of {self._given} clips could not be read, more than the share "
                f"of {self._bad_share:g} that may be bad; the first: {where}: {reason}"
            )

    def report(self) -> dict[str, object]:
        """What was loaded, what was left out, and what is not whole, with the reasons: for
        ``data.json``."""
        seconds = sum(map(self.samples.length, range(len(self.samples)))) / self.spec.sample_rate
        return {
            "clips": len(self.clips),
            "hours": round(seconds / 3600, 3),
            "held_in_memory": self.held,
            "bad_share_allowed": self._bad_share,
            "bad": _told(self.bad),
            "damaged": _told(self.damaged),
        }

    def write_report(self, folder: Path) -> None:
        """Write :meth:`report` to ``data.json`` in a folder; again after a run, as clips that are
        decoded when drawn may turn out to be bad later."""
        text = json.dumps(self.report(), indent=1, ensure_ascii=False)
        with writing(folder / REPORT) as part:
            part.write_text(text + "\n", encoding="utf-8")

    def waveform(self, index: int) -> np.ndarray:
        """A whole clip, ``[samples]`` float32 in [-1, 1)."""
        return self.samples[index].astype(np.float32) / FULL_SCALE

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Indices of ``count`` clips, by weight, with replacement."""
        return np.searchsorted(self._cumulative, rng.random(count), side="right")

    def turns(self, seed: int, first: int, count: int) -> np.ndarray:
        """Indices of ``count`` clips from a run's place ``first`` on, where all take turns.

        A turn has an order of its own, so that the clips do not depend on where a run was resumed,
        and a batch may lie in two of them.
        """
        number = len(self.clips)
        parts: list[np.ndarray] = []
        while count > 0:
            turn, at = divmod(first, number)
            if self._order[0] != (seed, turn):
                self._order = (seed, turn), generator(seed, "turns", turn).permutation(number)
            parts.append(self._order[1][at : at + count])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)

    def window(
        self, index: int, rng: np.random.Generator, augment: AugmentConfig, windows: int = 1
    ) -> np.ndarray:
        """One training window ``[windows * window_samples]`` float32 of a clip, augmented.

        A longer clip is cropped at random; a shorter one is repeated from a random phase, which is
        the ``repeat`` fill rule with a time shift.

        Raises:
            AudioError: the clip cannot be decoded there.
        """
        length, available = windows * self.spec.window_samples, self.samples.length(index)
        speed = rng.uniform(1 - augment.speed, 1 + augment.speed) if augment.speed > 0 else 1.0
        edge = EDGE if augment.speed > 0 else 0
        wanted = math.ceil(length * speed) + 2 * edge
        long = available > wanted
        start = int(rng.integers(available - wanted + 1)) if long else 0
        part = self.samples.part(index, start, start + wanted if long else available)
        x = part.astype(np.float32) / FULL_SCALE
        if augment.speed > 0 and len(x) > 1:
            x = soxr.resample(x, speed, 1.0, quality="QQ")
        if long:
            begin = round(edge / speed)
            x = x[begin : begin + length]
        else:
            x = np.resize(np.roll(x, int(rng.integers(len(x)))), length)
        if augment.gain_db > 0:
            x = x * np.float32(10 ** (rng.uniform(-augment.gain_db, augment.gain_db) / 20))
        return x

    def batches(
        self, draws: Draws, steps: range, ranks: Ranks = ALONE, pinned: bool = False
    ) -> Generator[Batch, None, None]:
        """Batches of some steps of an epoch, prepared ahead in threads.

        The clips of a step are drawn for the joint batch from a generator of (seed, epoch, step),
        each row's window from one of (seed, epoch, step, row). So the numbers do not depend on
        threads, ranks, or where a run was resumed.

        Args:
            draws: of the epoch.
            steps: within the epoch.
            ranks: this process among those that share the rows of every batch.
            pinned: in memory that a GPU copies from while the CPU goes on.

        Returns:
            An iterator to close when it is not used up: it holds threads. It raises ClapError when
            more than ``bad_share`` of the clips have turned out to be bad.

        Raises:
            ValueError: a rank that gets no row.
        """
        rank, world, size = ranks.rank, ranks.world, draws.batch_size
        rows = range(size)[rank::world]
        if not 0 <= rank < world or not rows:
            raise ValueError(f"rank {rank} of {world} gets no row of a batch of {size}")
        place = (draws.seed, draws.epoch)

        def draw(step: int) -> np.ndarray:
            if draws.turns is None:
                return self.draw(generator(*place, step), size)[rank::world]
            first = (draws.epoch * draws.turns + step) * size
            return self.turns(draws.seed, first, size)[rank::world]

        def windows(step: int) -> int:
            if not draws.long_share:
                return 1
            long = generator(*place, step, "long").random() < draws.long_share
            return draws.long_windows if long else 1

        def samples(step: int) -> int:
            return windows(step) * self.spec.window_samples

        def cut(step: int, row: int, index: int) -> tuple[int, np.ndarray]:
            return self._good_window(index, (*place, step, rows[row]), draws.augment, windows(step))

        return fill(draw, cut, steps, samples, self.threads, pinned)

    def _good_window(
        self, index: int, place: tuple[int, ...], augment: AugmentConfig, windows: int
    ) -> tuple[int, np.ndarray]:
        """A window of a clip, or of another one drawn in its place if it cannot be decoded."""
        rng = generator(*place)
        for attempt in range(TRIES):
            if index not in self._bad_indices:
                try:
                    return index, self.window(index, rng, augment, windows)
                except AudioError as error:
                    self._bad_indices.add(index)
                    self._note(self.clips[index], error)
                    gone = self._given - len(self.clips) + len(self._bad_indices)
                    self._check_share(gone)
            # Not from where the failed attempt left off: an index known to be bad is not tried.
            rng = generator(*place, attempt)
            index = int(self.draw(rng, 1)[0])
        raise ClapError(f"{TRIES} clips in a row could not be read; see the warnings above.")


def _told(found: dict[str, str]) -> list[dict[str, str]]:
    return [{"path": path, "reason": reason} for path, reason in found.items()]


def _recording(clip: Clip) -> Recording:
    return Recording(clip.path, clip.member)
