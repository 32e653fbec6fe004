"""CNN14, the convolutional audio encoder of CLAP 2022.

Sources: Kong et al. 2020, "PANNs" (arXiv 1912.10211, table I, column CNN14), and Elizalde et al.
2022, "CLAP" (arXiv 2206.04769). Only the way from the log-mel spectrogram to the embedding: the
frontend is a module of its own, and the AudioSet classifier of PANNs is no part of a CLAP.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clap_export.model.config import Cnn14Config


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions, each with BatchNorm and ReLU, then average pooling.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        pool: side of the pooling square; 1 pools nothing.
    """

    def __init__(self, in_channels: int, out_channels: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        # No bias: the normalisation that follows has its own.
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, in_channels, t, f]`` to ``[batch, out_channels, t // pool, f // pool]``."""
        # In place: in training these maps are most of the memory, and the normalisation's gradient
        # needs its input, not its output.
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return x if self.pool == 1 else F.avg_pool2d(x, self.pool)


class Cnn14(nn.Module):
    """Log-mel spectrogram to embedding.

    ``bn0`` may stay float32 while the layers behind it are float16.
    """

    def __init__(self, config: Cnn14Config) -> None:
        super().__init__()
        self.config = config
        self.width = self.tagged_width = config.width
        self.bn0 = nn.BatchNorm1d(config.n_mels)
        last = len(config.channels) - 1
        self.blocks = nn.ModuleList(
            ConvBlock(before, after, pool=1 if index == last else 2)
            for index, (before, after) in enumerate(
                zip((1, *config.channels[:-1]), config.channels, strict=True)
            )
        )
        self.fc1 = nn.Linear(config.channels[-1], config.width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):  # PANNs' initialisation
                nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(self.fc1.bias)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Encode a batch of clips of one length.

        Args:
            log_mel: ``[batch, frames, n_mels]``, decibels; at least ``config.reduction`` frames, or
                ``config.patch_frames``.

        Returns:
            ``[batch, width]``, not normalised, never negative: of patches their mean.

        Raises:
            ValueError: too few frames, or another number of mel bins.
        """
        return self.tagged(log_mel)[0]

    def tagged(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding ``[batch, width]``, and as ``[batch, patches, width]`` what tells tags.

        Whole patches are heard, as many as there are: what is left at the end is not.
        """
        config = self.config
        frames, n_mels = int(log_mel.shape[1]), int(log_mel.shape[2])
        least = config.patch_frames or config.reduction
        if n_mels != config.n_mels or frames < least:
            raise ValueError(
                f"the spectrogram has {frames} frames of {n_mels} mel bins; this encoder takes at "
                f"least {least} frames of {config.n_mels}: fill shorter clips"
            )
        if config.patch_frames is None:
            vector = self._encode(log_mel)
            return vector, vector.unsqueeze(1)
        patches = frames // config.patch_frames
        whole = log_mel[:, : patches * config.patch_frames]
        each = self._encode(whole.reshape(-1, config.patch_frames, n_mels))
        each = each.reshape(-1, patches, config.width)
        return each.mean(dim=1), each

    def _encode(self, log_mel: Tensor) -> Tensor:
        config = self.config
        frames, n_mels = int(log_mel.shape[1]), int(log_mel.shape[2])
        # Mel bins are the last axis, so every frame is one sample of the normalisation: the same
        # statistics as over [batch, n_mels, frames], without a transpose before and after.
        x = self.bn0(log_mel.reshape(-1, n_mels))
        x = x.reshape(-1, 1, frames, n_mels).to(self.fc1.weight.dtype)
        for block in self.blocks:
            x = F.dropout(block(x), config.block_dropout, self.training)
        x = x.mean(dim=3)
        # The maximum keeps short events, the mean keeps what lasts. Not amax: its gradient looks
        # for the maximum again, which compiled bfloat16 has rounded since and does not find (NaN).
        x = x.max(dim=2).values + x.mean(dim=2)
        x = F.dropout(x, config.head_dropout, self.training)
        return F.dropout(F.relu(self.fc1(x)), config.head_dropout, self.training)
