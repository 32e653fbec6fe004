"""The original package's own pipeline on files: embeddings, and seconds of each stage.

Run it in the originals' environment (`tests/goldens/make.py` says how to make one):

    python benchmarks/originals/theirs.py NAME CHECKPOINT OUT.npz [--tokenizer FOLDER] FILE…

NAME is msclap-2022, msclap-2023, laion-tiny, laion-fused, transformers or transformers-fused; for
the last two CHECKPOINT is a folder. The originals crop clips longer than their window at random:
here that crop is pinned to the start, and fusion's chunks to the middle of what they may be.
soundfile reads for msclap, because torchaudio 2.11 needs torchcodec to load a file; the rest of the
way is the package's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.originals import reference
from benchmarks.originals.timing import LABELS, timed


def read(path: str) -> tuple[torch.Tensor, int]:
    """In place of torchaudio.load: ``[channels, samples]`` float32, rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def msclap(version: str, checkpoint: str, tokenizer: str, files: list[str]) -> dict[str, Any]:
    """Microsoft's: ``get_audio_embeddings`` cut where preparing ends and the encoder begins."""
    import torchaudio

    torchaudio.load = read
    wrapper = reference.msclap(version, tokenizer, checkpoint)
    rows = []
    for file in files:
        prepared, prepare = timed(lambda file=file: wrapper.preprocess_audio([file], True))
        found, encode = timed(lambda prepared=prepared: wrapper._get_audio_embeddings(prepared))
        rows.append((found[0].numpy(), prepare, encode))
    _, text = timed(lambda: wrapper.get_text_embeddings(LABELS), 2)
    return pack(files, rows, text)


def huggingface(folder: str, files: list[str]) -> dict[str, Any]:
    """transformers': ClapFeatureExtractor, then ClapModel."""
    import librosa
    from transformers import ClapFeatureExtractor, ClapModel

    extractor = ClapFeatureExtractor.from_pretrained(folder)
    model = ClapModel.from_pretrained(folder).eval()
    fused = extractor.truncation == "fusion"

    def prepare(file: str) -> dict[str, torch.Tensor]:
        samples = librosa.load(file, sr=48_000)[0]
        made = dict(extractor(samples, sampling_rate=48_000, return_tensors="pt"))
        if fused and len(samples) < 480_480:
            # It calls one clip of every batch longer, if none is; LAION's evaluation does not.
            made["is_longer"] = torch.zeros_like(made["is_longer"])
        return made

    rows = []
    with torch.no_grad():
        for file in files:
            prepared, before = timed(lambda file=file: prepare(file))
            found, encode = timed(lambda made=prepared: model.get_audio_features(**made))
            rows.append((found[0].numpy(), before, encode))
        tokens = label_tokens()
        _, text = timed(lambda: model.get_text_features(**tokens), 2)
    return pack(files, rows, text)


def label_tokens() -> dict[str, torch.Tensor]:
    """Token ids of as many labels as ours, RoBERTa's tokenizer being on the hub alone."""
    ids = torch.full((len(LABELS), 77), 1)
    ids[:, :12] = torch.randint(4, 50_000, (len(LABELS), 12))
    return {"input_ids": ids, "attention_mask": (ids != 1).long()}


def laion(size: str, checkpoint: str, files: list[str]) -> dict[str, Any]:
    """LAION's: ``get_audio_embedding_from_filelist``, its two halves timed."""
    import librosa

    fused = size == "fused"
    module = reference.laion("HTSAT-tiny" if fused else f"HTSAT-{size}", checkpoint, fused)
    rows = []
    for file in files:
        whole, _ = timed(lambda file=file: module.get_audio_embedding_from_filelist([file]), 1)
        samples, prepare = timed(lambda file=file: librosa.load(file, sr=48_000)[0])
        _, encode = timed(lambda s=samples: module.get_audio_embedding_from_data([s]))
        rows.append((whole[0], prepare, encode))
    tokens = label_tokens()
    with torch.no_grad():
        _, text = timed(lambda: module.model.get_text_embedding(dict(tokens)), 2)
    return pack(files, rows, text)


def pack(
    files: list[str], rows: list[tuple[np.ndarray, float, float]], text: float
) -> dict[str, Any]:
    """Arrays by name."""
    embeddings = np.stack([row[0] for row in rows]).astype(np.float32)
    return {
        "files": np.asarray(files),
        "embeddings": embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        "prepare": np.asarray([row[1] for row in rows]),
        "encode": np.asarray([row[2] for row in rows]),
        "text": np.asarray(text),
    }


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser()
    for name in ("name", "checkpoint", "out"):
        parser.add_argument(name)
    parser.add_argument("--tokenizer", default="")
    parser.add_argument("files", nargs="+")
    given = parser.parse_args()
    family, _, variant = given.name.partition("-")
    with (
        reference.pinned(),
        mock.patch("numpy.random.randint", return_value=0),
        mock.patch("random.randrange", return_value=0),
    ):
        if family == "msclap":
            found = msclap(variant, given.checkpoint, given.tokenizer, given.files)
        elif family == "laion":
            found = laion(variant, given.checkpoint, given.files)
        else:
            found = huggingface(given.checkpoint, given.files)
    settings = {"name": given.name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    np.savez(given.out, settings=np.asarray(json.dumps(settings)), **found)


if __name__ == "__main__":
    main()
