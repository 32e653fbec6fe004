"""A known sound, and files of it that the ffmpeg program and libsndfile make."""

from __future__ import annotations

import io
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import ffmpeg
from tests.programs import expected

RATE = 44_100
PROGRAM = ffmpeg.program()
# Where it is expected, a missing program fails the tests that need it.
needs_ffmpeg = pytest.mark.skipif(
    PROGRAM is None and not expected("ffmpeg"), reason="needs the ffmpeg program"
)


@cache
def sound(channels: int = 2, seconds: float = 3.0) -> np.ndarray:
    """int16 ``[n, channels]``: noise that grows and shrinks, so that no stretch is like another."""
    rng = np.random.default_rng(7)
    count = int(seconds * RATE)
    white = rng.standard_normal((count, channels))
    dull = [np.convolve(channel, 0.97 ** np.arange(200), "same") for channel in white.T]
    loud = 1_500 * (0.6 + 0.4 * np.sin(np.arange(count) / 9_000))
    return np.clip(np.array(dull) * loud, -30_000, 30_000).T.astype(np.int16)


def mono(samples: np.ndarray) -> np.ndarray:
    """float32 ``[n]``: the mean over channels of int16 ``[n, channels]``."""
    return (samples.astype(np.float64).mean(axis=1) / 32768).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE, **how: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **how})
    return file.getvalue()


def encode(
    folder: Path, name: str, *options: str, samples: np.ndarray | None = None, rate: int = RATE
) -> Path:
    """A file of the sound, in the format of its name."""
    assert PROGRAM is not None
    source, path = folder / f"source-{rate}.wav", folder / name
    source.write_bytes(wav(sound() if samples is None else samples, rate))
    command = [PROGRAM, "-nostdin", "-y", "-loglevel", "error", "-i", str(source), *options]
    subprocess.run([*command, str(path)], check=True)
    return path


def alike(found: np.ndarray, wanted: np.ndarray, slack: int) -> float:
    """The best correlation of two sounds, of which one may be later by some samples."""
    size = 1 << (len(found) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size)), size)
    near = np.concatenate([products[: slack + 1], products[-slack:]])
    return float(near.max() / np.sqrt((found**2.0).sum() * (wanted**2.0).sum()))
