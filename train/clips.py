"""Decoded clips in memory, and training windows cut from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soxr

from runtime import audio
from runtime.bundle import AudioSpec
from runtime.errors import AudioError, ClapError
from train.config import AugmentConfig
from train.listing import Clip
from train.progress import track

log = logging.getLogger(__name__)

# Kept as int16 to halve the memory: 100 hours at 24 kHz are 17 GB. 16-bit files keep their values.
_FULL_SCALE = 32768.0


class ClipStore:
    """Every clip decoded, mixed down and resampled once, by the runtime's own code.

    Clips that cannot be read are left out and counted.

    Args:
        clips: what to load.
        spec: the model's audio input.
        threads: decoding threads.

    Raises:
        ClapError: no clip could be read.
    """

    def __init__(self, clips: Sequence[Clip], spec: AudioSpec, threads: int = 2) -> None:
        self.spec = spec
        self.clips: list[Clip] = []
        self.samples: list[np.ndarray] = []
        self.failures: list[str] = []
        with ThreadPoolExecutor(threads) as pool:
            decoded = pool.map(self._decode, clips)
            for clip, found in track(
                zip(clips, decoded, strict=True), "decoding", total=len(clips)
            ):
                if isinstance(found, AudioError):
                    self.failures.append(str(found))
                else:
                    self.clips.append(clip)
                    self.samples.append(found)
        for failure in self.failures:
            log.warning("left out: %s", failure)
        if not self.clips:
            raise ClapError(
                f"none of the {len(clips)} clips could be read; the first: {self.failures[0]}"
            )
        weights = np.array([clip.weight for clip in self.clips])
        self.probability = weights / weights.sum()

    def _decode(self, clip: Clip) -> np.ndarray | AudioError:
        try:
            samples = audio.prepare(clip.path, self.spec)
        except AudioError as error:
            return error
        levels = np.round(samples * _FULL_SCALE)
        return np.clip(levels, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)

    def waveform(self, index: int) -> np.ndarray:
        """A whole clip, ``[samples]`` float32 in [-1, 1)."""
        return self.samples[index].astype(np.float32) / _FULL_SCALE

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Indices of ``count`` clips, by weight, with replacement."""
        return rng.choice(len(self.clips), size=count, p=self.probability)

    def window(self, index: int, rng: np.random.Generator, augment: AugmentConfig) -> np.ndarray:
        """One training window ``[window_samples]`` float32 of a clip, augmented.

        A longer clip is cropped at random; a shorter one is repeated from a random phase, which is
        the ``repeat`` fill rule with a time shift.
        """
        x = self.waveform(index)
        if augment.speed > 0:
            factor = rng.uniform(1 - augment.speed, 1 + augment.speed)
            x = soxr.resample(x, factor, 1.0, quality="QQ") if len(x) > 1 else x
        length = self.spec.window_samples
        if len(x) > length:
            start = int(rng.integers(len(x) - length + 1))
            x = x[start : start + length]
        else:
            x = np.resize(np.roll(x, int(rng.integers(len(x)))), length)
        if augment.gain_db > 0:
            x = x * np.float32(10 ** (rng.uniform(-augment.gain_db, augment.gain_db) / 20))
        return x
