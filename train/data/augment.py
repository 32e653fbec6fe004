"""Augmentation of a batch: mixing of waveforms, masks and filters on log-mels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from train.config.data import AugmentConfig
from train.machine.device import send


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
    mixing = Mixing.draw(len(waveforms), probability, rng, waveforms.device)
    return mixing.sounds(waveforms), mixing.targets(target)


@dataclass(frozen=True, eq=False)
class Mixing:
    """Which clip of a batch is added to which, and at what level; see :func:`mix`.

    Attributes:
        partner: ``[batch]``, the clip that is added.
        share: ``[batch, 1]`` of the first clip, 0.5 to 1; 1 adds nothing.
    """

    partner: Tensor
    share: Tensor

    @classmethod
    def draw(
        cls, batch: int, probability: float, rng: np.random.Generator, device: torch.device
    ) -> Mixing:
        """Partners and shares; each clip is mixed with this probability."""
        partner = send(partners(batch, rng), device)
        share = rng.beta(1.0, 1.0, size=batch) * 0.5 + 0.5  # the first clip stays the louder one
        share = np.where(rng.random(batch) < probability, share, 1.0)
        return cls(partner, send(share.astype(np.float32), device)[:, None])

    def sounds(self, waveforms: Tensor) -> Tensor:
        """``[batch, samples]`` of any rate, mixed."""
        p = self.share
        level, norm = _rms(waveforms), (p.square() + (1 - p).square()).sqrt()
        beside = (1 - p) / norm * level / level[self.partner]  # both at the first clip's level
        return p / norm * waveforms + beside * waveforms[self.partner]

    def targets(self, target: Tensor) -> Tensor:
        """``[batch, n]``, mixed in the same shares."""
        return self.share * target + (1 - self.share) * target[self.partner]


def partners(count: int, rng: np.random.Generator) -> np.ndarray:
    """``[count]`` indices that give each item another one: a random ring."""
    ring = rng.permutation(count)
    found = np.empty(count, np.int64)
    found[ring] = np.roll(ring, 1)
    return found


def mixstyle(log_mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Move each clip's mean and deviation per mel bin towards those of another clip.

    A clip's long-term spectrum tells more of the place and the microphone than of the source, and a
    model that sees few recordings of a class learns them by heart. MixStyle (Zhou et al. 2021,
    arXiv 2104.02008) on the frequency axis of the input, after Kim et al. 2022 (arXiv 2206.12513)
    and Schmid et al. 2022 (DCASE); shares from Beta(0.4, 0.4).

    Args:
        log_mel: ``[batch, frames, n_mels]`` decibels; the same shape comes back.
        rng: chooses partners and shares.
    """
    batch = len(log_mel)
    partner = send(partners(batch, rng), log_mel.device)
    share = send(rng.beta(0.4, 0.4, batch).astype(np.float32), log_mel.device)
    share = share[:, None, None]
    mean = log_mel.mean(dim=1, keepdim=True)
    deviation = log_mel.std(dim=1, keepdim=True) + 1e-3  # silence has none
    new_mean = share * mean + (1 - share) * mean[partner]
    new_deviation = share * deviation + (1 - share) * deviation[partner]
    return (log_mel - mean) / deviation * new_deviation + new_mean


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
            log_mel = log_mel + send(curve, log_mel.device)
        if not self.masks:
            return log_mel
        level = log_mel.mean(dim=(1, 2), keepdim=True)
        x = (log_mel - level).transpose(1, 2).unsqueeze(1)  # [batch, 1, n_mels, frames]
        for mask in self.masks:
            x = mask(x)
        return x.squeeze(1).transpose(1, 2) + level
