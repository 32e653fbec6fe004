"""What the text tower learns: a teacher's embeddings of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.data.texts import encode
from train.distil.loss import regression_loss
from train.machine.device import send
from train.machine.progress import track
from train.machine.random_streams import generator

BATCH = 128  # without gradients
HELD_OUT_EVERY = 50


class TextLesson:
    """Texts and the embeddings that they should have. Every 50th text is held out.

    Args:
        model: the student.
        tokenizer: the student's.
        texts: to learn from.
        target: ``[texts, dim]`` unit vectors of the teacher.
        batch_size: texts in a step.
        seed: of the order of batches.
        device: where the student is.

    Raises:
        ClapError: fewer texts than one batch.
    """

    name = "text"

    def __init__(
        self, model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str], target: np.ndarray,
        batch_size: int, seed: int, device: torch.device,
    ) -> None:  # fmt: skip
        self._model, self._tokenizer, self._texts = model, tokenizer, texts
        self._target, self._batch_size = target, batch_size
        self._seed, self._device = seed, device
        indices = np.arange(len(texts))
        self._held = indices[::HELD_OUT_EVERY]
        used = np.delete(indices, self._held)
        if len(used) < batch_size:
            raise ClapError(
                f"the batch_size for texts is {batch_size}, but there are only {len(used)} texts "
                "to learn from; make it smaller, or add sources."
            )
        # Texts of like length together: less padding. Batches are shuffled, not texts.
        self._order = by_length(texts, used)
        self.steps = len(used) // batch_size

    def modules(self) -> list[nn.Module]:
        """The text tower."""
        return [self._model.text_encoder, self._model.text_projection]

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """One loss for each batch; where batches begin moves from epoch to epoch."""
        rng = generator(self._seed, self.name, epoch)
        offset = int(rng.integers(self._batch_size))
        for batch in rng.permutation(self.steps):
            first = int(batch) * self._batch_size + offset
            rows = self._order[first : first + self._batch_size]
            ids = encode(
                self._tokenizer,
                pick(self._texts, rows),
                self._model.config.text_encoder,
            )
            out = self._model.embed_text(**{k: send(t, self._device) for k, t in ids.items()})
            want = send(self._target[rows].astype(np.float32), self._device)
            yield regression_loss(out, want)

    def held_out(self) -> float:
        """Mean cosine to the teacher on the texts that are not learned from."""
        texts = pick(self._texts, self._held)
        out = embed(self._model, self._tokenizer, texts, self._device)
        return float((out * self._target[self._held].astype(np.float32)).sum(1).mean())


def pick(texts: Sequence[str], indices: np.ndarray) -> list[str]:
    """Some of the texts."""
    return [texts[int(i)] for i in indices]


def by_length(texts: Sequence[str], indices: np.ndarray) -> np.ndarray:
    """Indices of texts, the short ones first."""
    return indices[np.argsort([len(text) for text in pick(texts, indices)], kind="stable")]


@torch.no_grad()
def embed(
    model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str], device: torch.device
) -> np.ndarray:
    """``[texts, dim]`` float32 unit vectors of any number of texts, the model in ``eval()``."""
    order = by_length(texts, np.arange(len(texts)))
    found = np.empty((len(texts), model.config.embedding_dim), np.float32)
    starts = range(0, len(texts), BATCH)
    for i in track(starts, "embedding texts") if len(starts) > 20 else starts:
        rows = order[i : i + BATCH]
        ids = encode(tokenizer, pick(texts, rows), model.config.text_encoder)
        out = model.embed_text(**{name: t.to(device) for name, t in ids.items()})
        found[rows] = out.cpu().numpy()
    return found
