"""Swin transformer blocks over tokens that stay in the order of their windows.

Sources: Liu et al. 2021, "Swin Transformer" (arXiv 2103.14030), whose module names are used.

The original keeps tokens as an image, and cuts it into windows and glues it together again in every
block, with a roll on either side where windows are shifted. All that a block does outside its
attention treats tokens alone, so here they simply stay in the order in which the last block wanted
them, and one gather of whole rows takes them to the next one's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from clap_export.model.config import HtsatConfig

# Added to forbidden scores. float16 can hold it, and exp(-1e4) is 0. With the -100 of the original
# it is 4e-44, a denormal: products with those take CPUs five times as long.
MASKED = -1e4


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


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
        self.parts: nn.ModuleList | None = None

    def use_graph(self) -> None:
        """Switch to the form for graphs: queries, keys and values by a product each.

        One product for all three is quicker where a kernel's launch counts, but engines for CPUs
        copy its result apart. The scale of the queries goes into their weights.
        """
        scales = self.qkv.weight.new_tensor([self.scale, 1.0, 1.0])
        dim, bias = self.qkv.in_features, self.qkv.bias is not None
        self.parts = nn.ModuleList(nn.Linear(dim, dim, bias=bias) for _ in range(3))
        for name, whole in self.qkv.named_parameters():
            for layer, values, scale in zip(self.parts, whole.chunk(3), scales, strict=True):
                layer.get_parameter(name).data = values.detach() * scale

    @property
    def scale(self) -> float:
        """Of the queries."""
        return (self.qkv.in_features // self.heads) ** -0.5

    def bias(self) -> Tensor:
        """Position bias plus mask, ``[1, group * heads, tokens, tokens]``."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        bias = bias if self.mask is None else bias + self.mask
        return bias.reshape(1, -1, *self.relative_position_index.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each window, ``[batch * windows, tokens, dim]`` in and out."""
        tokens, dim = x.shape[1:]
        if self.parts is None:
            query, key, value = map(self._heads, self.qkv(x).chunk(3, dim=-1))
            # The scale goes on the queries: in float16 unscaled scores could overflow.
            query = query * self.scale
        else:
            query, key, value = (self._heads(layer(x)) for layer in self.parts)
        scores = query @ key.transpose(-2, -1) + self.bias()
        x = self.attn_drop(scores.softmax(dim=-1)) @ value
        x = x.reshape(-1, self.heads, tokens, dim // self.heads).transpose(1, 2)
        return self.proj_drop(self.proj(x.reshape(-1, tokens, dim)))

    def _heads(self, x: Tensor) -> Tensor:
        """``[batch * windows, tokens, dim]`` to ``[any, group * heads, tokens, head_dim]``."""
        tokens, dim = x.shape[1:]
        x = x.reshape(-1, self.group, tokens, self.heads, dim // self.heads).transpose(2, 3)
        return x.reshape(-1, self.group * self.heads, tokens, dim // self.heads)


class SwinBlock(nn.Module):
    """Windowed attention, then an MLP; odd blocks of a stage shift their windows by a half.

    Args:
        order: raster positions of the tokens that come in, in their order, ``[grid * grid]``.

    Attributes:
        order: the same of the tokens that go out.
    """

    moves: Tensor | None

    def __init__(
        self, config: HtsatConfig, stage: int, index: int, drop_path: float, order: Tensor
    ) -> None:
        super().__init__()
        dim, grid = config.dim(stage), config.grid(stage)
        self.window = min(config.window_size, grid)
        # A window over the whole grid sees everything already: nothing to shift.
        shift = self.window // 2 if index % 2 and self.window < grid else 0
        self.drop_path = drop_path
        self.order = window_order(grid, self.window, shift)
        self.register_buffer("moves", moves(order, self.order), persistent=False)
        self.norm1 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        mask = shifted_window_mask(grid, self.window, shift) if shift else None
        self.attn = WindowAttention(config, stage, self.window, mask)
        self.norm2 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        hidden, drop = int(dim * config.mlp_ratio), nn.Dropout(config.drop_rate)
        fc1, fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        mlp = OrderedDict[str, nn.Module](
            fc1=fc1, act=ACTIVATIONS[config.activation](), drop1=drop, fc2=fc2, drop2=drop
        )
        self.mlp = nn.Sequential(mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, ``[batch, tokens, dim]`` in and out."""
        if self.moves is not None:
            x = x.index_select(1, self.moves)
        tokens, dim = x.shape[1:]
        windows = self.norm1(x).reshape(-1, self.window**2, dim)
        x = x + self._skip(self.attn(windows).reshape(-1, tokens, dim))
        return x + self._skip(self.mlp(self.norm2(x)))

    def _skip(self, branch: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016, arXiv 1603.09382), one draw a clip."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(1.0 - self.drop_path)
        return branch * keep / (1.0 - self.drop_path)


class PatchMerging(nn.Module):
    """Make one token of twice the channels from the four tokens of each 2 x 2 square.

    Args:
        dim: channels that come in.
        order: raster positions of the tokens that come in, ``[grid * grid]``.
    """

    moves: Tensor

    def __init__(self, dim: int, order: Tensor) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        half = math.isqrt(len(order)) // 2
        # Checkpoints hold the square column by column, hence column before row in the new channels.
        squares = torch.arange(len(order)).reshape(half, 2, half, 2).permute(0, 2, 3, 1)
        found = moves(order, squares.reshape(-1))
        self.register_buffer("moves", found, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, tokens, dim]`` to ``[batch, tokens // 4, 2 * dim]``, in raster order."""
        tokens, dim = x.shape[1:]
        x = x.index_select(1, self.moves).reshape(-1, tokens // 4, 4 * dim)
        return self.reduction(self.norm(x))


def window_order(grid: int, window: int, shift: int = 0) -> Tensor:
    """Raster positions of a grid's tokens, window by window, ``[grid * grid]`` int64.

    Args:
        grid: tokens along each side.
        window: tokens along each side of a window; divides the grid.
        shift: of all windows, to the right and down; what leaves comes in on the other side.
    """
    raster = torch.arange(grid * grid).reshape(grid, grid).roll((-shift, -shift), dims=(0, 1))
    cells = grid // window
    return raster.reshape(cells, window, cells, window).transpose(1, 2).reshape(-1)


def moves(order: Tensor, wanted: Tensor) -> Tensor | None:
    """Where each token of one order is found in another, ``[tokens]`` int64; None if all stay."""
    found = order.argsort()[wanted]
    # Without values (a model of shapes alone) nothing can be compared, and need not be.
    return None if not order.is_meta and torch.equal(order, wanted) else found


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
    sides = side.reshape(-1)[window_order(grid, window)].reshape(-1, 1, window**2, 1)
    return (sides != sides.transpose(2, 3)) * MASKED
