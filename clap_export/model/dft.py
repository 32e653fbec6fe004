"""Mel power of a signal by a two-stage DFT: one grouped convolution and two matrix products.

Operations that every engine has and runs well, where ONNX's STFT and DFT are slow or missing. It
is the factorisation of Cooley and Tukey (1965) into two steps. With N = R C, n = R r + c and
k = p + C q, where r, p < C and c, q < R, the exponent n k falls into three factors (the fourth is
exp(-2 pi i r q) = 1):

    A[c, p] = sum_r w[R r + c] x[R r + c] exp(-2 pi i r p / C)              C terms
    X[p + C q] = sum_c A[c, p] exp(-2 pi i c (p + C q) / N)                 R terms

The input is real, so p runs to C/2 only, and of a bin above N/2 its mirror image is taken. Only
bins that the filterbank uses are computed. Which values go where is chosen for memory: when R
divides the hop, the signal cut into rows of R samples is a picture whose column c holds
x[R r + c] of every frame, so the first step is a convolution over rows, with a filter of its own
for each column and the frame as its stride; what it gives has frames on the last axis, and stays
so to the end.

For n_fft 1024, R 32 and 297 bins of the filterbank that is 0.25 GFLOP for 1001 frames; a direct DFT
by the window's symmetry takes 0.61. Rounding errors grow over 32 + 32 terms instead of 512.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TwoStageMel(nn.Module):
    """Padded signal to mel power, float32.

    Args:
        window: of the DFT, ``[n_fft]``.
        filterbank: ``[n_fft // 2 + 1, n_mels]``.
        hop_length: samples from frame to frame.
        magnitudes: the filterbank adds up magnitudes in place of powers.
    """

    first: Tensor
    second: Tensor
    bank: Tensor

    def __init__(
        self, window: Tensor, filterbank: Tensor, hop_length: int, magnitudes: bool = False
    ) -> None:
        super().__init__()
        self.n_fft, self.hop, self.magnitudes = len(window), hop_length, magnitudes
        self.columns = split(self.n_fft, hop_length)
        self.rows = self.n_fft // self.columns
        first, second, bank = self._constants(window.double(), filterbank.double())
        for name, value in (("first", first), ("second", second), ("bank", bank)):
            self.register_buffer(name, value.to(torch.float32).contiguous(), persistent=False)

    def forward(self, padded: Tensor) -> Tensor:
        """Mel power of every frame.

        Args:
            padded: ``[batch, samples + n_fft]``, centred frames' margins included.

        Returns:
            ``[batch, n_mels, frames]``, frames = 1 + samples // hop_length.
        """
        frames = 1 + (padded.shape[1] - self.n_fft) // self.hop
        height = (frames - 1) * self.hop // self.columns + self.rows
        phases = self.second.shape[0]
        picture = padded[:, : height * self.columns].reshape(-1, height, self.columns)
        stride = self.hop // self.columns
        x = F.conv1d(picture.transpose(1, 2), self.first, stride=stride, groups=self.columns)
        # [batch, columns, phases, real and imaginary, frames]: frames stay together when moved.
        x = x.reshape(-1, self.columns, phases, 2 * frames).transpose(1, 2)
        x = self.second @ x.reshape(-1, phases, 2 * self.columns, frames)
        squares = x * x
        if self.magnitudes:
            bins = self.second.shape[1] // 2
            squares = (squares[:, :, :bins] + squares[:, :, bins:]).sqrt()
        # Of powers, the filterbank adds up the squares of real and imaginary parts as well.
        return self.bank @ squares.reshape(-1, self.bank.shape[1], frames)

    @torch.no_grad()
    def _constants(self, window: Tensor, filterbank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first step's filters, the second's matrices and the filterbank, for both parts.

        Float64 ``[columns * phases * 2, 1, rows]``, ``[phases, 2 * bins, 2 * columns]`` and
        ``[n_mels, phases * 2 * bins]``, of magnitudes ``[n_mels, phases * bins]``; phases are the
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
        wave = _wave(torch.outer(torch.tensor(list(chosen)), r), rows)  # [phases, 2, rows]
        windowed = window.reshape(rows, columns).T  # [columns, rows]
        first = wave[None] * windowed[:, None, None, :]
        second = torch.zeros(phases, 2, bins, columns, 2, dtype=torch.float64)
        bank = torch.zeros(filterbank.shape[1], phases, 2, bins, dtype=torch.float64)
        for phase, pairs in enumerate(chosen.values()):
            for i, (k, b) in enumerate(pairs):
                real, imaginary = _wave(k * c, n)
                second[phase, 0, i] = torch.stack([real, -imaginary], dim=-1)
                second[phase, 1, i] = torch.stack([imaginary, real], dim=-1)
                bank[:, phase, :, i] = filterbank[b][:, None]
        return (
            first.reshape(-1, 1, rows),
            second.reshape(phases, 2 * bins, 2 * columns),
            (bank[:, :, 0] if self.magnitudes else bank).reshape(filterbank.shape[1], -1),
        )


def split(n_fft: int, hop_length: int) -> int:
    """Columns: of the common divisors of DFT and hop the one nearest to the DFT's square root.

    With no common divisor but 1 the first step is the whole DFT.
    """
    common = math.gcd(n_fft, hop_length)
    divisors = [d for d in range(1, common + 1) if common % d == 0]
    return min(divisors, key=lambda d: abs(math.log(d * d / n_fft)))


def _wave(exponent: Tensor, size: int) -> Tensor:
    """Real and imaginary part of exp(-2 pi i exponent / size), ``[…, 2, last]`` float64."""
    angle = 2 * math.pi * (exponent % size).double() / size
    return torch.stack([angle.cos(), -angle.sin()], dim=-2)
