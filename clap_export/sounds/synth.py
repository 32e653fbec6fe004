"""Parts that the generated sounds are made of: tones, noise, clicks, filters. Signals are float64
``[n]``; frequencies are in Hz, times in seconds.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ClapError

Signal = NDArray[np.float64]

MIN_RATE, MAX_RATE = 8_000, 192_000
MIN_SECONDS, MAX_SECONDS = 0.5, 600.0
PEAK = 0.9
FADE_SECONDS = 0.005


def times(sample_rate: int, seconds: float) -> Signal:
    """Time of each sample in seconds: ``[round(seconds * sample_rate)]``."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise ClapError(f"sample_rate={sample_rate}: pass {MIN_RATE} to {MAX_RATE} Hz.")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ClapError(f"seconds={seconds}: pass {MIN_SECONDS} to {MAX_SECONDS:g}.")
    return np.arange(round(seconds * sample_rate)) / sample_rate


def harmonics(pitch: Signal, sample_rate: int, levels: Sequence[float]) -> Signal:
    """Sines at 1, 2, 3 … times a pitch in Hz ``[n]``, silent where they would alias: ``[n]``."""
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    total = np.zeros_like(phase)
    for k, level in enumerate(levels, 1):
        if level and k * pitch.min(initial=np.inf) < sample_rate / 2:
            total += level * np.sin(k * phase) * (k * pitch < sample_rate / 2)
    return total


def noise(
    rng: np.random.Generator,
    n: int,
    sample_rate: int,
    low: float,
    high: float,
    slope_db: float = 0.0,
) -> Signal:
    """Noise ``[n]`` of unit RMS between two frequencies in Hz (12 dB an octave outside them), with
    a slope in dB an octave between."""
    f = np.maximum(np.fft.rfftfreq(n, 1 / sample_rate), 1.0)
    gain = (f / low) ** (slope_db / 6.02) / np.sqrt((1 + (low / f) ** 4) * (1 + (f / high) ** 4))
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * gain, n)
    return x / x.std()


def shape(
    x: Signal, sample_rate: int, formants: Sequence[tuple[float, float, float]], floor: float
) -> Signal:
    """Filter by resonances (centre and half width in Hz, gain) over a floor: ``[n]``."""
    f = np.fft.rfftfreq(len(x), 1 / sample_rate)
    gain = floor + sum(level / (1 + ((f - at) / width) ** 2) for at, width, level in formants)
    return np.fft.irfft(np.fft.rfft(x) * gain, len(x))


def impulses(
    at: NDArray[np.floating[Any]], level: float | Signal, t: Signal, sample_rate: int
) -> Signal:
    """Single samples of some level at times in seconds, those outside ``t`` left out: ``[n]``."""
    x, where = np.zeros_like(t), np.round(at * sample_rate).astype(int)
    inside = (where >= 0) & (where < len(x))
    np.add.at(x, where[inside], np.broadcast_to(level, at.shape)[inside])
    return x


def ring(
    sample_rate: int,
    tones: Sequence[float] | Signal,
    decays: Sequence[float] | Signal,
    levels: Sequence[float] | Signal | None = None,
    longest: float = MAX_SECONDS,
) -> Signal:
    """Sum of decaying sines. Each falls to 1/e in its decay time, in seconds, and is cut at five
    times that or at ``longest``. Tones that would alias are left out."""
    u = np.arange(int(min(5 * max(decays), longest) * sample_rate) + 1) / sample_rate
    weights = np.ones(len(tones)) if levels is None else levels
    x = np.zeros_like(u)
    for tone, decay, level in zip(tones, decays, weights, strict=True):
        if tone < sample_rate / 2:
            v = u[: int(5 * decay * sample_rate) + 1]
            x[: len(v)] += level * np.exp(-v / decay) * np.sin(2 * np.pi * tone * v)
    return x


def convolve(x: Signal, kernel: Signal) -> Signal:
    """Linear convolution by FFT, cut to the length of ``x``."""
    kernel = kernel[: len(x)]
    size = 1 << (len(x) + len(kernel) - 2).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel, size), size)[: len(x)]


def echo(x: Signal, sample_rate: int) -> Signal:
    """What a street sends back: noise that fades within half a second, convolved with ``x`` and
    brought to its RMS."""
    u = np.arange(sample_rate // 2) / sample_rate
    tail = np.random.default_rng(0).standard_normal(len(u)) * np.exp(-u / 0.12) * (u > 0.02)
    wet = convolve(x, tail)
    return wet * (x.std() / max(float(wet.std()), 1e-12))


def finish(x: Signal, sample_rate: int) -> NDArray[np.float32]:
    """Fade both ends and scale to the peak."""
    n = max(1, round(FADE_SECONDS * sample_rate))
    ends = np.minimum(np.arange(len(x)), np.arange(len(x))[::-1])
    x = x * np.clip(ends / n, 0, 1)
    return (x * (PEAK / np.abs(x).max())).astype(np.float32)


def write_wav(path: Path, samples: NDArray[np.float32], sample_rate: int) -> None:
    """Write samples ``[n]`` in [-1, 1] as a mono 16-bit WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
