"""YAMNet: 521 kinds of sound, told by a MobileNet from a second of audio.

Source of the architecture and of every constant here: Plakal and Ellis 2020, `yamnet` in
tensorflow/models (research/audioset), a MobileNet v1 (Howard et al. 2017, arXiv 1704.04861) trained
on AudioSet. Weights are Apache-2.0; ``python -m train yamnet`` makes a file of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.errors import ClapError
from runtime.schema import read_json

SAMPLE_RATE = 16000
WINDOW, HOP, N_FFT = 400, 160, 512  # 25 ms, 10 ms
N_MELS, F_MIN, F_MAX = 64, 125.0, 7500.0
FLOOR = 0.001  # added to the magnitudes before the logarithm
PATCH = 96  # frames that are told apart at once, 0.96 s
SHORTEST = ((PATCH - 1) * HOP + WINDOW) / SAMPLE_RATE  # 0.975 s

# (stride, channels) of the first convolution and of the 13 separable ones behind it.
LAYERS = (
    (2, 32), (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512),
    (1, 512), (1, 512), (1, 512), (1, 512), (1, 512), (2, 1024), (1, 1024),
)  # fmt: skip
WIDTH = LAYERS[-1][1]
KIND = "yamnet"  # of the file
MOST_LABELS = 10_000  # YAMNet has 521


class Yamnet(nn.Module):
    """Waveforms to what YAMNet makes of them; BatchNorm is folded into the convolutions.

    Args:
        labels: names of the classes, in order.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filterbank", _filterbank(), persistent=False)
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
        self.classifier = nn.Linear(WIDTH, len(self.labels))

    def log_mel(self, waveform: Tensor) -> Tensor:
        """``[batch, samples]`` at 16 kHz to natural logarithms ``[batch, frames, 64]``, float32."""
        frames = waveform.float().unfold(1, WINDOW, HOP) * self.window
        spectrum = torch.fft.rfft(frames, N_FFT)
        # On a CPU several times quicker than abs() of complex numbers.
        magnitude = (spectrum.real.square() + spectrum.imag.square()).sqrt()
        return torch.log(magnitude @ self.filterbank + FLOOR)

    def embed(self, patches: Tensor) -> Tensor:
        """``[n, 96, 64]`` to ``[n, 1024]``."""
        x = patches.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        for layer in self.convolutions:
            assert isinstance(layer, nn.Conv2d)
            if layer.stride[0] > 1:
                x = F.pad(x, _behind(x.shape[3]) + _behind(x.shape[2]))
            x = F.relu(layer(x), inplace=True)
        return x.float().mean(dim=(2, 3))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and probabilities, each the mean over whole patches that do not overlap.

        Args:
            waveform: ``[batch, samples]`` at 16 kHz, at least ``SHORTEST`` seconds of it.

        Returns:
            ``[batch, 1024]`` never negative, and ``[batch, labels]`` of 0 to 1 each.
        """
        patches = self.log_mel(waveform).unfold(1, PATCH, PATCH).transpose(2, 3)
        batch, count = patches.shape[:2]
        embedding = self.embed(patches.reshape(batch * count, PATCH, N_MELS))
        scores = self.classifier(embedding).float().sigmoid()
        return embedding.view(batch, count, -1).mean(1), scores.view(batch, count, -1).mean(1)


def load(path: Path) -> Yamnet:
    """Read a file of ``python -m train yamnet``.

    Raises:
        ClapError: missing, damaged, of something else, or its tensors do not fit (all are listed).
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except FileNotFoundError as error:
        raise ClapError(
            f"tagger {path} does not exist: make it with python -m train yamnet SAVED_MODEL -o "
            f"{path}."
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ClapError(f"tagger {path} is damaged or no safetensors file ({error}).") from error
    if metadata.get("kind") != KIND:
        raise ClapError(
            f"tagger {path} is not of kind {KIND} (found: {metadata.get('kind', 'none')}); python "
            "-m train yamnet writes one."
        )
    network = Yamnet(_labels(path, metadata))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ClapError(f"tagger {path}: {' '.join(str(error).split())}") from error
    kinds = {tensor.dtype for tensor in state.values()}
    if kinds != {torch.float32} or not all(x.isfinite().all() for x in state.values()):
        raise ClapError(f"tagger {path} is damaged: not all its weights are finite float32.")
    return network.eval().requires_grad_(False)


def _labels(path: Path, metadata: dict[str, str]) -> list[str]:
    """Names of the classes; every one costs memory, so that their number has a bound."""
    try:
        labels = read_json(metadata.get("labels", "").encode())
    except ClapError:
        labels = []
    named = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if not named or not 0 < len(labels) <= MOST_LABELS:
        raise ClapError(f"tagger {path} is damaged: it does not name 1 to {MOST_LABELS} classes.")
    return labels


def _behind(size: int) -> tuple[int, int]:
    """TensorFlow's padding of 3 taps and a stride of 2: of an even axis, one zero at its end."""
    return (1, 1) if size % 2 else (0, 1)


def _filterbank() -> Tensor:
    """``[257, 64]``: triangles of height 1 on the mel scale itself, nothing of frequency 0."""

    def mel(hz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    bins = mel(torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64))[:, None]
    low, high = mel(torch.tensor([F_MIN, F_MAX], dtype=torch.float64)).tolist()
    corners = torch.linspace(low, high, N_MELS + 2, dtype=torch.float64)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    bank[0] = 0
    return bank.float()
