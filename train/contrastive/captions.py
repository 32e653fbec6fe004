"""Which texts say what a clip is, and their states in the text tower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.model.clap import ClapModel
from runtime.prompts import SLOT, fill
from train.data.listing import Clip
from train.data.texts import encode, in_templates


class CaptionBank:
    """Every text of the training clips, grouped by label.

    A label's texts are the captions of its clips and their names, bare and in every template; any
    of them is a true caption of any of its clips. A label whose clips have neither is their name.

    Args:
        clips: the training clips.
        templates: prompts with one ``{}``.
        tags: further names, bare and in every template, which are no clip's captions.

    Attributes:
        labels: each once.
        index: of each label among them.
        label_of: ``[clips]`` index of each clip's label.
        texts: all of them, those of one label together.
        states: ``[texts, width]`` of the text tower, once :meth:`refresh` was called.
    """

    def __init__(
        self, clips: Sequence[Clip], templates: Sequence[str], tags: Sequence[str] = ()
    ) -> None:
        texts: dict[str, dict[str, None]] = {}
        for clip in clips:
            group = texts.setdefault(clip.label, {})
            group.update((caption, None) for caption in clip.captions)
            group.update((text, None) for text in in_templates(clip.names, templates))
        for label, group in texts.items():
            if not group:
                group.update((text, None) for text in in_templates([label], templates))
        self.labels = list(texts)
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.label_of = np.array([self.index[clip.label] for clip in clips], np.int64)
        self.texts: list[str] = []
        self._ranges: list[tuple[int, int]] = []
        for group in texts.values():
            self._ranges.append((len(self.texts), len(self.texts) + len(group)))
            self.texts.extend(group)
        self._tags = range(len(self.texts), len(self.texts) + len(tags))
        self._prompts = 1 + len(templates)
        for prompt in (SLOT, *templates):
            self.texts.extend(fill(prompt, tag) for tag in tags)
        self.states: Tensor | None = None

    def draw_tags(self, rng: np.random.Generator) -> list[int]:
        """Indices of the texts of all tags, in their order, in one prompt."""
        start = int(rng.integers(self._prompts)) * len(self._tags)
        return [i + start for i in self._tags]

    def draw(self, label: int, rng: np.random.Generator) -> int:
        """Index of one text of a label."""
        return int(rng.integers(*self._ranges[label]))

    @torch.no_grad()
    def refresh(self, model: ClapModel, tokenizer: Tokenizer, device: torch.device) -> None:
        """Recompute the text tower's state of every text, in evaluation mode."""
        was = model.training
        model.eval()
        found = []
        for i in range(0, len(self.texts), 128):
            batch = encode(tokenizer, self.texts[i : i + 128], model.config.text_encoder)
            found.append(model.text_encoder(**{name: t.to(device) for name, t in batch.items()}))
        model.train(was)
        self.states = torch.cat(found)


def candidates(
    labels: np.ndarray, bank: CaptionBank, negatives: int, rng: np.random.Generator
) -> tuple[list[int], Tensor]:
    """Texts of the batch's labels, then of others, and which of them fits which clip.

    Args:
        labels: ``[clips]`` indices into the bank's labels.
        bank: all texts.
        negatives: texts of other labels, if there are so many.
        rng: source of randomness.

    Returns:
        Text indices, those of the batch first, and ``[clips, texts]`` one-hot targets.
    """
    present, position = np.unique(labels, return_inverse=True)
    others = np.setdiff1d(np.arange(len(bank.labels)), present)
    others = rng.permutation(others)[:negatives]
    chosen = [bank.draw(int(label), rng) for label in (*present, *others)]
    target = torch.zeros(len(labels), len(chosen))
    target[torch.arange(len(labels)), torch.from_numpy(position)] = 1.0
    return chosen, target
