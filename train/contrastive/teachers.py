"""Finished models that a run learns from beside the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.checkpoints import load
from clap_export.model.clap import ClapModel
from runtime.audio_spec import AudioSpec
from runtime.errors import ClapError
from train.config.teaching import TeachersConfig
from train.machine.device import channels_last, send
from train.zero_shot.embedding import embed_texts


class Teachers:
    """Say which texts fit what is heard, each by its own two towers.

    They hear the very windows that the student hears, mixed clips too: what is told apart in a
    mixture is most of what there is to learn from them ("consistent teaching", Beyer et al. 2022,
    arXiv 2106.05237). Their spaces may differ from the student's and from one another's.

    Args:
        config: which, and how much they count.
        audio: the student's audio input.
        texts: everything that may be a candidate.
        device: to listen on.

    Raises:
        ClapError: models that hear at another rate or in other windows (all are listed), or files
            that cannot be read.
    """

    def __init__(
        self, config: TeachersConfig, audio: AudioSpec, texts: Sequence[str], device: torch.device
    ) -> None:
        found = [load(checkpoint) for checkpoint in config.checkpoints]
        problems = [
            f"{name} hears {_heard(teacher.model.config.audio)}"
            for name, teacher in zip(config.checkpoints, found, strict=True)
            if _heard(teacher.model.config.audio) != _heard(audio)
        ]
        if problems:
            raise ClapError(
                f"teachers hear the batch's own windows, {_heard(audio)}, but {'; '.join(problems)}"
                ". Take others, or distil from them (python -m train distil), which can resample."
            )
        self._members: list[tuple[ClapModel, Tensor]] = []
        for teacher in found:
            model = teacher.model.eval().requires_grad_(False).to(device)
            channels_last(model.audio_encoder)
            tokenizer = Tokenizer.from_str(teacher.tokenizer)
            self._members.append((model, embed_texts(model, tokenizer, texts)))

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, texts: Sequence[int]) -> Tensor:
        """The mean of the teachers' probabilities, ``[clips, texts]``, rows sum to 1.

        Args:
            waveforms: ``[clips, window_samples]``.
            texts: indices of the candidates among the texts that were given at first.
        """
        chosen = send(np.array(texts, np.int64), waveforms.device)
        said = [
            (model.scale() * model.embed_audio(waveforms) @ states[chosen].T).softmax(dim=1)
            for model, states in self._members
        ]
        return torch.stack(said).mean(dim=0)


def _heard(audio: AudioSpec) -> str:
    samples = f"{audio.window_samples} samples at {audio.sample_rate} Hz"
    return samples if audio.long_clips == "windows" else f"{samples} fused with longer clips"
