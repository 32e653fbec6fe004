"""The log-mel frontend: waveform in, decibels out, in operations that every engine has.

Training, evaluation and export use this one module. It has two forms of the windowed DFT with the
same numbers (`tests/test_mel.py` holds both to a float64 reference: 1e-4 dB for what is within
40 dB of the clip's peak, 1e-3 dB for what is within 80 dB):

- ``fft``: `torch.fft.rfft`, quick in PyTorch;
- ``matmul``: two matrix products, for graphs. ONNX's STFT/DFT have no CUDA kernel in ONNX Runtime.

The matmul form halves its work by symmetry. A periodic Hann window has w[0] = 0 and
w[n] = w[N-n], so with e[n] = x[n] + x[N-n] and o[n] = x[n] - x[N-n] for n = 1 … N/2-1:

    Re X[k] =  sum_n w[n] e[n] cos(2 pi k n / N) + w[N/2] x[N/2] cos(pi k)
    Im X[k] = -sum_n w[n] o[n] sin(2 pi k n / N)

N/2 products instead of N for each bin, and only for bins that the filterbank uses.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.bundle import Mel


class LogMel(nn.Module):
    """Log-mel spectrogram, always in float32.

    The window and the filterbank are buffers saved with the weights, so that a checkpoint that
    brings its own (torchlibrosa keeps them as parameters) is computed with its own.

    Args:
        config: mel parameters.
    """

    window: Tensor
    filterbank: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, config: Mel) -> None:
        super().__init__()
        self.config = config
        self.dft: Literal["fft", "matmul"] = "fft"
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
        self.register_buffer("window", torch.from_numpy(window.astype(np.float32)))
        self.register_buffer("filterbank", torch.from_numpy(mel_filterbank(config)))

    def use_matmul(self) -> None:
        """Switch to the ``matmul`` form, with bases made from the window and filterbank now held.

        Raises:
            ValueError: the window is not symmetric about n_fft / 2 with w[0] = 0.
        """
        cosine, sine = self._bases()
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self.dft = "matmul"

    def forward(self, waveform: Tensor) -> Tensor:
        """Decibels of mel power.

        Args:
            waveform: ``[batch, samples]`` float32 in [-1, 1]; samples > n_fft / 2.

        Returns:
            ``[batch, 1 + samples // hop_length, n_mels]`` float32.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self._frames(waveform.float())
            power = self._power_fft(frames) if self.dft == "fft" else self._power_matmul(frames)
            mel = power @ self.filterbank[: power.shape[-1]]  # bins above it are unused
            return 10.0 / math.log(10.0) * torch.log(torch.clamp(mel, min=self.config.amin))

    def _frames(self, waveform: Tensor) -> Tensor:
        """Centred frames ``[batch, frames, n_fft]``, reflected at both ends.

        The signal is cut in blocks of one hop; a frame is ceil(n_fft / hop) consecutive blocks.
        Shifted slices joined on the last axis are a memcpy, where an index (Gather) is slow.
        """
        n_fft, hop = self.config.n_fft, self.config.hop_length
        n_frames = 1 + waveform.shape[-1] // hop
        per_frame = -(-n_fft // hop)
        padded = F.pad(waveform.unsqueeze(1), (n_fft // 2, n_fft // 2), mode="reflect").squeeze(1)
        n_blocks = n_frames + per_frame - 1
        missing = n_blocks * hop - padded.shape[-1]
        padded = F.pad(padded, (0, missing)) if missing > 0 else padded[:, : n_blocks * hop]
        blocks = padded.reshape(-1, n_blocks, hop)
        shifted = [blocks[:, i : i + n_frames] for i in range(per_frame)]
        return torch.cat(shifted, dim=-1)[..., :n_fft]

    def _power_fft(self, frames: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(frames * self.window)
        return spectrum.real.square() + spectrum.imag.square()

    def _power_matmul(self, frames: Tensor) -> Tensor:
        half = self.config.n_fft // 2
        mirrored = torch.flip(frames[..., half + 1 :], dims=(-1,))
        head = frames[..., 1:half]
        even = torch.cat([head + mirrored, frames[..., half : half + 1]], dim=-1)
        odd = head - mirrored
        return (even @ self.cosine).square() + (odd @ self.sine).square()

    @torch.no_grad()
    def _bases(self) -> tuple[Tensor, Tensor]:
        """Windowed cosine ``[N/2, bins]`` and sine ``[N/2 - 1, bins]``, computed in float64."""
        n_fft = self.config.n_fft
        window = self.window.double()
        if not torch.allclose(window[1:], window[1:].flip(0), atol=1e-7) or window[0].abs() > 1e-7:
            raise ValueError("the matmul DFT needs a periodic symmetric window with w[0] = 0")
        used = int(self.filterbank.abs().sum(dim=1).nonzero().max()) + 1
        n = torch.arange(1, n_fft // 2 + 1, dtype=torch.float64, device=window.device)
        k = torch.arange(used, dtype=torch.float64, device=window.device)
        angle = 2 * math.pi * n[:, None] * k[None, :] / n_fft
        weight = window[1 : n_fft // 2 + 1, None]
        return (weight * angle.cos()).float(), (weight * angle.sin())[:-1].float()


def mel_filterbank(config: Mel) -> np.ndarray:
    """Triangular mel filterbank ``[n_fft / 2 + 1, n_mels]`` float32, computed in float64.

    ``slaney`` is the Auditory Toolbox scale (linear to 1 kHz, then logarithmic), ``htk`` is
    2595 log10(1 + f / 700). With ``norm="slaney"`` each triangle has unit area in Hz.
    """
    low, high = (_hz_to_mel(f, config.scale) for f in (config.f_min, config.f_max))
    corners = _mel_to_hz(np.linspace(low, high, config.n_mels + 2), config.scale)
    bins = np.linspace(0.0, config.sample_rate / 2, config.n_fft // 2 + 1)
    width = np.diff(corners)
    distance = corners[None, :] - bins[:, None]  # [bins, corners]
    rising = -distance[:, :-2] / width[:-1]
    falling = distance[:, 2:] / width[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if config.norm == "slaney":
        bank *= 2.0 / (corners[2:] - corners[:-2])
    return bank.astype(np.float32)


# Slaney: 3 mel per 200 Hz up to 1 kHz (15 mel), then 27 steps for each factor of 6.4.
_LINEAR_HZ = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hz / 700.0)
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)
