"""The waveforms of a set of clips: all in memory, or decoded when asked for."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

import numpy as np

from runtime.audio_spec import AudioSpec
from train.data.recording import Recording

BYTES_PER_SAMPLE = 2


class Waveforms(Sequence[np.ndarray]):
    """One int16 array ``[n]`` for each clip, at the model's rate."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def length(self, index: int) -> int:
        """Samples of a clip."""

    @abstractmethod
    def part(self, index: int, start: int, stop: int) -> np.ndarray:
        """int16 ``[stop - start]`` of a clip.

        Raises:
            AudioError: the recording cannot be decoded there.
        """

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.part(index, 0, self.length(index))


class Held(Waveforms):
    """Decoded once and kept."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = list(arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def length(self, index: int) -> int:
        """Samples of a clip."""
        return len(self._arrays[index])

    def part(self, index: int, start: int, stop: int) -> np.ndarray:
        """int16 ``[stop - start]``, a view."""
        return self._arrays[index][start:stop]


class Streamed(Waveforms):
    """Decoded when asked for, no more of a file than is needed.

    Args:
        recordings: where they are.
        headers: frames and rate in Hz of each; ``(samples, 0)`` for one whose header does not
            tell, which is decoded from its beginning every time.
        spec: the model's audio input.
    """

    def __init__(
        self, recordings: Sequence[Recording], headers: Sequence[tuple[int, int]], spec: AudioSpec
    ) -> None:
        self._recordings = list(recordings)
        self._headers = np.array(headers, np.int64).reshape(-1, 2)
        self._lengths = [samples_of(header, spec) for header in headers]
        self._spec = spec

    def __len__(self) -> int:
        return len(self._recordings)

    def length(self, index: int) -> int:
        """Samples of a clip."""
        return self._lengths[index]

    def part(self, index: int, start: int, stop: int) -> np.ndarray:
        """int16 ``[stop - start]``; see :meth:`Recording.part`."""
        frames, rate = map(int, self._headers[index])
        if rate == 0:
            return self._recordings[index].early(start, stop, self._spec)
        return self._recordings[index].part(frames, rate, start, stop, self._spec)


def samples_of(header: tuple[int, int], spec: AudioSpec) -> int:
    """Length after resampling, as soxr rounds it."""
    frames, rate = header
    return frames if rate in (0, spec.sample_rate) else round(frames * spec.sample_rate / rate)


def size_of(headers: Sequence[tuple[int, int]], spec: AudioSpec) -> int:
    """Bytes that the clips take in memory once decoded."""
    return BYTES_PER_SAMPLE * sum(map(samples_of, headers, itertools.repeat(spec)))
