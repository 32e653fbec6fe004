"""Checkpoints in the shapes that people use, all with windows of 10 s."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.generated import checkpoints
from benchmarks.generated.tokenizers import tokenizer_folder
from benchmarks.generated.weights import weight
from clap_export.checkpoints import load, native
from clap_export.model.clap import ClapModel
from clap_export.model.config import (
    AudioEncoderConfig,
    Cnn14Config,
    CompactConfig,
    HtsatConfig,
)

ROOT = Path(__file__).parents[2]
NAMES = ("htsat-tiny", "cnn14", "clap-mini")
SECONDS = 10
CLAP_MINI = ROOT / "models" / "clap-mini.safetensors"
MELS = 64
# Of a few channels, to try the steps with.
TINY = {
    "htsat-tiny": AudioEncoderConfig(
        htsat=HtsatConfig(MELS, 128, embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=4)
    ),
    "cnn14": AudioEncoderConfig(cnn14=Cnn14Config(MELS, 20, (4, 6, 8))),
    "clap-mini": AudioEncoderConfig(compact=CompactConfig("mobilenetv4_conv_small_050", MELS)),
}


def path_of(name: str, folder: Path, tiny: bool) -> Path:
    """Where a model's checkpoint lies: HTSAT-tiny's is a folder, which transformers reads too."""
    return folder / (name if name == "htsat-tiny" and not tiny else f"{name}.safetensors")


def make(name: str, folder: Path, tiny: bool = False) -> Path:
    """Write a checkpoint, unless it is there.

    Args:
        name: ``htsat-tiny`` (LAION's shape, 48 kHz), ``cnn14`` (msclap 2022's, 44.1 kHz), both with
            generated weights; or ``clap-mini`` with its own, 24 kHz.
        folder: to write it to.
        tiny: clap-mini's text tower beside an audio tower of a few channels, windows of 1 s.
    """
    path = path_of(name, folder, tiny)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if name == "htsat-tiny" and not tiny:
        return checkpoints.clap_model(path, fused=False)
    source, tokenizer = CLAP_MINI, None
    if name == "cnn14" and not tiny:
        source = folder / "msclap-2022.pth"
        tokenizer = tokenizer_folder(folder / "words", "bert")
        state = checkpoints.state_dict(checkpoints.golden("msclap-2022"))
        torch.save(checkpoints.wrapped("msclap-2022", state), source)
    found = load(source, tokenizer=tokenizer)
    spec = found.model.config.audio
    window = (1 if tiny else SECONDS) * spec.sample_rate
    spec = replace(spec, window_samples=window, hop_samples=window)
    config = replace(found.model.config, audio=spec)
    model = found.model
    if tiny:
        model = ClapModel(replace(config, audio_encoder=TINY[name])).eval()
        made = {
            key: torch.from_numpy(weight(key, tuple(value.shape)))
            for key, value in model.state_dict().items()
            if key.startswith("audio_") and value.is_floating_point()
        }
        model.load_state_dict(made | text_tower(found.model), strict=False)
    else:
        model.config = config
    native.save(path, model, found.tokenizer)
    if source != CLAP_MINI:
        source.unlink()
    return path


def text_tower(model: ClapModel) -> dict[str, torch.Tensor]:
    """The part of a state dict that embeds texts."""
    return {key: value for key, value in model.state_dict().items() if key.startswith("text_")}
