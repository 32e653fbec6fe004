"""The model under test, a checkpoint or a bundle: recordings and texts to unit vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import Checkpoint, load
from runtime import audio, bundle, grouping, windows
from runtime.encoder import Encoder, mean_embedding
from runtime.prompts import fill_all
from train.machine.progress import track
from train.zero_shot.task import embed_texts

# Windows given to a model at once, and files decoded ahead of it.
BATCH = 32
AHEAD = 64


class Embedder(Protocol):
    """Gives unit vectors of recordings and texts."""

    def embed_audio(self, paths: Sequence[Path]) -> np.ndarray:
        """``[paths, dim]`` float32: the mean of each recording's windows, renormalised.

        Raises:
            AudioError: a recording cannot be used.
        """
        ...

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """``[texts, dim]`` float32."""
        ...


class CheckpointEmbedder:
    """A torch model, fed by the runtime's own decoding, windows and batches.

    Args:
        checkpoint: loaded, of any family.
        device: that it runs on.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.model = checkpoint.model.to(device).eval()
        self.tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
        self.device = device

    def embed_audio(self, paths: Sequence[Path]) -> np.ndarray:
        spec = self.model.config.audio
        clips = decoded(paths, spec)
        fused = spec.long_clips == "fusion"
        found = grouping.embed(
            grouping.groups(clips, BATCH),
            lambda group: _batches(group, fused),
            self._run,
            self.model.config.embedding_dim,
        )
        return np.stack([mean_embedding(rows) for rows in track(found, "audio", len(paths))])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.concatenate(
            [
                embed_texts(self.model, self.tokenizer, texts[i : i + BATCH], self.device)
                for i in range(0, len(texts), BATCH)
            ]
        )

    @torch.inference_mode()
    def _embed(self, rows: np.ndarray) -> np.ndarray:
        return self.model.embed_audio(torch.from_numpy(rows).to(self.device)).cpu().numpy()

    def _run(self, feeds: Iterable[dict[str, np.ndarray]]) -> Iterator[np.ndarray]:
        return (self._embed(feed["waveform"]) for feed in feeds)


class BundleEmbedder:
    """A bundle, run by the runtime.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        self._encoder = Encoder(folder)

    def embed_audio(self, paths: Sequence[Path]) -> np.ndarray:
        clips = decoded(paths, self._encoder.manifest.audio)
        found = self._encoder.embed_clips(clips, BATCH)
        return np.stack([mean_embedding(rows) for rows in track(found, "audio", len(paths))])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return self._encoder.embed_text(texts)


def open_embedder(source: Path, device: torch.device) -> CheckpointEmbedder | BundleEmbedder:
    """A bundle's folder, or a checkpoint of any family that the loader reads.

    Raises:
        ClapError: it is neither, or damaged.
    """
    if (source / bundle.MANIFEST).is_file():
        return BundleEmbedder(source)
    return CheckpointEmbedder(load(source), device)


def embed_prompts(
    embedder: Embedder, labels: Sequence[str], templates: Sequence[str]
) -> np.ndarray:
    """``[labels, dim]``: the mean over every template of a label, renormalised.

    Args:
        embedder: of the model.
        labels: to put in.
        templates: with one ``{}`` each, at least one.
    """
    texts = [text for label in labels for text in fill_all(templates, label)]
    found = embedder.embed_text(texts).reshape(len(labels), len(templates), -1)
    return np.stack([mean_embedding(rows) for rows in found])


def decoded(paths: Sequence[Path], spec: bundle.AudioSpec) -> Iterator[np.ndarray]:
    """Windows of each recording, decoded in threads a little ahead of the model.

    Raises:
        AudioError: a recording cannot be used.
    """
    with ThreadPoolExecutor() as pool:
        for i in range(0, len(paths), AHEAD):
            yield from pool.map(
                lambda path: windows.rows(audio.prepare(path, spec), spec), paths[i : i + AHEAD]
            )


def _batches(group: Sequence[np.ndarray], fused: bool) -> list[dict[str, np.ndarray]]:
    """Windows of several recordings together; with feature fusion, where clips differ in length,
    each alone."""
    if fused:
        return [{"waveform": rows} for rows in group]
    together = np.concatenate(group)
    return [{"waveform": together[i : i + BATCH]} for i in range(0, len(together), BATCH)]
