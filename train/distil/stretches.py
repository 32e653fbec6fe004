"""Which stretches of the recordings are heard, and what the teacher makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clap_export.model.clap import ClapModel
from runtime.audio_spec import AudioSpec
from runtime.clips.windows import fill, starts
from runtime.errors import ClapError
from train.distil.cache import CacheKey, kept
from train.distil.recordings import Recordings
from train.machine.device import send
from train.machine.progress import track
from train.tagger.yamnet import SHORTEST
from train.zero_shot.embedding import WINDOWS, embed_clips

HELD_OUT = 0.04  # of the recordings
PART = 1024  # stretches that the teacher hears before its answers leave the device


class Stretches:
    """The student's windows over all recordings: where deployment would cut them.

    A stretch is as long as the student's window, or shorter. The teacher embeds it as a clip of
    that length; a teacher that hears in patches, such as YAMNet, hears no more than that.

    Args:
        recordings: decoded for both models.
        spec: the student's audio input.
        teacher: what the teacher hears by; in ``eval()``.
        seconds: length of a stretch; None for the student's window.

    Raises:
        ClapError: stretches longer than the student's window, or shorter than a patch.

    Attributes:
        seconds: length of a stretch; shorter recordings are one stretch.
        samples: of a stretch, at the student's rate.
        patches: the teacher hears in patches, and so a stretch as it is.
        owner: ``[stretches]`` recording of each.
        start: ``[stretches]`` in seconds.
        weight: ``[stretches]`` relative probability of being drawn.
    """

    def __init__(
        self, recordings: Recordings, spec: AudioSpec, teacher: ClapModel,
        seconds: float | None = None,
    ) -> None:  # fmt: skip
        self.recordings, self.spec, self.teacher = recordings, spec, teacher
        longest = spec.window_samples / spec.sample_rate
        self.seconds = longest if seconds is None else seconds
        self.patches = teacher.config.audio_encoder.yamnet is not None
        least = SHORTEST if self.patches else 0.0
        if not least <= self.seconds <= longest:
            raise ClapError(
                f"audio.seconds is {self.seconds:g}: a stretch has at most the {longest:g} s of "
                f"the student's window, and at least the {least:.3g} s that the teacher needs."
            )
        window = self.samples = round(self.seconds * spec.sample_rate)
        at = [starts(recordings.length(i, spec), window, window) for i in range(len(recordings))]
        self.owner = np.repeat(np.arange(len(at)), [len(found) for found in at])
        self.start = np.concatenate(at) / spec.sample_rate
        self.weight = np.array([recordings.found[i].weight for i in self.owner])

    def __len__(self) -> int:
        return len(self.owner)

    def key(self, space: str) -> CacheKey:
        """What a cache of the teacher's embeddings must be of: its space, and these stretches of
        these files, known by their content, in order."""
        hashes = self.recordings.hashes
        items = [(hashes[i], at) for i, at in zip(self.owner, self.start.tolist(), strict=True)]
        as_it_is = ("as it is", self.spec.fill) if self.patches else ()
        return CacheKey.of(space, items, self.seconds, *as_it_is)

    def anywhere(self, row: int, rng: np.random.Generator) -> float:
        """Start in seconds of a random stretch of a row's recording."""
        length = self.recordings.length(self.owner[row], self.spec)
        return rng.uniform(0, max(0.0, length / self.spec.sample_rate - self.seconds))

    def held_out(self) -> np.ndarray:
        """``[stretches]`` bool: those of a fixed share of the recordings, at least one.

        Chosen by the hash of their content: the same ones wherever the files lie, and in whatever
        order.
        """
        first: dict[str, str] = {}
        for item, content in zip(self.recordings.found, self.recordings.hashes, strict=True):
            first[item.recording] = min(content, first.get(item.recording, content))
        order = sorted(first, key=lambda name: first[name])
        held = set(order[: max(1, round(HELD_OUT * len(order)))])
        return np.array([self.recordings.found[i].recording in held for i in self.owner])

    def for_student(self, row: int, start: float) -> np.ndarray:
        """A stretch as float32 ``[<= samples]`` at the student's rate."""
        return self.recordings.cut(self.owner[row], start, self.seconds, self.spec)

    def for_teacher(self, row: int, start: float) -> np.ndarray:
        """The same stretch at the teacher's rate."""
        spec = self.teacher.config.audio
        x = self.recordings.cut(self.owner[row], start, self.seconds, spec)
        if not self.patches:
            return x
        return fill(x, round(self.seconds * spec.sample_rate), self.spec.fill)

    def on_grid(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Stretches for the teacher from their own starts."""
        return (self.for_teacher(row, float(self.start[row])) for row in rows.tolist())

    def embed(self, heard: Iterable[np.ndarray]) -> Tensor:
        """What the teacher makes of stretches that were cut for it: ``[n, dim]`` unit vectors, on
        its device."""
        if not self.patches:
            return embed_clips(self.teacher, heard)
        rows, device = np.stack(list(heard)), self.teacher.logit_scale.device
        with torch.no_grad():
            parts = [self.teacher.embed_audio(send(part, device)) for part in split(rows)]
        return torch.cat(parts)

    def targets(self, cache: Path, space: str) -> np.ndarray:
        """``[stretches, dim]`` float16 of the teacher: from the cache, or made and kept there.

        Raises:
            ClapError: the cache is of another teacher or of other recordings.
        """

        def listen() -> np.ndarray:
            parts = np.array_split(np.arange(len(self)), -(-len(self) // PART))
            heard = track(parts, "the teacher listens")
            return np.concatenate([self.embed(self.on_grid(part)).cpu().numpy() for part in heard])

        return kept(cache, self.key(space), self.teacher.config.embedding_dim, listen)


def split(rows: np.ndarray) -> list[np.ndarray]:
    """Rows of samples in as many as are given to a model at once."""
    return [rows[i : i + WINDOWS] for i in range(0, len(rows), WINDOWS)]
