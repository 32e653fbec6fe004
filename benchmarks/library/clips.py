"""Many short recordings out of some: cut at random places, every other one mixed with a second."""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from runtime import audio
from runtime.errors import ClapError

SOURCES = 1500  # recordings that are cut
SECONDS = 1.0
LEAST_PEAK = 0.003  # below which a cut is silence, and another is taken
TRIES = 20
IN_A_FOLDER = 1000


def sources(folder: Path, rate: int) -> list[np.ndarray]:
    """Some recordings below a folder, as float32 at a rate; those that cannot be read are left."""
    endings = {".opus", ".wav", ".flac", ".ogg", ".mp3"}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in endings)
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    for place in rng.permutation(len(paths))[: 2 * SOURCES].tolist():
        try:
            loaded, own = audio.load(paths[place])
        except ClapError:
            continue
        mono = loaded if loaded.ndim == 1 else loaded.mean(axis=0)
        samples = audio.resample(mono, own, rate)
        if len(samples) > SECONDS * rate and np.abs(samples).max() > LEAST_PEAK:
            found.append(samples)
        if len(found) == SOURCES:
            break
    return found


def write(folder: Path, given: Sequence[np.ndarray], rate: int, count: int) -> None:
    """So many WAV files of one second, the same for the same recordings."""
    for i, samples in enumerate(_made(given, int(SECONDS * rate), count)):
        inner = folder / f"{i // IN_A_FOLDER:03d}"
        if i % IN_A_FOLDER == 0:
            inner.mkdir(parents=True)
        with wave.open(str(inner / f"{i:06d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.astype("<i2").tobytes())


def _made(given: Sequence[np.ndarray], length: int, count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)

    def cut() -> np.ndarray:
        some = given[0][:length]
        for _ in range(TRIES):
            whole = given[rng.integers(len(given))]
            first = rng.integers(len(whole) - length)
            some = whole[first : first + length]
            if np.abs(some).max() > LEAST_PEAK:
                break
        return some

    for i in range(count):
        mixed = cut()
        if i % 2:
            mixed = mixed + rng.uniform(0.1, 1) * cut()
        peak = max(1.0, float(np.abs(mixed).max()))
        yield np.rint(mixed * (32767 / peak))
