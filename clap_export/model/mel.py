"""The log-mel frontend: waveform in, decibels out, in operations that every engine has.

Training, evaluation and export use this one module. It has two forms with the same numbers
(`tests/clap_export/model/test_mel.py` holds both to a float64 reference: 1e-4 dB for what is within
40 dB of the clip's peak, 1e-3 dB for what is within 80 dB):

- ``fft``: `torch.fft.rfft`, quick in PyTorch, gradients included;
- ``graph``: `clap_export.model.dft`, for export.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clap_export.model.dft import TwoStageMel
from runtime.audio_spec import Mel


class LogMel(nn.Module):
    """Log-mel spectrogram, always in float32.

    The window and the filterbank are buffers saved with the weights, so that a checkpoint that
    brings its own (torchlibrosa keeps them as parameters) is computed with its own.

    Args:
        config: mel parameters.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, config: Mel) -> None:
        super().__init__()
        self.config = config
        self.two_stage: TwoStageMel | None = None
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
        self.register_buffer("window", torch.from_numpy(window.astype(np.float32)))
        self.register_buffer("filterbank", torch.from_numpy(mel_filterbank(config)))

    def use_graph(self) -> None:
        """Switch to the ``graph`` form, made from the window and filterbank that are now held."""
        self.two_stage = TwoStageMel(self.window, self.filterbank, self.config.hop_length)

    def forward(self, waveform: Tensor) -> Tensor:
        """Decibels of mel power.

        Args:
            waveform: ``[batch, samples]`` float32 in [-1, 1]; samples > n_fft / 2.

        Returns:
            ``[batch, 1 + samples // hop_length, n_mels]`` float32.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            half = self.config.n_fft // 2
            signal = waveform.float().unsqueeze(1)
            padded = F.pad(signal, (half, half), mode="reflect").squeeze(1)
            if self.two_stage is None:
                frames = padded.unfold(1, self.config.n_fft, self.config.hop_length)
                spectrum = torch.fft.rfft(frames * self.window)
                power = spectrum.real.square() + spectrum.imag.square()
                return self._decibels(power @ self.filterbank)
            return self._decibels(self.two_stage(padded))

    def _decibels(self, mel: Tensor) -> Tensor:
        return 10.0 / math.log(10.0) * torch.log(torch.clamp(mel, min=self.config.amin))


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
