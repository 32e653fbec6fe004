"""Mel power of a signal by a two-stage DFT: one gather and three matrix products.

Operations that every engine has and runs well, where ONNX's STFT and DFT are slow or missing. It
is the factorisation of Cooley and Tukey (1965) into two steps. With N = R C, n = C r + c and
k = p + R q, where r, p < R and c, q < C, the exponent n k falls into three factors (the fourth is
exp(-2 pi i r q) = 1):

    A[p, c] = sum_r w[C r + c] x[C r + c] exp(-2 pi i r p / R)              R terms
    X[p + R q] = sum_c A[p, c] exp(-2 pi i c (p + R q) / N)                 C terms

The input is real, so p runs to R/2 only, and of a bin above N/2 its mirror image is taken. Only
bins that the filterbank uses are computed. Which values go where is chosen for memory: frames are
gathered in pieces as long as the greatest common divisor of frame and hop, the first step is one
matrix product for each frame, and what is moved afterwards are rows of numbers that lie side by
side.

For n_fft 1024, C 32 and 297 bins of the filterbank that is 0.25 GFLOP for 1001 frames; a direct DFT
by the window's symmetry takes 0.61. Rounding errors grow over 32 + 32 terms instead of 512.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TwoStageMel(nn.Module):
    """Padded signal to mel power, float32.

    Args:
        window: of the DFT, ``[n_fft]``.
        filterbank: ``[n_fft // 2 + 1, n_mels]``.
        hop_length: samples from frame to frame.
        magnitudes: the filterbank adds up magnitudes in place of powers.
    """

    framed: Tensor
    first: Tensor
    second: Tensor
    bank: Tensor

    def __init__(
        self, window: Tensor, filterbank: Tensor, hop_length: int, magnitudes: bool = False
    ) -> None:
        super().__init__()
        self.n_fft, self.hop, self.magnitudes = len(window), hop_length, magnitudes
        self.columns = split(self.n_fft)
        self.rows = self.n_fft // self.columns
        constants = self._constants(window.double(), filterbank.double())
        for name, value in zip(("framed", "first", "second", "bank"), constants, strict=True):
            self.register_buffer(name, value.to(torch.float32).contiguous(), persistent=False)

    def forward(self, padded: Tensor) -> Tensor:
        """Mel power of every frame.

        Args:
            padded: ``[batch, samples + n_fft]``, centred frames' margins included.

        Returns:
            ``[batch, frames, n_mels]``, frames = 1 + samples // hop_length.
        """
        frames = 1 + (padded.shape[1] - self.n_fft) // self.hop
        piece = math.gcd(self.n_fft, self.hop)
        starts = self.hop // piece * torch.arange(frames, device=padded.device)
        pieces = starts[:, None] + torch.arange(self.n_fft // piece, device=padded.device)
        height = (frames - 1) * self.hop // piece + self.n_fft // piece
        x = padded[:, : height * piece].reshape(-1, height, piece)
        x = x.index_select(1, pieces.reshape(-1))
        x = self.first @ (x.reshape(-1, frames, self.rows, self.columns) * self.framed)
        # [batch, frames, phases, real and imaginary by columns]: a phase has a product of its own.
        phases, width, _ = self.second.shape
        x = x.reshape(-1, frames, phases, width).transpose(1, 2) @ self.second
        squares = x * x
        if self.magnitudes:
            bins = self.second.shape[2] // 2
            squares = (squares[..., :bins] + squares[..., bins:]).sqrt()
        # Of powers, the filterbank adds up the squares of real and imaginary parts as well.
        return squares.transpose(1, 2).reshape(-1, frames, len(self.bank)) @ self.bank

    @torch.no_grad()
    def _constants(self, window: Tensor, filterbank: Tensor) -> tuple[Tensor, ...]:
        """The window, the first step's matrix, the second's and the filterbank, for both parts.

        Float64 ``[rows, columns]``, ``[phases * 2, rows]``, ``[phases, 2 * columns, 2 * bins]`` and
        ``[phases * 2 * bins, n_mels]``, of magnitudes ``[phases * bins, n_mels]``; phases are the
        values of p that have any bin, bins the largest number that one has.
        """
        n, rows, columns = self.n_fft, self.rows, self.columns
        wanted = set(filterbank.abs().sum(dim=1).nonzero().flatten().tolist())
        chosen: dict[int, list[tuple[int, int]]] = {}  # k and the bin it gives, by p
        for p in range(rows // 2 + 1):
            for k in range(p, n, rows):
                if (b := min(k, n - k)) in wanted:
                    wanted.remove(b)
                    chosen.setdefault(p, []).append((k, b))
        phases, bins = len(chosen), max(map(len, chosen.values()))
        r, c = torch.arange(rows), torch.arange(columns)
        first = _wave(torch.outer(torch.tensor(list(chosen)), r), rows)  # [phases, 2, rows]
        second = torch.zeros(phases, 2, columns, 2, bins, dtype=torch.float64)
        bank = torch.zeros(phases, 2, bins, filterbank.shape[1], dtype=torch.float64)
        for phase, pairs in enumerate(chosen.values()):
            for i, (k, b) in enumerate(pairs):
                real, imaginary = _wave(k * c, n)
                second[phase, :, :, 0, i] = torch.stack([real, -imaginary])
                second[phase, :, :, 1, i] = torch.stack([imaginary, real])
                bank[phase, :, i] = filterbank[b]
        return (
            window.reshape(rows, columns),
            first.reshape(-1, rows),
            second.reshape(phases, 2 * columns, 2 * bins),
            (bank[:, 0] if self.magnitudes else bank).reshape(-1, filterbank.shape[1]),
        )


def split(n_fft: int) -> int:
    """Columns: of the DFT's divisors the one nearest to its square root."""
    divisors = [d for d in range(1, n_fft + 1) if n_fft % d == 0]
    return min(divisors, key=lambda d: abs(math.log(d * d / n_fft)))


def _wave(exponent: Tensor, size: int) -> Tensor:
    """Real and imaginary part of exp(-2 pi i exponent / size), ``[…, 2, last]`` float64."""
    angle = 2 * math.pi * (exponent % size).double() / size
    return torch.stack([angle.cos(), -angle.sin()], dim=-2)
