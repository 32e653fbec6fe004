"""Zero-shot evaluation with the runtime's own windows and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.bundle import AudioSpec
from runtime.encoder import mean_embedding
from runtime.errors import ClapError
from runtime.windows import rows
from train.config.data import TaskConfig
from train.data.clips import ClipStore
from train.data.listing import Clip, read_listing
from train.data.texts import encode


@dataclass(frozen=True)
class Result:
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


def together(results: Sequence[Result], scales: Sequence[float]) -> Result:
    """Several models' answers to one task as one: the mean of their probabilities.

    Args:
        results: each model's, in cosines.
        scales: each model's factor on cosines before the softmax over labels.
    """
    probabilities = [
        torch.from_numpy(scale * result.scores).softmax(dim=1).numpy()
        for result, scale in zip(results, scales, strict=True)
    ]
    return Result(results[0].labels, np.mean(probabilities, axis=0), results[0].truth)


class Task:
    """A zero-shot classification task with its clips decoded.

    Raises:
        ClapError: candidates missing, or a clip's label is not among them.
    """

    def __init__(self, config: TaskConfig, store_for: ClipStoreFactory) -> None:
        self.name = config.name
        self.labels = read_candidates(config.candidates)
        self.store = store_for(read_listing(config.listing))
        index = {label.replace("_", " "): i for i, label in enumerate(self.labels)}
        asked = [clip.label.replace("_", " ") for clip in self.store.clips]
        absent = sorted(set(asked) - set(index))
        if absent:
            raise ClapError(
                f"task {self.name}: labels not among the candidates: {', '.join(absent)}."
            )
        self.truth = np.array([index[label] for label in asked])

    def run(
        self, model: ClapModel, tokenizer: Tokenizer, device: torch.device,
        templates: Sequence[str] = (),
    ) -> Result:  # fmt: skip
        """Evaluate a model (in evaluation mode).

        Args:
            templates: prompts that are averaged; the model's default one if there are none.
        """
        audio = embed_clips(model, self.store, device)
        used = templates or (model.config.default_template,)
        words = [label.replace("_", " ") for label in self.labels]
        prompts = [template.replace("{}", word) for word in words for template in used]
        each = embed_texts(model, tokenizer, prompts, device)
        text = np.stack([mean_embedding(rows) for rows in np.split(each, len(words))])
        return Result(self.labels, audio @ text.T, self.truth)


class ClipStoreFactory:
    """Makes one :class:`ClipStore` for each set of clips, shared by tasks with the same."""

    def __init__(self, spec: AudioSpec) -> None:
        self._spec = spec
        self._made: dict[tuple[Clip, ...], ClipStore] = {}

    def __call__(self, clips: Sequence[Clip]) -> ClipStore:
        key = tuple(clips)
        if key not in self._made:
            self._made[key] = ClipStore(clips, self._spec)
        return self._made[key]


def read_candidates(name: str) -> tuple[str, ...]:
    """Labels of a task of this package (``esc50``) or of a text file, one a line."""
    packaged = resources.files("train") / "tasks" / f"{name}.txt"
    path = Path(name)
    if not packaged.is_file() and not path.is_file():
        raise ClapError(f"candidates {name!r}: neither a task of this package nor a text file.")
    text = (packaged if packaged.is_file() else path).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


@torch.no_grad()
def embed_clips(model: ClapModel, store: ClipStore, device: torch.device) -> np.ndarray:
    """``[clips, dim]``: the mean of each clip's window embeddings, renormalised."""
    windows = [rows(store.waveform(i), store.spec) for i in range(len(store.samples))]
    owner = np.repeat(np.arange(len(windows)), [len(found) for found in windows])
    if store.spec.long_clips == "windows":
        stacked = np.concatenate(windows)
        windows = [stacked[i : i + 64] for i in range(0, len(stacked), 64)]
    parts = [model.embed_audio(torch.from_numpy(x).to(device)).cpu().numpy() for x in windows]
    total = np.zeros((len(store.samples), model.config.embedding_dim), np.float32)
    np.add.at(total, owner, np.concatenate(parts))
    return total / np.linalg.norm(total, axis=1, keepdims=True)


@torch.no_grad()
def embed_texts(
    model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str], device: torch.device
) -> np.ndarray:
    """``[texts, dim]`` unit vectors."""
    batch = encode(tokenizer, texts, model.config.text_encoder)
    return model.embed_text(**{name: t.to(device) for name, t in batch.items()}).cpu().numpy()
