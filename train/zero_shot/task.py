"""Zero-shot classification tasks: their clips, candidates and results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.audio_spec import AudioSpec
from runtime.errors import ClapError
from train.config.data import TaskConfig
from train.data.clips import ClipStore
from train.data.listing import Clip, read_listing
from train.zero_shot.embedding import embed_clips, embed_labels, embed_texts


@dataclass(frozen=True)
class TaskResult:
    """Scores of one task.

    Attributes:
        labels: the candidates.
        scores: ``[clips, labels]``, cosines; of several models together, probabilities.
        truth: ``[clips]`` index of the right label.
    """

    labels: tuple[str, ...]
    scores: np.ndarray
    truth: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of clips whose best label is the right one."""
        return float(self.right().mean())

    def right(self) -> np.ndarray:
        """``[clips]`` bool: is the best label the right one?"""
        return self.scores.argmax(1) == self.truth

    def by_label(self) -> dict[str, float]:
        """Accuracy of each label that has clips."""
        right, present = self.right(), np.unique(self.truth)
        return {self.labels[i]: float(right[self.truth == i].mean()) for i in present}


def together(results: Sequence[TaskResult], scales: Sequence[float]) -> TaskResult:
    """Several models' answers to one task as one: the mean of their probabilities.

    Args:
        results: each model's, in cosines.
        scales: each model's factor on cosines before the softmax over labels.
    """
    probabilities = [
        torch.from_numpy(scale * result.scores).softmax(dim=1).numpy()
        for result, scale in zip(results, scales, strict=True)
    ]
    return TaskResult(results[0].labels, np.mean(probabilities, axis=0), results[0].truth)


class Task:
    """A zero-shot classification task with its clips decoded.

    Raises:
        ClapError: fewer than two candidates, or a clip's label is not among them.
    """

    def __init__(self, config: TaskConfig, store_for: ClipStoreFactory) -> None:
        self.name = config.name
        self.labels = read_candidates(config.candidates)
        if len(self.labels) < 2:
            raise ClapError(
                f"task {self.name}: {', '.join(self.labels)!r} is the only candidate, so there is "
                "nothing to choose from: give at least two."
            )
        self.store = store_for(read_listing(config.listing))
        index = {plain(label): i for i, label in enumerate(self.labels)}
        asked = [plain(clip.label) for clip in self.store.clips]
        if absent := sorted(set(asked) - set(index)):
            raise ClapError(
                f"task {self.name}: labels not among the candidates: {', '.join(absent)}."
            )
        self.truth = np.array([index[label] for label in asked])

    def measure(self, model: ClapModel, tokenizer: Tokenizer) -> dict[str, Any]:
        """Accuracy by the task's name, and each label's, for the records of a run."""
        found = self.run(model, tokenizer)
        return {self.name: found.accuracy, f"{self.name} by label": found.by_label()}

    def run(
        self, model: ClapModel, tokenizer: Tokenizer, templates: Sequence[str] = ()
    ) -> TaskResult:
        """Evaluate a model (in evaluation mode).

        Args:
            model: of the audio input that the clips were decoded for.
            tokenizer: the model's.
            templates: prompts that are averaged; the model's default one if there are none.
        """
        return self.score(self.hear(model), model, tokenizer, templates)

    def hear(self, model: ClapModel) -> np.ndarray:
        """``[clips, dim]`` of the recordings."""
        clips = (self.store.waveform(i) for i in range(len(self.store.samples)))
        return embed_clips(model, clips).cpu().numpy()

    def score(
        self, audio: np.ndarray, model: ClapModel, tokenizer: Tokenizer,
        templates: Sequence[str] = (),
    ) -> TaskResult:  # fmt: skip
        """What :meth:`hear` gave against the labels; see :meth:`run`."""
        text = embed_labels(
            lambda texts: embed_texts(model, tokenizer, texts).cpu().numpy(),
            [plain(label) for label in self.labels],
            templates or (model.config.default_template,),
        )
        return TaskResult(self.labels, audio @ text.T, self.truth)


class ClipStoreFactory:
    """Makes one :class:`ClipStore` for each set of clips, shared by tasks with the same.

    Args:
        spec: the model's audio input.
        memory: most bytes of each; see :class:`ClipStore`.
    """

    def __init__(self, spec: AudioSpec, memory: int | None = None) -> None:
        self._spec, self._memory = spec, memory
        self._made: dict[tuple[Clip, ...], ClipStore] = {}

    def __call__(self, clips: Sequence[Clip]) -> ClipStore:
        """The store of these clips."""
        key = tuple(clips)
        if key not in self._made:
            self._made[key] = ClipStore(clips, self._spec, memory=self._memory)
        return self._made[key]


def plain(label: str) -> str:
    """A label as prompts hold it: data sets write spaces as underscores."""
    return label.replace("_", " ")


def read_candidates(name: str) -> tuple[str, ...]:
    """Labels of a task of this package (``esc50``) or of a text file, one a line.

    A name of this package's tasks always means that task; ``./esc50`` is a file.

    Raises:
        ClapError: neither, a file that cannot be read, no labels, or one that is there twice.
    """
    folder = resources.files("train") / "tasks"
    packaged = {Path(file.name).stem: file for file in folder.iterdir()}
    try:
        text = packaged.get(name, Path(name)).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ClapError(
            f"candidates {name!r}: neither a task of this package nor a text file; the tasks are "
            f"{', '.join(sorted(packaged))}."
        ) from error
    except (OSError, ValueError) as error:
        raise ClapError(f"candidates {name!r} cannot be read: {error}.") from error
    labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not labels:
        raise ClapError(f"candidates {name!r} holds no labels: write one a line.")
    twice = [label for label, count in Counter(map(plain, labels)).items() if count > 1]
    if twice:
        raise ClapError(f"candidates {name!r} holds {', '.join(twice)} more than once.")
    return labels
