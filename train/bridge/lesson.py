"""What clips teach a bridge: how usual each tag is, and how labels sound to the tagger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from runtime.errors import ClapError
from runtime.files import writing
from runtime.schema import read_json

KIND = "clap-export-bridge-lesson"
MOST_LABELS = 10_000


@dataclass(frozen=True, eq=False)
class Heard:
    """A tagger's answers to labelled clips.

    Attributes:
        probabilities: ``[clips, tags]``, the mean over a clip's windows.
        features: ``[clips, width]``, what the learned part takes.
        labels: of the clips.
        known: ``[tags]``, how usual each tag is, where these clips are not to say.
    """

    probabilities: Tensor
    features: Tensor
    labels: tuple[str, ...]
    known: Tensor | None = None

    @property
    def usual(self) -> Tensor:
        """``[tags]``, the mean of each tag's probability."""
        return self.probabilities.double().mean(dim=0).float() if self.known is None else self.known

    def rows(self, kept: Sequence[bool]) -> Heard:
        """Some of the clips."""
        mask = torch.tensor(kept)
        labels = tuple(label for label, keep in zip(self.labels, kept, strict=True) if keep)
        return Heard(self.probabilities[mask], self.features[mask], labels, self.known)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a bridge needs of clips, whatever its text encoder.

    Attributes:
        tagger: a fingerprint of the tagger that heard them.
        usual: ``[tags]``, the mean of each tag's probability.
        labels: that the clips had.
        answers: ``[labels, width]``, linear: how much a clip's features speak for a label.
        offset: ``[labels]``, added to that.
        clips: how many there were.
    """

    tagger: str
    usual: Tensor
    labels: tuple[str, ...]
    answers: Tensor
    offset: Tensor
    clips: int


def fit(heard: Heard, tagger: str, ridge: float, clips_least: int) -> Lesson:
    """Learn from clips: ridge regression from features to labels, in closed form.

    Every label's clips weigh the same together, and so do all others: a label with many clips is
    not more probable for that.

    Args:
        heard: of the clips.
        tagger: fingerprint.
        ridge: relative to the mean square of the features.
        clips_least: labels with fewer clips are left out.
    """
    x = heard.features.double()
    names, counts = np.unique(heard.labels, return_counts=True)
    labels = tuple(str(n) for n, count in zip(names, counts, strict=True) if count >= clips_least)
    usual = heard.usual
    place = {label: i for i, label in enumerate(labels)}
    of = np.array([place.get(label, -1) for label in heard.labels])
    x, of = x[torch.from_numpy(of >= 0)], of[of >= 0]
    width = heard.features.shape[1]
    if not labels:
        empty = torch.zeros(0, width)
        return Lesson(tagger, usual, (), empty, torch.zeros(0), len(heard.labels))
    target = torch.zeros(len(of), len(labels), dtype=torch.float64)
    target[torch.arange(len(of)), torch.from_numpy(of)] = 1
    weight = (1 / target.sum(dim=0))[torch.from_numpy(of)][:, None] / len(labels)
    centre = (weight * x).sum(dim=0)
    middle = 1 / len(labels)
    apart, wanted = x - centre, target - middle
    square = apart.T @ (weight * apart)
    square += ridge * square.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    answers = torch.linalg.solve(square, apart.T @ (weight * wanted)).T
    offset = -(answers @ centre)
    scale = len(labels) ** 0.5  # of many labels each answer is small
    return Lesson(
        tagger, usual, labels, (scale * answers).float(), (scale * offset).float(),
        len(heard.labels),
    )  # fmt: skip


def write(lesson: Lesson, path: Path) -> None:
    """Keep a lesson, so that a bridge to another text needs no clips.

    Raises:
        ClapError: it cannot be written.
    """
    tensors = {"usual": lesson.usual, "answers": lesson.answers, "offset": lesson.offset}
    header = {"tagger": lesson.tagger, "labels": lesson.labels, "clips": lesson.clips}
    metadata = {"kind": KIND, "lesson": json.dumps(header)}
    content = save({name: value.contiguous() for name, value in tensors.items()}, metadata)
    with writing(path) as part:
        part.write_bytes(content)


def read(path: Path) -> Lesson:
    """What :func:`write` kept.

    Raises:
        ClapError: missing, damaged, or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ClapError(
            f"lesson {path} cannot be read ({str(error).splitlines()[0]}): python -m train bridge "
            "writes one from listings."
        ) from error
    if metadata.get("kind") != KIND:
        raise ClapError(f"lesson {path} is none: python -m train bridge writes one from listings.")
    header = read_json(metadata.get("lesson", "").encode(), f"lesson {path}")
    if not isinstance(header, dict):
        header = {}
    labels, tagger, clips = (header.get(key) for key in ("labels", "tagger", "clips"))
    fits = (
        isinstance(labels, list)
        and len(labels) <= MOST_LABELS
        and all(isinstance(label, str) and label for label in labels)
        and isinstance(tagger, str)
        and isinstance(clips, int)
        and tensors.keys() == {"usual", "answers", "offset"}
        and tensors["usual"].ndim == 1
        and tensors["answers"].ndim == 2
        and len(tensors["answers"]) == len(labels)
        and tensors["offset"].shape == (len(labels),)
        and all(bool(value.isfinite().all()) for value in tensors.values())
    )
    if not fits:
        raise ClapError(f"lesson {path} is damaged: its parts do not fit together.")
    assert isinstance(labels, list)
    assert isinstance(tagger, str)
    assert isinstance(clips, int)
    return Lesson(
        tagger, tensors["usual"], tuple(labels), tensors["answers"], tensors["offset"], clips
    )
