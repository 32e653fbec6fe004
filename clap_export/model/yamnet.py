"""YAMNet: a MobileNet that tells 521 kinds of sound from a second of audio.

Source of the architecture and of every constant here: Plakal and Ellis 2020, `yamnet` in
tensorflow/models (research/audioset), a MobileNet v1 (Howard et al. 2017, arXiv 1704.04861) trained
on AudioSet. BatchNorm is folded into the convolutions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clap_export.model.config import YAMNET_FLOOR, YAMNET_MEL, YAMNET_PATCH, YamnetConfig
from clap_export.model.dft import TwoStageMel
from clap_export.model.mel import LogMel

WINDOW = 400  # samples, 25 ms; the DFT's other samples are zeros
WIDTH = 1024

# (stride, channels) of the first convolution and of the 13 separable ones behind it.
LAYERS = (
    (2, 32), (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512),
    (1, 512), (1, 512), (1, 512), (1, 512), (1, 512), (2, WIDTH), (1, WIDTH),
)  # fmt: skip


class YamnetMel(LogMel):
    """YAMNet's spectrogram: natural logarithms of mel magnitudes, of frames that lie in the signal.

    Its window and filterbank are constants of the architecture, and are not saved.
    """

    def __init__(self) -> None:
        super().__init__(YAMNET_MEL)
        n_fft = YAMNET_MEL.n_fft
        self.register_buffer(
            "window", F.pad(torch.hann_window(WINDOW), (0, n_fft - WINDOW)), persistent=False
        )
        self.register_buffer("filterbank", _filterbank(), persistent=False)

    def use_graph(self) -> None:
        """As :meth:`LogMel.use_graph`."""
        hop = self.config.hop_length
        self.two_stage = TwoStageMel(self.window, self.filterbank, hop, magnitudes=True)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logarithms of mel magnitudes.

        Args:
            waveform: ``[batch, samples]`` float32 at 16 kHz, at least 25 ms of it.

        Returns:
            ``[batch, 1 + (samples - 400) // 160, 64]`` float32.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            n_fft, hop = self.config.n_fft, self.config.hop_length
            signal = F.pad(waveform.float(), (0, n_fft - WINDOW))
            if self.two_stage is not None:
                return torch.log(self.two_stage(signal) + YAMNET_FLOOR)
            spectrum = torch.fft.rfft(signal.unfold(1, n_fft, hop) * self.window)
            # On a CPU several times quicker than abs() of complex numbers.
            magnitude = (spectrum.real.square() + spectrum.imag.square()).sqrt()
            return torch.log(magnitude @ self.filterbank + YAMNET_FLOOR)


class Yamnet(nn.Module):
    """Spectrogram to embedding: the mean over patches of 0.96 s.

    Args:
        config: where patches begin.
    """

    width = WIDTH
    tagged_width = WIDTH

    def __init__(self, config: YamnetConfig) -> None:
        super().__init__()
        self.config = config
        convolutions: list[nn.Conv2d] = []
        before = 1
        for number, (stride, after) in enumerate(LAYERS):
            padding = 1 if stride == 1 else 0  # see _behind
            if number == 0:
                convolutions.append(nn.Conv2d(before, after, 3, stride, padding))
            else:
                convolutions.append(nn.Conv2d(before, before, 3, stride, padding, groups=before))
                convolutions.append(nn.Conv2d(before, after, 1))
            before = after
        self.convolutions = nn.ModuleList(convolutions)

    def embed(self, patches: Tensor) -> Tensor:
        """``[n, 96, 64]`` to ``[n, 1024]``, never negative."""
        x = patches.unsqueeze(1)
        for layer in self.convolutions:
            assert isinstance(layer, nn.Conv2d)
            if layer.stride[0] > 1:
                x = F.pad(x, _behind(int(x.shape[3])) + _behind(int(x.shape[2])))
            x = F.relu(layer(x))
        return x.mean(dim=(2, 3))

    def tagged(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding, and each patch's, which tags are told from.

        Args:
            log_mel: ``[batch, frames, 64]``, at least 96 frames.

        Returns:
            ``[batch, 1024]`` and ``[batch, patches, 1024]``.
        """
        frames, hop = int(log_mel.shape[1]), self.config.patch_hop
        starts = range(0, frames - YAMNET_PATCH + 1, hop)
        patches = torch.stack([log_mel[:, i : i + YAMNET_PATCH] for i in starts], dim=1)
        each = self.embed(patches.reshape(-1, YAMNET_PATCH, YAMNET_MEL.n_mels))
        each = each.reshape(-1, len(starts), WIDTH)
        return each.mean(dim=1), each

    def forward(self, log_mel: Tensor) -> Tensor:
        """``[batch, frames, 64]`` to ``[batch, 1024]``."""
        return self.tagged(log_mel)[0]


def _behind(size: int) -> tuple[int, int]:
    """TensorFlow's padding of 3 taps and a stride of 2: of an even axis, one zero at its end."""
    return (1, 1) if size % 2 else (0, 1)


def _filterbank() -> Tensor:
    """``[257, 64]``: triangles of height 1 on the mel scale itself, nothing of frequency 0."""
    config = YAMNET_MEL

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    at = mel(np.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1))[:, None]
    corners = np.linspace(mel(config.f_min), mel(config.f_max), config.n_mels + 2)
    rising = (at - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - at) / (corners[2:] - corners[1:-1])
    bank = np.maximum(0.0, np.minimum(rising, falling))
    bank[0] = 0
    return torch.from_numpy(bank.astype(np.float32))
