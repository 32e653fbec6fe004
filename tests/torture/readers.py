"""Every reader of files, with good files to damage."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.torture.mutate import damaged, damaged_json


@dataclass(frozen=True)
class Reader:
    """One reader under attack.

    Attributes:
        seeds: writes good inputs into a folder; returns what :attr:`read` takes.
        damage: writes a damaged copy of a good input into an empty folder; returns its path.
        read: must return, or raise a ClapError, and nothing else.
    """

    seeds: Callable[[Path], list[Path]]
    damage: Callable[[Path, Path, random.Random], Path]
    read: Callable[[Path], object]


def _file(good: Path, work: Path, rng: random.Random) -> Path:
    made = work / good.name
    made.write_bytes(damaged(good.read_bytes(), rng))
    return made


def _text(good: Path, work: Path, rng: random.Random) -> Path:
    made = work / good.name
    data = good.read_bytes()
    pick = rng.random()
    odd = rng.choice((b"\0", b"\xff", b"[" * 50_000, b'"', b"\r", b"\n\n", b",", b"\xef\xbb\xbf"))
    at = rng.randrange(len(data) + 1)
    made.write_bytes(data[:at] + odd + data[at:] if pick < 0.4 else damaged(data, rng))
    return made


def _bundles(folder: Path) -> list[Path]:
    from tests.tiny import bundle

    return [bundle.build(folder / "bundle")]


def _in_bundle(name: str, how: Callable[[bytes, random.Random], bytes]) -> Any:
    """Damage one file of a bundle, and make the manifest's hash right: only parsing can refuse."""

    def damage(good: Path, work: Path, rng: random.Random) -> Path:
        from runtime.bundle import sha256_file

        made = work / good.name
        shutil.copytree(good, made)
        (made / name).write_bytes(how((good / name).read_bytes(), rng))
        if name != "manifest.json":
            manifest = json.loads((made / "manifest.json").read_text())
            entry = manifest["files"][name]
            entry["sha256"], entry["bytes"] = sha256_file(made / name), (made / name).stat().st_size
            (made / "manifest.json").write_text(json.dumps(manifest))
        return made

    return damage


def _as_json(data: bytes, rng: random.Random) -> bytes:
    return damaged_json(data.decode(), rng)


def _classify(folder: Path) -> object:
    import runtime

    clip = np.sin(np.arange(20_000) * 0.05, dtype=np.float32)
    with runtime.Classifier(folder, ["dog", "rain"], threads=1) as classifier:
        return classifier.predict(clip, 16_000)


def _classify_openvino(folder: Path) -> object:
    import runtime

    clip = np.sin(np.arange(20_000) * 0.05, dtype=np.float32)
    made = runtime.Classifier(folder, ["dog"], threads=1, providers=("openvino",))
    with made as classifier:
        return classifier.predict(clip, 16_000)


def _banks(folder: Path) -> list[Path]:
    from runtime import Encoder, LabelBank
    from tests.tiny import bundle

    with Encoder(bundle.build(folder / "bundle")) as encoder:
        LabelBank.build(encoder, ["dog", "rain", "bell"]).save(folder / "bank.npz")
    return [folder / "bank.npz"]


def _read_bank(path: Path) -> object:
    from runtime import LabelBank

    mapped = path.stat().st_size % 2 == 1
    return np.asarray(LabelBank.load(path, mmap=mapped).embeddings).sum()


def _labels(folder: Path) -> list[Path]:
    (folder / "labels.txt").write_text("dog barking\n# a comment\nrain\n\nsea waves\n")
    return [folder / "labels.txt"]


def _read_labels(path: Path) -> object:
    from runtime.labels import read_labels

    return read_labels(path)


def _checkpoints(folder: Path) -> list[Path]:
    from tests import tiny

    # Of different suffixes, as the suffix chooses the format.
    return [tiny.save(folder / "a.safetensors"), tiny.save(folder / "a.pt", "htsat", "gpt2-last")]


def _load(path: Path) -> object:
    from clap_export.checkpoints import load

    return load(path)


def _originals(folder: Path) -> list[Path]:
    import torch

    state = {
        "state_dict": {f"layer.{i}.weight": torch.randn(3, 4 + i) for i in range(4)},
        "epoch": 3, "loss": np.float64(0.5), "name": "x", "sizes": torch.Size([1, 2]),
    }  # fmt: skip
    torch.save(state, folder / "b.pt")
    return [folder / "b.pt"]


def _read_pt(path: Path) -> object:
    return _load(path)


def _transformers(folder: Path) -> list[Path]:
    from tests.clap_export.checkpoints import test_transformers as made

    made.save(folder / "hf")
    return [folder / "hf"]


def _in_folder(good: Path, work: Path, rng: random.Random) -> Path:
    made = work / good.name
    made.mkdir()
    names = sorted(path.name for path in good.iterdir())
    for name in names:
        (made / name).symlink_to(good / name)
    name = rng.choice(names)
    data = (good / name).read_bytes()
    (made / name).unlink()
    if rng.random() < 0.05:
        (made / name).mkdir()
    elif rng.random() > 0.05:
        is_json = name.endswith(".json") and name != "vocab.json"
        (made / name).write_bytes(_as_json(data, rng) if is_json else damaged(data, rng))
    return made


def _recordings(kind: str, subtype: str, suffix: str) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        import soundfile

        rng = np.random.default_rng(5)
        samples = 0.3 * rng.standard_normal((24_000, 2)) * np.linspace(0, 1, 24_000)[:, None]
        path = folder / f"clip.{suffix}"
        soundfile.write(path, samples, 24_000, format=kind, subtype=subtype)
        return [path]

    return seeds


def _decode(path: Path) -> object:
    from runtime import audio

    samples, rate = audio.load(path, max_seconds=60.0)[:2]
    assert samples.dtype == np.float32
    assert len(samples) <= 60 * rate
    return len(samples)


def _configs(folder: Path) -> list[Path]:
    from tests.places import RECIPES

    shutil.copy(RECIPES / "clap2022.toml", folder / "run.toml")
    return [folder / "run.toml"]


def _read_config(path: Path) -> object:
    from train.config.contrastive import load

    return load(path)


def _listings(folder: Path) -> list[Path]:
    (folder / "one.wav").write_bytes(b"x")
    (folder / "list.csv").write_text("path,label\none.wav,dog\none.wav,rain|dog\n")
    return [folder / "list.csv"]


def _read_listing(path: Path) -> object:
    from clap_export.parity.accuracy import read_listing

    return read_listing(path)


AUDIO = {
    "wav": ("WAV", "PCM_16", "wav"), "wav-float": ("WAV", "FLOAT", "wav"),
    "wav-adpcm": ("WAV", "IMA_ADPCM", "wav"), "flac": ("FLAC", "PCM_16", "flac"),
    "vorbis": ("OGG", "VORBIS", "ogg"), "opus": ("OGG", "OPUS", "opus"),
    "mp3": ("MP3", "MPEG_LAYER_III", "mp3"), "aiff": ("AIFF", "PCM_24", "aiff"),
    "au": ("AU", "ULAW", "au"), "caf": ("CAF", "ALAC_16", "caf"), "w64": ("W64", "PCM_16", "w64"),
}  # fmt: skip

READERS: dict[str, Reader] = {
    "manifest": Reader(_bundles, _in_bundle("manifest.json", _as_json), _classify),
    "tokenizer": Reader(_bundles, _in_bundle("tokenizer.json", _as_json), _classify),
    "audio graph": Reader(_bundles, _in_bundle("audio.onnx", damaged), _classify),
    "text graph": Reader(_bundles, _in_bundle("text.onnx", damaged), _classify),
    "audio graph, openvino": Reader(
        _bundles, _in_bundle("audio.onnx", damaged), _classify_openvino
    ),
    "label bank": Reader(_banks, _file, _read_bank),
    "label file": Reader(_labels, _text, _read_labels),
    "checkpoint": Reader(_checkpoints, _file, _load),
    "pickle": Reader(_originals, _file, _read_pt),
    "transformers folder": Reader(_transformers, _in_folder, _load),
    "training config": Reader(_configs, _text, _read_config),
    "listing": Reader(_listings, _text, _read_listing),
    **{name: Reader(_recordings(*kind), _file, _decode) for name, kind in AUDIO.items()},
}
