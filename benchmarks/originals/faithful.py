"""Do vectors of `windows="faithful"` match the originals', and how far is the default from them?

    python benchmarks/originals/faithful.py ORIGINALS/bin/python RECORDINGS [NAME…]

ORIGINALS is the environment of `tests/goldens/make.py`, RECORDINGS a folder of WAV files. For each
NAME (default all) a checkpoint of generated weights is written, the original package embeds files
of seven rates, one and two channels and 0.5 to 35 s, and so does our bundle of it. The last part
needs no original: clap-mini, whose weights are trained, hears the same files as it would behind
each original's resampler and channels. The result is `faithful.json` beside this file, and
`faithful.md`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.generated import checkpoints
from benchmarks.generated.tokenizers import tokenizer_folder
from benchmarks.originals import recordings
from benchmarks.originals.faithful_tables import RESULT, TRAINED, write
from benchmarks.originals.vectors import LONG_TEXT
from clap_export.checkpoints import load
from clap_export.export.pack import write_bundle
from runtime import Encoder
from runtime.clips.policy import Policy
from runtime.clips.quirks import Quirks

ROOT = Path(__file__).parents[2]
NAMES = (*checkpoints.NAMES, "transformers", "transformers-fused")
TOKENIZERS = {"msclap-2022": "bert", "msclap-2023": "gpt2"}
MATCHES = 0.99999
LABELS = [f"a {noun}" for noun in "dog siren rain bell roof tin wind sea street end".split()]


def compared(name: str, python: str, files: list[Path], folder: Path) -> dict[str, Any]:
    """Cosines of one family's vectors to the original's."""
    checkpoint = folder / "checkpoint"
    words = tokenizer_folder(folder / "words", TOKENIZERS.get(name, "roberta"))
    if name.startswith("transformers"):
        checkpoints.clap_model(checkpoint, fused=name.endswith("-fused"))
    else:
        state = checkpoints.state_dict(checkpoints.golden(name))
        torch.save(checkpoints.wrapped(name, state), checkpoint)
    given = None if name.startswith("transformers") else words
    write_bundle(load(checkpoint, tokenizer=given), folder / "bundle")
    # Without it the original would not know whose tokenizer it is.
    (words / "config.json").write_text(json.dumps({"model_type": TOKENIZERS.get(name, "roberta")}))
    out = folder / "theirs.npz"
    subprocess.run(
        [python, str(ROOT / "benchmarks/originals/vectors.py"), name, str(checkpoint),
         str(words), str(out), *map(str, files)],
        check=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with np.load(out, allow_pickle=False) as file:
        theirs = dict(file)
    found: dict[str, Any] = {}
    window = 0.0
    for windows in ("default", "faithful"):
        with Encoder(folder / "bundle", windows=windows) as encoder:
            ours = encoder.embed_audio(list(map(str, files)))
            labels = encoder.embed_text(LABELS)
            spec = encoder.manifest.audio
            window = spec.window_samples / spec.sample_rate
            cosines = (ours.astype(np.float64) * theirs["audio"]).sum(axis=1)
            same = (ours @ labels.T).argmax(axis=1) == (theirs["audio"] @ labels.T).argmax(axis=1)
            found[windows] = {"cosines": _named(files, cosines), "same label": _named(files, same)}
            if "text" in theirs:
                text = encoder.embed_text(LONG_TEXT)[0].astype(np.float64) @ theirs["text"]
                found[windows]["long text"] = float(text)
    return {"window": window, "fused": "fused" in name, **found}


def trained(files: list[Path], folder: Path) -> dict[str, Any]:
    """Cosines of clap-mini's own vectors to those that it gives behind the originals' samples."""
    write_bundle(load(ROOT / "models" / "clap-mini.safetensors"), folder / "bundle")
    found: dict[str, Any] = {}
    with Encoder(folder / "bundle", windows="head") as encoder:
        plain = encoder.embed_audio(list(map(str, files)))
        labels = encoder.embed_text([f"this is a sound of {label}" for label in SOUNDS])
    for name, quirks in (
        ("msclap", Quirks("torchaudio", "strung")), ("librosa", Quirks("librosa")),
    ):  # fmt: skip
        policy = Policy(name, "head", 1, quirks=quirks)
        with Encoder(folder / "bundle", windows=policy) as encoder:
            other = encoder.embed_audio(list(map(str, files)))
        cosines = (plain.astype(np.float64) * other).sum(axis=1)
        same = (plain @ labels.T).argmax(axis=1) == (other @ labels.T).argmax(axis=1)
        found[name] = {"cosines": _named(files, cosines), "same label": _named(files, same)}
    return found


SOUNDS = (
    "birds", "a car horn", "a cat", "a chainsaw", "church bells", "a clock", "fire", "a baby",
    "a dog", "knocking", "a guitar", "a helicopter", "an owl", "a siren", "rain", "a rooster",
    "sea waves", "a sneeze", "speech", "thunder",
)  # fmt: skip


def _named(files: list[Path], values: np.ndarray) -> dict[str, float]:
    return {path.stem: round(float(value), 7) for path, value in zip(files, values, strict=True)}


def main(python: str, folder: str, *names: str) -> None:
    """Compare, record, write."""
    sources = sorted(Path(folder).glob("*.wav"))
    with tempfile.TemporaryDirectory() as place:
        files = recordings.make(Path(place), sources)
        for name in names or (*NAMES, TRAINED):
            print(name, file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as inner:
                if name == TRAINED:
                    row = trained(files, Path(inner))
                else:
                    row = compared(name, python, files, Path(inner))
            found = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
            found[name] = row
            RESULT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    write()


if __name__ == "__main__":
    main(*sys.argv[1:])
