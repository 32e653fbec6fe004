"""What the text tower learns: a teacher's embeddings of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor, nn

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.distil.course import Pace
from train.distil.loss import regression_loss
from train.machine.device import send
from train.machine.random_streams import generator
from train.zero_shot.embedding import by_length, embed_batch, embed_texts, pick

HELD_OUT_EVERY = 50


@dataclass(frozen=True, eq=False)
class Taught:
    """Texts, and the teacher's unit vectors ``[texts, dim]`` of them."""

    texts: Sequence[str]
    target: np.ndarray


class TextLesson:
    """Texts and the embeddings that they should have. Every 50th text is held out.

    Args:
        model: the student.
        tokenizer: the student's.
        taught: to learn from.
        pace: whose batch size counts.
        seed: of the order of batches.

    Raises:
        ClapError: fewer texts than one batch.
    """

    name = "text"

    def __init__(
        self, model: ClapModel, tokenizer: Tokenizer, taught: Taught, pace: Pace, seed: int
    ) -> None:
        self._model, self._tokenizer, self._taught = model, tokenizer, taught
        self._batch_size, self._seed = pace.batch_size, seed
        indices = np.arange(len(taught.texts))
        self._held = indices[::HELD_OUT_EVERY]
        used = np.delete(indices, self._held)
        if len(used) < self._batch_size:
            raise ClapError(
                f"the batch_size for texts is {self._batch_size}, but there are only {len(used)} "
                "texts to learn from; make it smaller, or add sources."
            )
        # Batches are shuffled, not texts, so that texts of like length stay together.
        self._order = by_length(taught.texts, used)
        self.steps = len(used) // self._batch_size

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
            out = embed_batch(self._model, self._tokenizer, pick(self._taught.texts, rows))
            want = send(self._taught.target[rows].astype(np.float32), out.device)
            yield regression_loss(out, want)

    def held_out(self) -> float:
        """Mean cosine to the teacher on the texts that are not learned from."""
        texts = pick(self._taught.texts, self._held)
        out = embed_texts(self._model, self._tokenizer, texts).cpu().numpy()
        return float((out * self._taught.target[self._held].astype(np.float32)).sum(1).mean())
