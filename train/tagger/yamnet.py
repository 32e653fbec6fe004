"""YAMNet with its classifier: 521 kinds of sound, told from a second of audio.

The network is :mod:`clap_export.model.yamnet`. Weights are Apache-2.0; ``python -m train yamnet``
makes a file of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from clap_export.model import yamnet
from clap_export.model.config import YAMNET_MEL, YAMNET_PATCH, YamnetConfig
from runtime.errors import ClapError
from runtime.schema import read_json

SAMPLE_RATE = YAMNET_MEL.sample_rate
SHORTEST = ((YAMNET_PATCH - 1) * YAMNET_MEL.hop_length + yamnet.WINDOW) / SAMPLE_RATE  # 0.975 s
WIDTH = yamnet.WIDTH
KIND = "yamnet"  # of the file
MOST_LABELS = 10_000  # YAMNet has 521


class Yamnet(yamnet.Yamnet):
    """Waveforms to what YAMNet makes of them, by whole patches that do not overlap.

    Args:
        labels: names of the classes, in order.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(YamnetConfig(patch_hop=YAMNET_PATCH))
        self.labels = tuple(labels)
        self.log_mel = yamnet.YamnetMel()
        self.classifier = nn.Linear(WIDTH, len(self.labels))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and probabilities, each the mean over patches.

        Args:
            waveform: ``[batch, samples]`` at 16 kHz, at least ``SHORTEST`` seconds of it.

        Returns:
            ``[batch, 1024]`` never negative, and ``[batch, labels]`` of 0 to 1 each.
        """
        vector, each = self.tagged(self.log_mel(waveform))
        return vector, self.classifier(each).float().sigmoid().mean(dim=1)


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
