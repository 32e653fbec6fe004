"""Real recordings brought to many rates, channels and lengths, as files that both sides read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

RATES = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
# Around the windows of 5, 7 and 10 s, and three that librosa's length in samples decides about.
SECONDS = (0.5, 2.3, 5.0, 6.2, 10.0, 12.7, 35.0)
CHANNELS = (1, 2)
LENGTHS = len(SECONDS)  # for each rate and number of channels


def make(folder: Path, sources: list[Path]) -> list[Path]:
    """Write 16-bit WAV files of each rate, number of channels and length.

    Args:
        folder: that exists.
        sources: recordings of any rate and length; each file takes others of them.

    Returns:
        the files, named ``RATE-CHANNELS-SECONDS.wav``.
    """
    made: list[Path] = []
    kinds = [(rate, channels) for rate in RATES for channels in CHANNELS]
    for number in range(len(kinds) * LENGTHS):
        rate, channels = kinds[number // LENGTHS]
        seconds = SECONDS[number % len(SECONDS)]
        wanted = round(seconds * rate)
        sides = [_taken(sources, 7 * number + 3 * side, rate, wanted) for side in range(channels)]
        path = folder / f"{rate}-{channels}-{seconds:g}.wav"
        soundfile.write(path, np.stack(sides, axis=1), rate, "PCM_16")
        made.append(path)
    return made


def _taken(sources: list[Path], first: int, rate: int, wanted: int) -> np.ndarray:
    """float64 ``[wanted]`` of one recording after the other."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < wanted:
        samples, own = soundfile.read(sources[first % len(sources)], always_2d=True)
        parts.append(soxr.resample(samples.mean(axis=1), own, rate, "VHQ"))
        first += 1
    return np.clip(np.concatenate(parts)[:wanted], -1, 1)
