"""A compact audio encoder: a MobileNet-class image backbone read as a one-channel picture."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from clap_export.model.config import CompactConfig


class Compact(nn.Module):
    """BatchNorm over mel bins, then a timm backbone with global average pooling.

    MobileNetV4-Conv-S (Qin et al. 2024, arXiv 2404.10518) by default: 2.5 M parameters, of the
    small backbones measured the quickest on a CPU both in training and in ONNX Runtime.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm1d(config.n_mels)
        self.backbone = timm.create_model(
            config.backbone,
            pretrained=False,
            in_chans=1,
            num_classes=0,
            drop_path_rate=config.drop_path,
            drop_rate=config.dropout,
        )
        with torch.no_grad():
            was = self.backbone.training
            probe = self.backbone.eval()(torch.zeros(1, 1, 64, 64))
            self.backbone.train(was)
        self.width: int = probe.shape[-1]
        self.tagged_width = self.width

    def forward(self, log_mel: Tensor) -> Tensor:
        """``[batch, frames, n_mels]`` decibels to ``[batch, width]``."""
        picture = self.bn0(log_mel.transpose(1, 2)).unsqueeze(1)  # [batch, 1, n_mels, frames]
        return self.backbone(picture)

    def tagged(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """The vector ``[batch, width]``, and as ``[batch, 1, width]`` what tells tags."""
        vector = self(log_mel)
        return vector, vector.unsqueeze(1)
