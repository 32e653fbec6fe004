"""End-to-end fine-tuning of a checkpoint's audio encoder with a new head."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clap_export.model.clap import ClapModel
from runtime.audio_spec import AudioSpec
from runtime.clips import windows
from runtime.errors import ClapError
from train.data.recording import FULL_SCALE, Recording
from train.machine.device import channels_last, send
from train.machine.progress import track
from train.machine.random_streams import generator, seeded_apart
from train.published.encoders import decoded
from train.published.probe import Head

# Appendix C of the paper gives Adam, this rate and these epochs, and no batch size: 32 is ours.
LEARNING_RATE = 1e-4
EPOCHS = 30
BATCH = 32


def finetune_predict(
    model: ClapModel, train: Sequence[Path], right: np.ndarray, test: Sequence[Path], head: Head,
    epochs: int = EPOCHS,
) -> np.ndarray:  # fmt: skip
    """Train a copy of the audio encoder with a head on random windows, and apply it.

    Args:
        model: to start from, on the device to train on; it is left as it is.
        train: recordings to learn from.
        right: ``[train, labels]`` bool.
        test: other recordings.
        head: its seed is also that of the order and the windows.
        epochs: passes over the training recordings.

    Returns:
        logits ``[test, labels]`` float32, the mean of those of each recording's windows.

    Raises:
        ClapError: feature fusion.
        AudioError: a recording cannot be used.
    """
    spec = model.config.audio
    if spec.long_clips == "fusion":
        raise ClapError(
            "--supervised finetune cuts windows of one length, which a model with feature fusion "
            "does not need: use linear or mlp."
        )
    device = model.logit_scale.device
    # As int16: half the memory of float32.
    held = [Recording(path).whole(spec) for path in track(train, "decoding")]
    truth = torch.from_numpy(right.astype(np.float32)).to(device)
    with seeded_apart(head.seed, device):
        rng = generator(head.seed)
        classifier = EncoderWithHead(model, head, truth.shape[1]).to(device).train()
        optimiser = torch.optim.Adam(classifier.learning(), lr=LEARNING_RATE, fused=True)
        for epoch in range(epochs):
            order = rng.permutation(len(train))
            starts = range(0, len(order), BATCH)
            for start in track(starts, f"epoch {epoch + 1}/{epochs}"):
                chosen = order[start : start + BATCH]
                if len(chosen) == 1 and len(order) > 1:
                    continue  # normalisation has no statistics of one clip
                rows = np.stack([_window(held[i], spec, rng) for i in chosen])
                optimiser.zero_grad()
                logits = classifier(send(rows, device))
                head.loss(logits, truth[send(chosen, device)]).backward()
                optimiser.step()
    return _predict(classifier.eval(), test, model)


class EncoderWithHead(nn.Module):
    """A copy of a model's frontend and audio encoder, with a head on its features.

    Args:
        model: whose parts are copied.
        head: on top.
        labels: number of outputs.
    """

    def __init__(self, model: ClapModel, head: Head, labels: int) -> None:
        super().__init__()
        self.mel = copy.deepcopy(model.mel)
        self.encoder = copy.deepcopy(model.audio_encoder)
        channels_last(self.encoder)
        self.head = head.make(self.encoder.width, labels)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveforms ``[batch, window_samples]`` to logits ``[batch, labels]``."""
        with torch.no_grad():
            log_mel = self.mel(waveform)
        return self.head(self.encoder(log_mel))

    def learning(self) -> list[nn.Parameter]:
        """Parameters that are trained: all but the frontend's."""
        return [*self.encoder.parameters(), *self.head.parameters()]


def _window(levels: np.ndarray, spec: AudioSpec, rng: np.random.Generator) -> np.ndarray:
    """A random window ``[window_samples]`` float32; shorter recordings are filled as at test."""
    spare = len(levels) - spec.window_samples
    if spare > 0:
        start = int(rng.integers(spare + 1))
        levels = levels[start : start + spec.window_samples]
    samples = np.divide(levels, FULL_SCALE, dtype=np.float32)
    return samples if spare >= 0 else windows.fill(samples, spec.window_samples, spec.fill)


@torch.inference_mode()
def _predict(classifier: EncoderWithHead, test: Sequence[Path], model: ClapModel) -> np.ndarray:
    spec, device = model.config.audio, model.logit_scale.device
    clips = track(decoded(test, spec), "test", len(test))
    heard = (send(windows.rows(clip, spec), device) for clip in clips)
    return np.stack([classifier(rows).mean(dim=0).cpu().numpy() for rows in heard])
