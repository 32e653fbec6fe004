"""Checkpoints in the shapes that people use, all with windows of 10 s."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("htsat-tiny", "cnn14", "clap-mini")
TINY = {"htsat-tiny": "htsat", "cnn14": "cnn14", "clap-mini": "compact"}
SECONDS = 10


def path_of(name: str, folder: Path, tiny: bool) -> Path:
    """Where a model's checkpoint lies: HTSAT-tiny's is a folder, which transformers reads too."""
    return folder / (name if name == "htsat-tiny" and not tiny else f"{name}.safetensors")


def make(name: str, folder: Path, tiny: bool = False) -> Path:
    """Write a checkpoint, unless it is there.

    Args:
        name: ``htsat-tiny`` (LAION's shape, 48 kHz), ``cnn14`` (msclap 2022's, 44.1 kHz), both with
            generated weights; or ``clap-mini`` with its own, 24 kHz.
        folder: to write it to.
        tiny: of a few channels and 1 s, to try the steps with.
    """
    path = path_of(name, folder, tiny)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if tiny:
        from tests.tiny import save

        return save(path, TINY[name])
    from tests import originals

    if name == "htsat-tiny":
        return originals.clap_model(path, fused=False)
    import torch

    from clap_export.checkpoints import load, native

    source, tokenizer = ROOT / "models" / "clap-mini.safetensors", None
    if name == "cnn14":
        source = folder / "msclap-2022.pth"
        tokenizer = originals.tokenizer_folder(folder / "words", "bert")
        state = originals.state_dict(originals.golden("msclap-2022"))
        torch.save(originals.wrapped("msclap-2022", state), source)
    found = load(source, tokenizer=tokenizer)
    spec = found.model.config.audio
    window = SECONDS * spec.sample_rate
    spec = replace(spec, window_samples=window, hop_samples=window)
    found.model.config = replace(found.model.config, audio=spec)
    native.save(path, found.model, found.tokenizer)
    if name == "cnn14":
        source.unlink()
    return path
