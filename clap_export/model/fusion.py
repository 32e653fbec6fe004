"""The four spectrograms by which a model with feature fusion hears a long clip.

Two forms of the same: :func:`channels` for clips of one length, as LAION writes it, and
:func:`pick` for a graph, which takes clips of all lengths and the indices of
`runtime.clips.fusion`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from runtime.clips.fusion import chunk_starts


def channels(log_mel: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Overview and chunks of whole clips of one length.

    Args:
        log_mel: ``[batch, total, n_mels]`` decibels, ``total >= frames``.
        frames: of each of the four.

    Returns:
        ``[batch, 4, frames, n_mels]``, and whether the clips are longer than a window: ``[batch]``
        bool. If not, all four are the clip.
    """
    total, n_mels = int(log_mel.shape[1]), int(log_mel.shape[2])
    longer = torch.full((len(log_mel),), total > frames, device=log_mel.device)
    if total == frames:
        return log_mel[:, None].expand(-1, 4, -1, -1), longer
    # LAION trained behind torchvision's Resize when that did not smooth tensors (before 0.17).
    overview = F.interpolate(
        log_mel[:, None], (frames, n_mels), mode="bilinear", align_corners=False
    )[:, 0]
    starts = (int(start) for start in chunk_starts(total, frames))
    chunks = [log_mel[:, start : start + frames] for start in starts]
    return torch.stack([overview, *chunks], dim=1), longer


def pick(log_mel: Tensor, overview: Tensor, overview_weight: Tensor, chunks: Tensor) -> Tensor:
    """Overview and chunks of a batch.

    Args:
        log_mel: ``[batch, total, n_mels]`` decibels.
        overview: ``[batch, frames]`` int64, the lower of two neighbours.
        overview_weight: ``[batch, frames]``, the upper one's weight.
        chunks: ``[batch, 3]`` int64, where each chunk begins.

    Returns:
        ``[batch, 4, frames, n_mels]``.
    """
    n_mels, frames = int(log_mel.shape[2]), int(overview.shape[1])
    steps = torch.arange(frames, device=chunks.device)
    stretches = (chunks[:, :, None] + steps).reshape(-1, 3 * frames)
    index = torch.cat([overview, overview + 1, stretches], dim=1)
    found = log_mel.gather(1, index[:, :, None].expand(-1, -1, n_mels))
    lower, upper, rest = found.split([frames, frames, 3 * frames], dim=1)
    weight = overview_weight[:, :, None]
    shrunk = lower * (1 - weight) + upper * weight
    return torch.cat([shrunk[:, None], rest.reshape(-1, 3, frames, n_mels)], dim=1)
