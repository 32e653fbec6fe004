"""What the original package itself gives for files and long texts, nothing of it changed.

Run it in the originals' environment (`tests/goldens/make.py` says how to make one):

    python benchmarks/originals/vectors.py NAME CHECKPOINT TOKENIZER OUT.npz FILE…

NAME is a golden's, or transformers or transformers-fused, for which CHECKPOINT is a folder. What
the originals draw at random is pinned: a crop to the start, fusion's chunks to the middle of what
they may be. Each file is embedded alone. soundfile reads for msclap, because torchaudio 2.11 needs
torchcodec to load a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.originals import reference
from benchmarks.originals.theirs import read

LONG_TEXT = " ".join(["a dog barks and rain falls on a tin roof while a siren passes"] * 8)
LAION = {"tiny": "HTSAT-tiny", "base": "HTSAT-base", "pann": "PANN-14", "fused": "HTSAT-tiny"}
Embed = Callable[[str], Any]


def msclap(version: str, checkpoint: str, tokenizer: str) -> tuple[Embed, Any]:
    """``CLAPWrapper``."""
    import torchaudio

    torchaudio.load = read
    wrapper = reference.msclap(version, tokenizer, checkpoint)
    text = wrapper.get_text_embeddings([LONG_TEXT])
    return lambda file: wrapper.get_audio_embeddings([file])[0], text[0]


def laion(size: str, checkpoint: str, _: str) -> tuple[Embed, Any]:
    """``CLAP_Module``."""
    module = reference.laion(LAION[size], checkpoint, size == "fused")
    return lambda file: module.get_audio_embedding_from_filelist([file])[0], None


def huggingface(_: str, folder: str, tokenizer: str) -> tuple[Embed, Any]:
    """``ClapFeatureExtractor`` and ``ClapModel``, on what ``librosa.load`` reads."""
    import librosa
    from transformers import ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    extractor = ClapFeatureExtractor.from_pretrained(folder)
    model = ClapModel.from_pretrained(folder).eval()
    words = PreTrainedTokenizerFast(tokenizer_file=f"{tokenizer}/tokenizer.json")

    def embed(file: str) -> Any:
        samples = librosa.load(file, sr=48_000)[0]
        return model.get_audio_features(
            **extractor(samples, sampling_rate=48_000, return_tensors="pt")
        )[0]

    tokens = words(LONG_TEXT, return_tensors="pt", return_token_type_ids=False)
    return embed, model.get_text_features(**tokens)[0]


def main(name: str, checkpoint: str, tokenizer: str, out: str, *files: str) -> None:
    """Embed, and write unit vectors."""
    family, _, variant = name.partition("-")
    make = {"msclap": msclap, "laion": laion, "transformers": huggingface}[family]
    with (
        reference.pinned(),
        mock.patch("numpy.random.randint", return_value=0),
        mock.patch("random.randrange", return_value=0),
        torch.no_grad(),
    ):
        embed, text = make(variant, checkpoint, tokenizer)
        rows = np.stack([np.asarray(embed(file), np.float32) for file in files])
    found = {"audio": rows / np.linalg.norm(rows, axis=1, keepdims=True)}
    if text is not None:
        found["text"] = np.asarray(text, np.float32) / np.linalg.norm(text)
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
