"""HTSAT, the Swin transformer audio encoder of LAION CLAP and CLAP 2023.

Sources: Chen et al. 2022, "HTS-AT" (arXiv 2202.00874), and for the path that CLAP takes (one
channel, or four of them fused; mean of the last tokens) the audio encoder of LAION CLAP (arXiv
2211.06687).

Written to be exported: for a given number of frames every shape but the batch is a number, the
batch is always the -1 of a reshape, and what depends on shapes alone is a constant.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clap_export.model.config import HtsatConfig
from clap_export.model.swin import PatchMerging, SwinBlock

CACHED_LENGTHS = 8  # stretch matrices kept; each takes up to 1024 * 1024 floats = 4 MB


class Fusion(nn.Module):
    """Patches of the overview, joined with those of three chunks by attention over channels.

    A chunk's patches are three times as wide, so that side by side the three fill one image's
    width. How much of either side goes on is decided for every patch and channel (Dai et al. 2021,
    "Attentional Feature Fusion", arXiv 2009.14082).

    Args:
        dim: channels of a patch.
        patch: side of the overview's patches, in pixels.
    """

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.mel_conv2d = nn.Conv2d(1, dim, (patch, 3 * patch), stride=(patch, 3 * patch))
        self.local_att = nn.Sequential(*self._squeeze(dim))
        self.global_att = nn.Sequential(nn.AdaptiveAvgPool2d(1), *self._squeeze(dim))

    @staticmethod
    def _squeeze(dim: int) -> list[nn.Module]:
        inner = dim // 4
        return [
            nn.Conv2d(dim, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, dim, 1), nn.BatchNorm2d(dim),
        ]  # fmt: skip

    def forward(self, overview: Tensor, chunks: Tensor, longer: Tensor) -> Tensor:
        """Fuse the rows that are longer, and leave the others.

        Args:
            overview: patches ``[batch, dim, grid, grid]``.
            chunks: images ``[batch, 3, side, side]``.
            longer: ``[batch]`` bool.

        Returns:
            ``[batch, dim, grid, grid]``.
        """
        dim, grid = int(overview.shape[1]), int(overview.shape[2])
        x = self.mel_conv2d(chunks.reshape(-1, 1, *chunks.shape[2:]))
        width = int(x.shape[3])  # a third of the grid, rounded down
        x = x.reshape(-1, 3, dim, grid, width).permute(0, 2, 3, 1, 4).flatten(3)
        x = F.pad(x, (0, grid - 3 * width))
        both = overview + x
        share = torch.sigmoid(self.local_att(both) + self.global_att(both))
        fused = 2 * overview * share + 2 * x * (1 - share)
        return torch.where(longer[:, None, None, None], fused, overview)


class Htsat(nn.Module):
    """Log-mel spectrogram to embedding.

    ``bn0``, and with it the stretch, may stay float32 while the layers behind are float16.
    """

    raster: Tensor

    def __init__(self, config: HtsatConfig) -> None:
        super().__init__()
        self.config = config
        last = len(config.depths) - 1
        self.width = config.dim(last)
        self.bn0 = nn.BatchNorm1d(config.n_mels)
        proj = nn.Conv2d(1, config.embed_dim, config.patch_size, stride=config.patch_size)
        self.patch_embed = nn.ModuleDict({"proj": proj, "norm": nn.LayerNorm(config.embed_dim)})
        self.fusion = Fusion(config.embed_dim, config.patch_size) if config.fusion else None
        self.pos_drop = nn.Dropout(config.drop_rate)
        step = config.drop_path_rate / max(1, sum(config.depths) - 1)
        self.layers = nn.Sequential()
        for stage, depth in enumerate(config.depths):
            order, blocks = torch.arange(config.grid(stage) ** 2), nn.Sequential()
            for i in range(depth):
                drop_path = step * (sum(config.depths[:stage]) + i)
                block = SwinBlock(config, stage, i, drop_path, order)
                blocks.append(block)
                order = block.order
            layer = nn.Sequential(OrderedDict(blocks=blocks))
            if stage < last:
                layer.add_module("downsample", PatchMerging(config.dim(stage), order))
            self.layers.append(layer)
        self.norm = nn.LayerNorm(self.width)
        self.register_buffer("raster", order.argsort(), persistent=False)
        self.pieces = config.spec_size // config.n_mels
        self.bands = config.grid(last) // self.pieces  # of the last stage's frequencies
        self.tagged_width = 3 * self.width * self.bands
        self._stretches: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}
        for module in self.modules():
            if isinstance(module, nn.Linear):  # the rest keeps PyTorch's initialisation, as in Swin
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def prepare(self, frames: int) -> Tensor:
        """The stretch matrix of a length, ``[frames, max_frames]``, kept for later calls.

        Encoding a clip does this too. Before an export it must have been done, or the graph would
        record how the matrix is made instead of the matrix.
        """
        like = self.bn0.weight
        key = (frames, like.dtype, like.device)
        if key not in self._stretches:
            if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
                raise RuntimeError(f"call prepare({frames}) on the encoder before exporting it")
            if len(self._stretches) == CACHED_LENGTHS:
                del self._stretches[next(iter(self._stretches))]
            # Evaluation may come first: training cannot use a tensor made in inference mode.
            with torch.inference_mode(False):
                matrix = stretch_matrix(frames, self.config.max_frames)
                self._stretches[key] = matrix.to(dtype=like.dtype, device=like.device)
        return self._stretches[key]

    def forward(self, log_mel: Tensor, longer: Tensor | None = None) -> Tensor:
        """Encode a batch of clips of one length.

        Args:
            log_mel: ``[batch, frames, n_mels]``, decibels; at most ``config.max_frames`` frames.
                With ``longer``: ``[batch, 4, frames, n_mels]``, an overview and three chunks.
            longer: ``[batch]`` bool, the rows in which the chunks count.

        Returns:
            ``[batch, width]``, not normalised.

        Raises:
            ValueError: too many frames, another number of mel bins, or ``longer`` for a model
                without fusion.
        """
        return self._tokens(log_mel, longer).mean(dim=1)

    def tagged(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding, and what tags are told from.

        HTS-AT's classifier is a convolution over all bands and three steps of time, and the mean of
        its answers. That mean is a product with three means of the tokens: without the last step,
        whole, and without the first.

        Args:
            log_mel: as :meth:`forward`.

        Returns:
            ``[batch, width]`` and ``[batch, 1, width * bands * 3]``.
        """
        tokens = self._tokens(log_mel, None)
        grid = self.config.grid(len(self.config.depths) - 1)
        # The image's rows are pieces of time, the first on top, of all bands each.
        x = tokens.index_select(1, self.raster).transpose(1, 2)
        x = x.reshape(-1, self.width, self.pieces, self.bands, grid).transpose(2, 3)
        x = x.reshape(-1, self.width, self.bands, self.pieces * grid)
        total = x.sum(dim=3)
        means = torch.stack([total - x[..., -1], total, total - x[..., 0]], dim=3)
        means = means.reshape(-1, 1, self.tagged_width) / (self.pieces * grid)
        return tokens.mean(dim=1), means

    def _tokens(self, log_mel: Tensor, longer: Tensor | None) -> Tensor:
        """What the last stage makes, ``[batch, grid * grid, width]``, in its own order."""
        if longer is not None and self.fusion is None:
            raise ValueError("'longer' is for models with feature fusion; this one has none")
        frames, n_mels = int(log_mel.shape[-2]), int(log_mel.shape[-1])
        if n_mels != self.config.n_mels or not 0 < frames <= self.config.max_frames:
            raise ValueError(
                f"the spectrogram has {frames} frames of {n_mels} mel bins; this encoder takes 1 "
                f"to {self.config.max_frames} frames of {self.config.n_mels}: cut longer clips"
            )
        channels = log_mel.reshape(-1, frames, n_mels)  # the spectrograms of all rows
        x = self.bn0(channels.transpose(1, 2))  # [batch * channels, n_mels, frames]
        if frames < self.config.max_frames:
            x = x @ self.prepare(frames)
        # Fold: cut the time axis into pieces as long as the image and stack them, first on top.
        side = self.config.spec_size
        x = x.reshape(-1, n_mels, side // n_mels, side).transpose(1, 2).reshape(-1, 1, side, side)
        x = x.to(self.norm.weight.dtype)
        if longer is None:
            x = self.patch_embed["proj"](x)
        else:
            assert self.fusion is not None  # checked above
            x = x.reshape(-1, 4, side, side)
            x = self.fusion(self.patch_embed["proj"](x[:, :1]), x[:, 1:], longer)
        x = x.flatten(2).transpose(1, 2)  # tokens, [batch, grid * grid, dim]
        x = self.layers(self.pos_drop(self.patch_embed["norm"](x)))
        return self.norm(x)


def stretch_matrix(frames: int, frames_out: int) -> Tensor:
    """Bicubic stretch of the last axis as a matrix, ``[frames, frames_out]`` float32.

    The stretch is linear, so applied to the identity it gives its matrix. It is PyTorch's resize
    itself, float32 positions included, because checkpoints were trained behind that resize.
    """
    identity, size = torch.eye(frames)[None, None], (frames_out, frames)
    return F.interpolate(identity, size, mode="bicubic", align_corners=True)[0, 0].T.contiguous()
