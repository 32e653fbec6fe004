"""Sounds for cases: the same numbers at every call, and a spectrum that ends where it is said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clap_export.sounds.catalogue import SOUNDS

FADE = 0.1  # of the length, at both ends, at most FADE_SECONDS: a sound that is cut off is noise
FADE_SECONDS = 0.05
PEAK = 0.5
SHORTEST = 0.5  # seconds of a sound of the catalogue; shorter ones are its beginning


def banded(seed: int, samples: int, rate: int, top: float) -> NDArray[np.float32]:
    """Noise that is louder below than above and has nothing above a frequency, faded at its ends.

    Args:
        seed: of the noise.
        samples: its length, at least 1.
        rate: in Hz.
        top: the highest frequency, in Hz.

    Returns:
        float32 ``[samples]`` with a peak of 0.5.
    """
    rng = np.random.default_rng(seed)
    frequencies = np.fft.rfftfreq(samples, 1 / rate)
    spectrum = rng.standard_normal(len(frequencies)) + 1j * rng.standard_normal(len(frequencies))
    spectrum *= (frequencies <= top) / np.sqrt(np.maximum(frequencies, 50.0))
    x = np.fft.irfft(spectrum, samples)
    count = min(int(FADE * samples), int(FADE_SECONDS * rate))
    if count:
        slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
        x[:count] *= slope
        x[-count:] *= slope[::-1]
    return scaled(x)


def white(seed: int, samples: int) -> NDArray[np.float32]:
    """Noise up to the Nyquist frequency, float32 ``[samples]`` with a peak of 0.5."""
    return scaled(np.random.default_rng(seed).standard_normal(samples))


def scaled(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """The same with a peak of 0.5."""
    return (PEAK * x / max(float(np.abs(x).max(initial=0)), 1e-9)).astype(np.float32)


def scene(rate: int, samples: int, names: tuple[str, ...]) -> NDArray[np.float32]:
    """Sounds of the catalogue one behind the other, of equal length, with silence of a fifth of it
    behind each; float32 ``[samples]``."""
    share = samples / len(names)
    result = np.zeros(samples, np.float32)
    for number, name in enumerate(names):
        start, end = round(number * share), round((number + 0.8) * share)
        made = SOUNDS[name](rate, max(SHORTEST, (end - start) / rate))
        result[start:end] = made[: end - start]
    return result
