"""The tower of a tagger that is an architecture of timm on pictures of decibels."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import Tensor

from clap_export.checkpoints.state import State
from clap_export.model.compact import Compact
from clap_export.model.config import CompactConfig
from clap_export.model.mel import LogMel
from runtime.audio_spec import AudioSpec
from runtime.errors import ClapError
from train.bridge.classifier import head, network
from train.config.bridge import NetworkSource


def read(source: NetworkSource, path: Path, audio: AudioSpec) -> tuple[CompactConfig, State]:
    """A network's options, and its tensors by the names of a model of ours.

    What it subtracts from the decibels and divides them by becomes the batch normalisation that our
    encoder begins with. Where its first convolution takes three channels, the same picture was in
    each, so that their kernels add up.

    Args:
        source: which network it is.
        path: a state dict, in whatever its training wrapped around it.
        audio: how it hears.

    Raises:
        ClapError: timm has no such architecture, it does not take pictures of this size, its
            classifier is no single layer, or the file holds another network.
    """
    first, last = _layers(source.backbone)
    try:
        config = CompactConfig(source.backbone, audio.mel.n_mels)
        frames = 1 + audio.window_samples // audio.mel.hop_length
        tower = Compact(config).eval()
        with torch.inference_mode():
            tower(torch.zeros(1, frames, config.n_mels))
    except Exception as error:  # of its architectures, as many kinds as there are
        reason = " ".join(str(error).split()[:20])
        raise ClapError(
            f"tagger.timm.backbone {source.backbone} takes no pictures of {audio.mel.n_mels} mel "
            f"bins in one channel ({type(error).__name__}: {reason}): take one without a fixed "
            "size."
        ) from error
    marks = (f"{first}.weight", f"{last}.weight")
    state = network(path, f"{source.backbone} of timm", marks, " and ".join(marks))
    state.size(marks[0], 1)
    frontend = LogMel(audio.mel).state_dict()
    tensors = {f"mel.{name}": value for name, value in frontend.items()}
    tensors |= _normalised(tower, source.mean, source.std)
    tensors |= {
        f"audio_encoder.backbone.{name}": value
        for name, value in state.items()
        if name not in (f"{last}.weight", f"{last}.bias")
    }
    kernel = f"audio_encoder.backbone.{first}.weight"
    tensors[kernel] = tensors[kernel].sum(dim=1, keepdim=True)
    tensors |= head(state, last)
    return config, state.changed(tensors)


def _layers(backbone: str) -> tuple[str, str]:
    """Names of the first convolution and of the classifier."""
    if not timm.is_model(backbone):
        raise ClapError(
            f"tagger.timm.backbone {backbone!r} is no architecture of timm: timm.list_models() has "
            "their names."
        )
    known = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    first, last = (getattr(known, name, None) for name in ("first_conv", "classifier"))
    if not isinstance(first, str) or not isinstance(last, str):
        raise ClapError(
            f"tagger.timm.backbone {backbone} has no single first convolution and classifier: take "
            "another architecture."
        )
    return first, last


def _normalised(tower: Compact, mean: float, std: float) -> dict[str, Tensor]:
    """The tensors of ``(x - mean) / std`` as the tower's batch normalisation."""
    norm = tower.bn0
    values = {
        "weight": torch.ones(norm.num_features), "bias": torch.zeros(norm.num_features),
        "running_mean": torch.full((norm.num_features,), mean),
        "running_var": torch.full((norm.num_features,), std**2 - norm.eps),
        "num_batches_tracked": torch.tensor(0),
    }  # fmt: skip
    return {f"audio_encoder.bn0.{name}": value for name, value in values.items()}
