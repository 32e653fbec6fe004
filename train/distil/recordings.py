"""Unlabelled recordings in memory, and the same stretches of them for two models."""

from __future__ import annotations

import glob
import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime import audio, audio_files
from runtime.audio_spec import AudioSpec
from runtime.cores import usable_cores
from runtime.errors import AudioError, ClapError
from train.config.data import ListingConfig
from train.data.listing import read_listing, spread
from train.data.recording import FULL_SCALE, Recording, to_int16
from train.data.table import columns_of
from train.machine.progress import track

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """An audio file to learn from.

    Attributes:
        file: where it lies.
        recording: files of one recording are held out together.
        weight: how often it is drawn, relative to others and per length.
    """

    file: Recording
    recording: str
    weight: float


def find(listings: Sequence[ListingConfig], files: Sequence[str]) -> list[Found]:
    """Every audio file that a config names, in its order; a file named twice counts once.

    Raises:
        ClapError: a listing that cannot be read, or a file, folder or glob with nothing behind it.
    """
    found = [item for listing in listings for item in _listed(listing)]
    for pattern in files:
        paths = _behind(pattern)
        if not paths:
            raise ClapError(
                f"audio.files: there is no audio file behind {pattern!r}; give files, folders or "
                "globs, relative to the working directory."
            )
        found += [Found(Recording(path), str(path), 1.0) for path in paths]
    once: dict[Recording, Found] = {}
    for item in found:
        once.setdefault(item.file, item)
    return list(once.values())


def _listed(listing: ListingConfig) -> list[Found]:
    # The reader asks a table for a label, and the audio path will do: no text of a row counts here.
    table = listing.kind == "table" and listing.audio is not None
    label = tuple(sorted(columns_of(listing.audio or ""))) if table else ()
    plain = replace(listing, captions=(), names=(), labels=label, rename={})
    clips = [replace(clip, label="", weight=listing.weight) for clip in read_listing(plain)]
    names = [clip.recording or clip.where for clip in clips]
    if listing.recording is not None:
        clips = spread(clips, names)
    return [
        Found(Recording(clip.path, clip.member), name, clip.weight)
        for clip, name in zip(clips, names, strict=True)
    ]


def _behind(pattern: str) -> list[Path]:
    """Audio files of a folder, or whatever files a glob or a name finds."""
    try:
        if Path(pattern).is_dir():
            return list(audio_files.find(Path(pattern)))
        return [p for p in map(Path, sorted(glob.glob(pattern, recursive=True))) if p.is_file()]
    except (OSError, ValueError) as error:  # no right to look there; a NUL; a name too long
        raise ClapError(f"audio.files: {pattern!r} cannot be looked for: {error}.") from error


class Recordings:
    """Files decoded once and resampled whole for each model, by the runtime's own code.

    Files that cannot be read are left out and counted.

    Args:
        found: what to load.
        specs: the models' audio inputs; models of one rate share the samples.

    Raises:
        ClapError: no file could be read.
    """

    def __init__(self, found: Sequence[Found], specs: Sequence[AudioSpec]) -> None:
        self._rates = tuple(dict.fromkeys(spec.sample_rate for spec in specs))
        self.found: list[Found] = []
        self.hashes: list[str] = []
        self._samples: list[dict[int, np.ndarray]] = []
        failures: list[str] = []
        with ThreadPoolExecutor(usable_cores()) as pool:
            decoded = zip(found, pool.map(self._decode, found), strict=True)
            for item, result in track(decoded, "decoding", total=len(found)):
                if isinstance(result, str):
                    failures.append(result)
                    continue
                self.found.append(item)
                self.hashes.append(result[0])
                self._samples.append(result[1])
        for failure in failures:
            log.warning("left out: %s", failure)
        if not self.found:
            raise ClapError(
                f"none of the {len(found)} audio files could be read; the first: {failures[0]}"
            )

    def _decode(self, item: Found) -> tuple[str, dict[int, np.ndarray]] | str:
        """Hash of the content and samples at each rate; or why there are none."""
        try:
            source = item.file.source()
            samples, rate = audio.load(source)
            content = source if isinstance(source, bytes) else source.read_bytes()
            heard = {r: to_int16(audio.resample(samples, rate, r)) for r in self._rates}
        except AudioError as error:
            return str(error)
        except Exception as error:  # whatever is wrong with one file, the others are heard
            return f"'{item.file.path}' cannot be read ({type(error).__name__}: {error})."
        return hashlib.sha256(content).hexdigest(), heard

    def __len__(self) -> int:
        return len(self.found)

    def length(self, index: int, spec: AudioSpec) -> int:
        """Samples of a recording at a model's rate."""
        return len(self._samples[index][spec.sample_rate])

    def cut(self, index: int, start: float, seconds: float, spec: AudioSpec) -> np.ndarray:
        """A stretch of a recording for a model, as float32 ``[n]`` at its rate.

        Args:
            index: of the recording.
            start: of the stretch, in seconds.
            seconds: its length; a shorter recording is given whole.
            spec: whose rate and sample values it gets.
        """
        samples, rate = self._samples[index][spec.sample_rate], spec.sample_rate
        wanted = round(seconds * rate)
        first = min(round(start * rate), max(0, len(samples) - wanted))
        x = np.divide(samples[first : first + wanted], FULL_SCALE, dtype=np.float32)
        return audio.round_trip_int16(x) if spec.int16_round_trip else x
