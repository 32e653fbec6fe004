"""The model under test, a checkpoint or a bundle: recordings and texts to unit vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import Checkpoint, load
from runtime import audio
from runtime.audio_spec import AudioSpec
from runtime.clips import windows
from runtime.clips.pooling import mean_embedding
from runtime.cores import usable_cores
from runtime.encoder import Encoder
from runtime.manifest import MANIFEST
from train.machine.progress import track
from train.zero_shot.embedding import embed_clips, embed_texts

# Windows given to a bundle at once, and files decoded ahead of the model.
BATCH = 32
AHEAD = 64


class CheckpointEmbedder:
    """A model in PyTorch, fed by the runtime's own decoding and windows.

    Args:
        checkpoint: loaded, of any family.
        device: that it runs on.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.model = checkpoint.model.to(device).eval()
        self.tokenizer = Tokenizer.from_str(checkpoint.tokenizer)

    def embed_audio(self, paths: Sequence[Path]) -> np.ndarray:
        """``[paths, dim]`` float32: the mean of each recording's windows, renormalised.

        Raises:
            AudioError: a recording cannot be used.
        """
        clips = decoded(paths, self.model.config.audio)
        return embed_clips(self.model, track(clips, "audio", len(paths))).cpu().numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """``[texts, dim]`` float32."""
        return embed_texts(self.model, self.tokenizer, texts).cpu().numpy()


class BundleEmbedder:
    """A bundle, run by the runtime; its methods give what :class:`CheckpointEmbedder`'s give.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        self._encoder = Encoder(folder)

    def embed_audio(self, paths: Sequence[Path]) -> np.ndarray:
        """Clip embeddings ``[paths, dim]``."""
        spec = self._encoder.manifest.audio
        heard = (windows.rows(clip, spec) for clip in decoded(paths, spec))
        found = self._encoder.embed_clips(heard, BATCH)
        return np.stack([mean_embedding(rows) for rows in track(found, "audio", len(paths))])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Text embeddings ``[texts, dim]``."""
        return self._encoder.embed_text(texts)


def open_embedder(source: Path, device: torch.device) -> CheckpointEmbedder | BundleEmbedder:
    """A bundle's folder, or a checkpoint of any family that the loader reads.

    Raises:
        ClapError: it is neither, or damaged.
    """
    if os.path.isfile(source / MANIFEST):
        return BundleEmbedder(source)
    return CheckpointEmbedder(load(source), device)


def decoded(paths: Sequence[Path], spec: AudioSpec) -> Iterator[np.ndarray]:
    """Recordings as float32 ``[n]`` at the model's rate, decoded in threads ahead of the model.

    Raises:
        AudioError: a recording cannot be used.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        for i in range(0, len(paths), AHEAD):
            yield from pool.map(lambda path: audio.prepare(path, spec), paths[i : i + AHEAD])
