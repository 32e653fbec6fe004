"""Compare a bundle with the checkpoint it was made from, through the runtime that users run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from clap_export.model.checkpoint import Checkpoint
from clap_export.model.clap import ClapModel
from clap_export.parity.clips import VERIFY_LABELS, MadeClip, awkward_clips
from clap_export.parity.engines import providers_of
from clap_export.parity.inner import decibels_apart, spectrograms
from clap_export.parity.tolerances import DECIBELS, MEL, distance
from runtime import Encoder, audio
from runtime.audio_graph import graph_inputs
from runtime.bundle import Bundle
from runtime.clips import windows
from runtime.clips.pooling import mean_embedding
from runtime.errors import ClapError
from runtime.labels import LabelBank
from runtime.manifest import NORM, Check, Manifest, Parity, TextSpec, write_manifest
from runtime.prompts import fill

BATCHES = (1, 2, 5)

AUDIO, TEXT = "audio embedding", "text embedding"
LENGTH = "audio norm, relative"
LIMITS: dict[str, dict[str, tuple[float, str]]] = {
    "fp32": {
        MEL: (DECIBELS, "dB"),
        f"{AUDIO}, max abs": (1e-4, ""),
        f"{AUDIO}, 1 - cosine": (1e-6, ""),
        LENGTH: (1e-4, ""),
        f"{TEXT}, max abs": (1e-5, ""),
        f"{TEXT}, 1 - cosine": (1e-6, ""),
        "labels, pairs ranked otherwise": (0.0, "share"),
        "batch size, max abs": (1e-5, ""),
    },
    "fp16": {
        MEL: (DECIBELS, "dB"),
        f"{AUDIO}, 1 - cosine": (distance("fp16"), ""),
        LENGTH: (1e-2, ""),
        f"{TEXT}, 1 - cosine": (distance("fp16"), ""),
        "batch size, max abs": (1e-3, ""),
    },
    "int8": {
        MEL: (DECIBELS, "dB"),
        f"{AUDIO}, 1 - cosine": (distance("int8"), ""),
        LENGTH: (0.1, ""),
        f"{TEXT}, 1 - cosine": (distance("int8"), ""),
        "batch size, max abs": (1e-5, ""),
    },
}
LIMITS["bf16"] = LIMITS["fp16"] | {"batch size, max abs": (5e-3, "")}
LIMITS["int8+bf16"] = LIMITS["int8"] | {"batch size, max abs": (2e-2, "")}
# Two labels nearer than this are a tie: either order is right.
TIE = 2e-4


def verify(
    folder: Path,
    checkpoint: Checkpoint,
    clips: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Parity:
    """Measure parity, write it into the bundle's manifest, and return it; see :func:`measure`.

    Returns:
        ``passed`` is False when any figure is above its limit; the bundle is left in place.
    """
    manifest = measure(folder, checkpoint, clips, progress)
    assert manifest.parity is not None  # it has just been measured
    write_manifest(folder, manifest)
    return manifest.parity


def measure(
    folder: Path,
    checkpoint: Checkpoint,
    clips: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Compare a bundle with its checkpoint; nothing is written.

    Made clips of awkward kinds, and ``clips`` if any, are embedded by PyTorch and by
    :class:`runtime.Encoder`, the latter at batch sizes 1, 2 and 5.

    Args:
        folder: the bundle.
        checkpoint: what it was exported from.
        clips: recordings to compare on as well.
        progress: called with the name of each stage.

    Returns:
        the bundle's manifest with its ``parity``.

    Raises:
        ClapError: the bundle is damaged, or of another embedding space than the checkpoint.
    """
    bundle = Bundle(folder)
    if bundle.manifest.space_id != checkpoint.space_id():
        raise ClapError(
            f"bundle {folder} has space_id {bundle.manifest.space_id}, the checkpoint "
            f"{checkpoint.space_id()}: it was exported from other weights. Give the checkpoint "
            "that it was exported from, or export it again."
        )
    spec = bundle.manifest.audio
    batches = [_windows(clip, bundle) for clip in awkward_clips(spec)]
    batches += [windows.rows(audio.prepare(path, spec), spec) for path in clips]
    with Encoder(bundle, providers=providers_of(bundle.manifest)) as encoder:
        measured: dict[str, float] = {}
        progress("spectrogram")
        measured |= _compare_mel(checkpoint.model, bundle, batches)
        progress("audio embeddings")
        wanted = _torch_audio(checkpoint.model, batches)
        found = np.stack([mean_embedding(rows) for rows in encoder.embed_clips(batches, 2)])
        measured |= _differences(AUDIO, found, wanted)
        if bundle.manifest.gives_norm:
            measured[LENGTH] = _norm_difference(checkpoint.model, encoder, batches)
        measured["batch size, max abs"] = _batch_difference(encoder, batches)
        if bundle.manifest.text is not None:
            progress("text embeddings")
            bank = LabelBank.build(encoder, VERIFY_LABELS)
            text = _torch_text(checkpoint, bundle.manifest.text, bank.templates)
            measured |= _differences(TEXT, bank.embeddings, text)
            measured["labels, pairs ranked otherwise"] = _rank_changes(
                found @ bank.embeddings.T, wanted @ text.T
            )
        provider = encoder.open_audio().provider
    limits = LIMITS[bundle.manifest.audio_graph.precision]
    checks = [
        Check(name, float(measured[name]), limit, unit, bool(measured[name] <= limit))
        for name, (limit, unit) in limits.items()
        if name in measured
    ]
    if bundle.manifest.parity is not None:  # what was measured otherwise, as against FP32
        checks += [check for check in bundle.manifest.parity.checks if check.name not in limits]
    parity = Parity(all(check.passed for check in checks), provider, tuple(checks))
    return replace(bundle.manifest, parity=parity)


def _windows(clip: MadeClip, bundle: Bundle) -> np.ndarray:
    spec = bundle.manifest.audio
    return windows.rows(audio.prepare(clip.samples, spec, clip.sample_rate), spec)


def _differences(name: str, found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    cosine = (found.astype(np.float64) * wanted).sum(1)
    norms = np.linalg.norm(found.astype(np.float64), axis=1) * np.linalg.norm(wanted, axis=1)
    return {
        f"{name}, max abs": np.abs(found - wanted).max(),
        f"{name}, 1 - cosine": max(0.0, (1 - cosine / norms).max()),
    }


@torch.no_grad()
def _compare_mel(model: ClapModel, bundle: Bundle, batches: list[np.ndarray]) -> dict[str, float]:
    """The spectrogram inside the graph against the model's, on every window."""
    wanted = (model.hear(torch.from_numpy(batch))[0].numpy() for batch in batches)
    found = spectrograms(bundle, batches, providers_of(bundle.manifest) or ("cpu",))
    return {MEL: max(map(decibels_apart, found, wanted))}


@torch.no_grad()
def _torch_audio(model: ClapModel, batches: list[np.ndarray]) -> np.ndarray:
    """Clip embeddings ``[clips, dim]`` by PyTorch, one clip at a time."""
    return np.stack(
        [mean_embedding(model.embed_audio(torch.from_numpy(batch)).numpy()) for batch in batches]
    )


@torch.no_grad()
def _norm_difference(model: ClapModel, encoder: Encoder, batches: list[np.ndarray]) -> float:
    """Largest error of any window's norm, as a share of the norm by PyTorch."""
    backend, spec, worst = encoder.open_audio(), encoder.manifest.audio, 0.0
    for batch in batches:
        raw = model.raw_audio(*model.hear(torch.from_numpy(batch))).double()
        wanted = torch.linalg.vector_norm(raw, dim=1).numpy()
        found = backend.run(graph_inputs(batch, spec))[NORM]
        worst = max(worst, float(np.abs(found / wanted - 1).max()))
    return worst


@torch.no_grad()
def _torch_text(checkpoint: Checkpoint, spec: TextSpec, templates: Sequence[str]) -> np.ndarray:
    """Label embeddings ``[labels, dim]`` by PyTorch, without padding: the slow, plain way."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    rows = []
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_tokens)
    for label in VERIFY_LABELS:
        ids = tokenizer.encode(fill(templates[0], label) + spec.suffix).ids
        tokens = torch.tensor([ids])
        rows.append(checkpoint.model.embed_text(tokens, torch.ones_like(tokens))[0].numpy())
    return np.stack(rows)


def _batch_difference(encoder: Encoder, batches: list[np.ndarray]) -> float:
    """Largest change of any window's embedding between batch sizes."""
    first, *others = (np.concatenate([*encoder.embed_clips(batches, n)]) for n in BATCHES)
    return max(float(np.abs(first - other).max()) for other in others)


def _rank_changes(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of label pairs, over all clips, whose order differs by more than a tie."""
    apart = wanted[:, :, None] - wanted[:, None, :]
    now = found[:, :, None] - found[:, None, :]
    clear = apart > TIE
    return float((clear & (now <= 0)).sum() / max(1, clear.sum()))
