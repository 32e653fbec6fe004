"""HTSAT, the Swin transformer audio encoder of LAION CLAP and CLAP 2023.

Sources: Chen et al. 2022, "HTS-AT" (arXiv 2202.00874); Liu et al. 2021, "Swin Transformer" (arXiv
2103.14030), whose module names are used; and for the path that CLAP takes (one channel, or four of
them fused; mean of the last tokens) the audio encoder of LAION CLAP (arXiv 2211.06687).

Written to be exported: for a given number of frames every shape but the batch is a number, the
batch is always the -1 of a reshape, and what depends on shapes alone is a constant.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Added to forbidden scores. float16 can hold it, and exp(-1e4) is 0. With the -100 of the original
# it is 4e-44, a denormal: products with those take CPUs five times as long.
MASKED = -1e4
CACHED_LENGTHS = 8  # stretch matrices kept; each takes up to 1024 * 1024 floats = 4 MB


@dataclass(frozen=True)
class HtsatConfig:
    """Shape of an HTSAT; the defaults are HTSAT-tiny, as in LAION CLAP."""

    n_mels: int = 64  # mel bins of the input
    spec_size: int = 256  # side of the square image that the spectrogram is folded into
    patch_size: int = 4  # side of a patch (one token), in pixels of that image
    embed_dim: int = 96  # channels of the first stage; each further stage doubles them
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks in each stage
    num_heads: tuple[int, ...] = (4, 8, 16, 32)  # attention heads in each stage
    window_size: int = 8  # side of an attention window, in tokens
    mlp_ratio: float = 4.0  # hidden width of a block's MLP over its channels
    qkv_bias: bool = True
    fusion: bool = False  # also takes four spectrograms of a long clip, see `Fusion`
    drop_rate: float = 0.0  # on tokens and MLPs, in training
    attn_drop_rate: float = 0.0  # on attention weights, in training
    drop_path_rate: float = 0.1  # stochastic depth of the last block; earlier ones have less

    def __post_init__(self) -> None:
        # JSON has no tuples: a config read back from a file comes with lists.
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "num_heads", tuple(self.num_heads))
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ValueError(f"one entry a stage: depths {self.depths}, num_heads {self.num_heads}")
        if self.spec_size % self.n_mels or self.spec_size % self.patch_size:
            raise ValueError(
                f"spec_size {self.spec_size} must be a multiple of n_mels {self.n_mels} and of "
                f"patch_size {self.patch_size}"
            )
        for stage, heads in enumerate(self.num_heads):
            if self.dim(stage) % heads:
                raise ValueError(f"stage {stage}: {self.dim(stage)} channels in {heads} heads")
            grid = self.grid(stage)
            if grid == 0 or self.grid(0) % 2**stage or grid % min(grid, self.window_size):
                raise ValueError(
                    f"stage {stage}: a side of {self.grid(0)} / {2**stage} tokens cannot be cut "
                    f"into windows of {self.window_size}"
                )

    def dim(self, stage: int) -> int:
        """Channels of a stage."""
        return self.embed_dim * 2**stage

    def grid(self, stage: int) -> int:
        """Tokens along each side of a stage."""
        return self.spec_size // self.patch_size // 2**stage

    @property
    def max_frames(self) -> int:
        """Frames that the folded image holds; fewer are stretched to it."""
        return self.spec_size * (self.spec_size // self.n_mels)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a relative position bias.

    Scores have four axes, ``[any, group * heads, tokens, tokens]``, the form that attention kernels
    and their fusions expect. Where windows differ by their mask (shifted blocks) a group is all
    windows of a clip, so that one constant bias serves every clip; elsewhere it is one window.
    """

    mask: Tensor | None
    relative_position_index: Tensor

    def __init__(self, config: HtsatConfig, stage: int, window: int, mask: Tensor | None) -> None:
        super().__init__()
        dim = config.dim(stage)
        self.heads = config.num_heads[stage]
        self.group = 1 if mask is None else mask.shape[0]
        self.attn_drop = nn.Dropout(config.attn_drop_rate)
        self.qkv = nn.Linear(dim, 3 * dim, bias=config.qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(config.drop_rate)
        table = torch.empty((2 * window - 1) ** 2, self.heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        index = relative_position_index(window)
        self.register_buffer("relative_position_index", index, persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def bias(self) -> Tensor:
        """Position bias plus mask, ``[1, group * heads, tokens, tokens]``."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        bias = bias if self.mask is None else bias + self.mask
        return bias.reshape(1, -1, *self.relative_position_index.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each window, ``[batch * windows, tokens, dim]`` in and out."""
        tokens, dim = x.shape[1:]
        group, heads, head_dim = self.group, self.heads, dim // self.heads
        qkv = self.qkv(x).reshape(-1, group, tokens, 3, heads, head_dim)
        qkv = qkv.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3 * group * heads, tokens, head_dim)
        query, key, value = qkv.chunk(3, dim=1)
        # The scale goes on the queries: in float16 unscaled scores could overflow.
        scores = (query * head_dim**-0.5) @ key.transpose(-2, -1) + self.bias()
        x = (self.attn_drop(scores.softmax(dim=-1)) @ value).reshape(-1, heads, tokens, head_dim)
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(-1, tokens, dim)))


class SwinBlock(nn.Module):
    """Windowed attention, then an MLP; odd blocks of a stage shift their windows by a half."""

    def __init__(self, config: HtsatConfig, stage: int, index: int, drop_path: float) -> None:
        super().__init__()
        dim, grid = config.dim(stage), config.grid(stage)
        self.window = min(config.window_size, grid)
        # A window over the whole grid sees everything already: nothing to shift.
        self.shift = self.window // 2 if index % 2 and self.window < grid else 0
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        mask = shifted_window_mask(grid, self.window, self.shift) if self.shift else None
        self.attn = WindowAttention(config, stage, self.window, mask)
        self.norm2 = nn.LayerNorm(dim)
        hidden, drop = int(dim * config.mlp_ratio), nn.Dropout(config.drop_rate)
        fc1, fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        mlp = OrderedDict[str, nn.Module](fc1=fc1, act=nn.GELU(), drop1=drop, fc2=fc2, drop2=drop)
        self.mlp = nn.Sequential(mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, ``[batch, grid, grid, dim]`` in and out."""
        windows = self.norm1(x)
        if self.shift:
            windows = windows.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = self.attn(partition_windows(windows, self.window))
        attended = merge_windows(windows, self.window, x.shape[2])
        if self.shift:
            attended = attended.roll((self.shift, self.shift), dims=(1, 2))
        x = x + self._skip(attended)
        return x + self._skip(self.mlp(self.norm2(x)))

    def _skip(self, branch: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016, arXiv 1603.09382), one draw a clip."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = branch.new_empty(branch.shape[0], 1, 1, 1).bernoulli_(1.0 - self.drop_path)
        return branch * keep / (1.0 - self.drop_path)


class PatchMerging(nn.Module):
    """Make one token of twice the channels from the four tokens of each 2 x 2 square."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, grid, grid, dim]`` to ``[batch, grid // 2, grid // 2, 2 * dim]``."""
        half, dim = x.shape[2] // 2, x.shape[3]
        # Checkpoints hold the square column by column, hence column before row in the new channels.
        x = x.reshape(-1, half, 2, half, 2, dim).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(x.reshape(-1, half, half, 4 * dim)))


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
            before = sum(config.depths[:stage])
            blocks = (SwinBlock(config, stage, i, step * (before + i)) for i in range(depth))
            layer = nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))
            if stage < last:
                layer.add_module("downsample", PatchMerging(config.dim(stage)))
            self.layers.append(layer)
        self.norm = nn.LayerNorm(self.width)
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
        x = x.permute(0, 2, 3, 1)
        x = self.layers(self.pos_drop(self.patch_embed["norm"](x)))
        return self.norm(x).mean(dim=(1, 2))


def stretch_matrix(frames: int, frames_out: int) -> Tensor:
    """Bicubic stretch of the last axis as a matrix, ``[frames, frames_out]`` float32.

    The stretch is linear, so applied to the identity it gives its matrix. It is PyTorch's resize
    itself, float32 positions included, because checkpoints were trained behind that resize.
    """
    identity, size = torch.eye(frames)[None, None], (frames_out, frames)
    return F.interpolate(identity, size, mode="bicubic", align_corners=True)[0, 0].T.contiguous()


def partition_windows(x: Tensor, window: int) -> Tensor:
    """Cut ``[batch, grid, grid, dim]`` into ``[batch * windows, window * window, dim]``."""
    cells, dim = x.shape[2] // window, x.shape[3]
    if cells > 1:
        x = x.reshape(-1, cells, window, cells, window, dim).transpose(2, 3)
    return x.reshape(-1, window * window, dim)


def merge_windows(x: Tensor, window: int, grid: int) -> Tensor:
    """Undo :func:`partition_windows`, back to ``[batch, grid, grid, dim]``."""
    cells, dim = grid // window, x.shape[2]
    if cells > 1:
        x = x.reshape(-1, cells, cells, window, window, dim).transpose(2, 3)
    return x.reshape(-1, grid, grid, dim)


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each (query, key) of a window, ``[tokens, tokens]`` int64."""
    y, x = torch.arange(window**2) // window, torch.arange(window**2) % window
    # Offsets run from 1 - window to window - 1 on each axis: (2 window - 1)^2 rows.
    down, right = y[:, None] - y + window - 1, x[:, None] - x + window - 1
    return down * (2 * window - 1) + right


def shifted_window_mask(grid: int, window: int, shift: int) -> Tensor:
    """0 or ``MASKED`` for each (query, key) of shifted windows, ``[windows, 1, tokens, tokens]``.

    Rolling the grid joins its two ends inside the last windows. Tokens on different sides of such
    a seam were never neighbours, so they must not see each other.
    """
    wrapped = (torch.arange(grid) >= grid - shift).float()
    side = 2 * wrapped[:, None] + wrapped  # which side of the two seams: 0 to 3
    sides = partition_windows(side[None, :, :, None], window).unsqueeze(1)
    return (sides != sides.transpose(2, 3)) * MASKED
