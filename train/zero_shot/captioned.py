"""Captioned recordings that a run is measured on: its loss, and how they find their captions."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config.data import RetrievalConfig
from train.data.listing import read_listing
from train.losses import softmax_loss
from train.zero_shot import retrieval
from train.zero_shot.embedding import embed_clips, embed_texts
from train.zero_shot.task import ClipStoreFactory


class CaptionedSet:
    """Recordings and their captions, decoded.

    Args:
        config: its name and listing.
        store_for: decodes the recordings.
        batch_size: of the batches that the loss is taken over.

    Raises:
        ClapError: a recording without captions, or fewer than two recordings.
    """

    def __init__(
        self, config: RetrievalConfig, store_for: ClipStoreFactory, batch_size: int
    ) -> None:
        self.name, self._batch = config.name, batch_size
        self.store = store_for(read_listing(config.listing))
        clips = self.store.clips
        if silent := [clip.where for clip in clips if not clip.captions]:
            raise ClapError(
                f"retrieval set {self.name}: {len(silent)} recordings have no captions, the first "
                f"is {silent[0]}: name the listing's 'captions'."
            )
        if len(clips) < 2:
            raise ClapError(f"retrieval set {self.name} has one recording: give at least two.")
        self._captions = [caption for clip in clips for caption in clip.captions]
        self._owner = np.repeat(np.arange(len(clips)), [len(clip.captions) for clip in clips])

    def measure(self, model: ClapModel, tokenizer: Tokenizer) -> dict[str, float]:
        """Figures by name: ``NAME loss``, ``NAME text->audio R@1`` and so on.

        The loss is the paper's, of batches in the order of the listing with each recording's first
        caption; equal captions are positives of each other.
        """
        clips = (self.store.waveform(i) for i in range(len(self.store.samples)))
        audio = embed_clips(model, clips).cpu()
        text = embed_texts(model, tokenizer, self._captions).cpu()
        a, t = audio.numpy(), text.numpy()
        ways = {
            "text->audio": retrieval.text_to_audio(t, a, self._owner),
            "audio->text": retrieval.audio_to_text(t, a, self._owner),
        }
        found = {f"{self.name} loss": self._loss(audio, text, model.scale().cpu())}
        for way, figures in ways.items():
            found |= {f"{self.name} {way} {name}": value for name, value in figures.items()}
        return found

    @torch.no_grad()
    def _loss(self, audio: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> float:
        first = np.searchsorted(self._owner, np.arange(len(audio)))
        said = [self._captions[i] for i in first]
        total = 0.0
        for rows in np.array_split(np.arange(len(audio)), -(-len(audio) // self._batch)):
            _, at, of = np.unique([said[i] for i in rows], return_index=True, return_inverse=True)
            target = torch.eye(len(at))[torch.from_numpy(of)]
            texts = text[first[rows[at]]]
            total += len(rows) * softmax_loss(audio[rows], texts, scale, target).item()
        return total / len(audio)
