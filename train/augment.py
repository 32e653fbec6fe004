"""Augmentation of a batch: mixing of waveforms, masks and filters on log-mels."""

from __future__ import annotations

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from train.config import AugmentConfig


def mix(
    waveforms: Tensor, target: Tensor, probability: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Add another clip of the batch to some clips, at a random level.

    Two recordings that sound at once are a recording of both, so targets add like the mixup of
    Zhang et al. 2018 (arXiv 1710.09412), here weighted by each one's share of the energy's root
    (between-class learning, Tokozume et al. 2018, arXiv 1711.10282).

    Args:
        waveforms: ``[batch, samples]``.
        target: ``[batch, texts]``, rows sum to 1.
        probability: of a clip to be mixed.
        rng: source of randomness.
    """
    batch = len(waveforms)
    partner = torch.from_numpy(rng.permutation(batch)).to(waveforms.device)
    share = rng.beta(1.0, 1.0, size=batch) * 0.5 + 0.5  # the first clip stays the louder one
    share = np.where(rng.random(batch) < probability, share, 1.0)
    p = torch.from_numpy(share.astype(np.float32)).to(waveforms.device)[:, None]
    first = waveforms / _rms(waveforms)
    second = waveforms[partner] / _rms(waveforms[partner])
    mixed = (p * first + (1 - p) * second) / (p.square() + (1 - p).square()).sqrt()
    mixed = torch.where(p < 1, mixed * _rms(waveforms), waveforms)
    return mixed, p * target + (1 - p) * target[partner]


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-4)


class MelAugment(nn.Module):
    """SpecAugment (Park et al. 2019, arXiv 1904.08779) and a random frequency response.

    Masks are drawn per clip and filled with the clip's mean level.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.filter_db = config.filter_db
        masks: list[nn.Module] = []
        if config.time_mask > 0:
            masks.append(torchaudio.transforms.TimeMasking(config.time_mask, iid_masks=True))
        if config.frequency_mask > 0:
            masks.append(
                torchaudio.transforms.FrequencyMasking(config.frequency_mask, iid_masks=True)
            )
        self.masks = nn.ModuleList(masks * 2)

    def forward(self, log_mel: Tensor) -> Tensor:
        """``[batch, frames, n_mels]`` decibels, same shape back."""
        if self.filter_db > 0:
            # Six control points, interpolated over the mel axis: smooth like a room or a device.
            points = torch.empty(len(log_mel), 1, 6).uniform_(-self.filter_db, self.filter_db)
            curve = F.interpolate(points, log_mel.shape[2], mode="linear", align_corners=True)
            log_mel = log_mel + curve.to(log_mel.device)
        if not self.masks:
            return log_mel
        level = log_mel.mean(dim=(1, 2), keepdim=True)
        x = (log_mel - level).transpose(1, 2).unsqueeze(1)  # [batch, 1, n_mels, frames]
        for mask in self.masks:
            x = mask(x)
        return x.squeeze(1).transpose(1, 2) + level
