"""Every reader of files, with good files to damage."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.audio import ffmpeg
from runtime.errors import ClapError
from tests.torture.mutate import damaged, damaged_json

Change = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Reader:
    """One reader under attack.

    Attributes:
        seeds: writes good inputs into a folder; returns what :attr:`read` takes.
        read: must return, or raise a ClapError, and nothing else.
        change: what is done to the bytes of a file.
        inside: of an input that is a folder, the file that is changed; ``*`` for any.
        mend: makes what describes the changed file (a hash) right again, so that only its content
            can be refused.
    """

    seeds: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    change: Change = damaged
    inside: str | None = None
    mend: Callable[[Path, str], None] = lambda folder, name: None

    @property
    def changed(self) -> str | None:
        """Of an input that is a folder, the one file that is changed where only one can be."""
        return "config.json" if self.inside == "*" else self.inside

    def damage(self, good: Path, work: Path, rng: random.Random) -> Path:
        """A damaged copy of a good input, in an empty folder."""
        name = self.inside
        if name == "*":
            name = rng.choice(sorted(path.name for path in good.iterdir()))
        data = (good if name is None else good / name).read_bytes()
        # Lists of words are JSON too, but far too long for it to pay.
        is_json = name is not None and name.endswith(".json") and len(data) < 100_000
        change = damaged_as_json if is_json else self.change
        return self.place(good, work, name, change(data, rng))

    def place(self, good: Path, work: Path, name: str | None, data: bytes) -> Path:
        """A copy of a good input with ``data`` as its content, or as that of one of its files."""
        made = work / good.name
        if name is None:
            made.write_bytes(data)
            return made
        made.mkdir()
        for path in good.iterdir():
            if path.name not in (name, "manifest.json"):
                (made / path.name).symlink_to(path)
            else:
                shutil.copy(path, made)
        (made / name).write_bytes(data)
        self.mend(made, name)
        return made


def damaged_as_json(data: bytes, rng: random.Random) -> bytes:
    """See :func:`tests.torture.mutate.damaged_json`."""
    return damaged_json(data.decode(), rng)


def _odd_text(data: bytes, rng: random.Random) -> bytes:
    odd = rng.choice((b"\0", b"\xff", b"[" * 50_000, b'"', b"\r", b"\n\n", b",", b"\xef\xbb\xbf"))
    at = rng.randrange(len(data) + 1)
    return data[:at] + odd + data[at:] if rng.random() < 0.4 else damaged(data, rng)


def _bundles(folder: Path) -> list[Path]:
    from tests.tiny import bundle

    return [bundle.build(folder / "bundle")]


def _right_hash(folder: Path, name: str) -> None:
    path = folder / "manifest.json"
    if name == path.name:
        return
    data = (folder / name).read_bytes()
    manifest = json.loads(path.read_text())
    entry = manifest["files"][name]
    entry["sha256"], entry["bytes"] = hashlib.sha256(data).hexdigest(), len(data)
    path.write_text(json.dumps(manifest))


def _bundle(name: str, read: Callable[[Path], object]) -> Reader:
    return Reader(_bundles, read, inside=name, mend=_right_hash)


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


def _signed(folder: Path) -> list[Path]:
    from runtime import signature
    from runtime.bundle import Bundle
    from tests.tiny import bundle
    from tests.torture.writers import keys

    made = bundle.build(folder / "bundle")
    private, _ = keys(made)
    signature.sign(made, Bundle(made).manifest_bytes, private)
    return [made]


def _read_signed(folder: Path) -> object:
    from runtime.bundle import Bundle

    return Bundle(folder, public_key=folder / "owner.pub")


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
    """No family has these keys, so that the good one is refused for that."""
    try:
        return _load(path)
    except ClapError as error:
        if path.parent.name == "good":
            return error
        raise


def _transformers(folder: Path) -> list[Path]:
    from tests.clap_export.checkpoints import test_transformers as made

    made.save(folder / "hf")
    return [folder / "hf"]


def _recordings(kind: str, subtype: str, suffix: str) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        import soundfile

        rng = np.random.default_rng(5)
        samples = 0.3 * rng.standard_normal((24_000, 2)) * np.linspace(0, 1, 24_000)[:, None]
        path = folder / f"clip.{suffix}"
        soundfile.write(path, samples, 24_000, format=kind, subtype=subtype)
        return [path]

    return seeds


def _by_ffmpeg(codec: str, suffix: str) -> Callable[[Path], list[Path]]:
    """Formats that libsndfile does not know: the program that decodes them makes them too."""

    def seeds(folder: Path) -> list[Path]:
        (source,) = _recordings("WAV", "PCM_16", "wav")(folder)
        path = folder / f"clip.{suffix}"
        program = str(ffmpeg.program())
        subprocess.run([program, "-y", "-i", source, "-c:a", codec, path], check=True)
        return [path]

    return seeds


def _decode(path: Path) -> object:
    from runtime import audio

    samples, rate = audio.load(path, max_seconds=60.0)[:2]
    assert samples.dtype == np.float32
    assert len(samples) <= 60 * rate
    return len(samples)


def _taggers(folder: Path) -> list[Path]:
    from clap_export.freeze.graph import freeze
    from runtime import Bundle, Encoder, LabelBank
    from tests.tiny import bundle

    made = bundle.build(folder / "bundle")
    with Encoder(made) as encoder:
        bank = LabelBank.build(encoder, ["dog", "rain", "bell"])
    path = folder / "tagger.onnx"
    path.write_bytes(freeze(Bundle(made), bank, "softmax", 2).SerializeToString())
    return [path]


def _read_tagger(path: Path) -> object:
    import runtime

    clip = np.sin(np.arange(20_000) * 0.05, dtype=np.float32)
    with runtime.Tagger(path, threads=1) as tagger:
        return tagger.predict(clip, 16_000)


def _graph_or_metadata(data: bytes, rng: random.Random) -> bytes:
    """Damage to a graph, or to what it says of itself, which is JSON."""
    import onnx

    if rng.random() < 0.4:
        return damaged(data, rng)
    model = onnx.load_model_from_string(data)
    entry = rng.choice(model.metadata_props)
    entry.value = damaged_json(entry.value, rng).decode(errors="replace")
    return model.SerializeToString()


def _embeddings(folder: Path) -> list[Path]:
    from train.distil import cache

    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    cache.write(folder / "teacher.npz", cache.CacheKey("teacher", "items", 10), rows)
    return [folder / "teacher.npz"]


def _read_embeddings(path: Path) -> object:
    from train.distil import cache

    return cache.read(path, cache.CacheKey("teacher", "items", 10))


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

MORE_AUDIO = {
    "m4a": ("aac", "m4a"), "webm": ("libopus", "webm"), "wma": ("wmav2", "wma"),
}  # fmt: skip

READERS: dict[str, Reader] = {
    "manifest": _bundle("manifest.json", _classify),
    "tokenizer": _bundle("tokenizer.json", _classify),
    "audio graph": _bundle("audio.onnx", _classify),
    "text graph": _bundle("text.onnx", _classify),
    "audio graph, openvino": _bundle("audio.onnx", _classify_openvino),
    "tagger": Reader(_taggers, _read_tagger, _graph_or_metadata),
    "label bank": Reader(_banks, _read_bank),
    "signature": Reader(_signed, _read_signed, inside="manifest.sig"),
    "key": Reader(_signed, _read_signed, inside="owner.pub"),
    "label file": Reader(_labels, _read_labels, _odd_text),
    "checkpoint": Reader(_checkpoints, _load),
    "pickle": Reader(_originals, _read_pt),
    "transformers folder": Reader(_transformers, _load, inside="*"),
    "teacher's embeddings": Reader(_embeddings, _read_embeddings),
    "training config": Reader(_configs, _read_config, _odd_text),
    "listing": Reader(_listings, _read_listing, _odd_text),
    **{name: Reader(_recordings(*kind), _decode) for name, kind in AUDIO.items()},
}
if ffmpeg.program() is not None:
    READERS |= {name: Reader(_by_ffmpeg(*kind), _decode) for name, kind in MORE_AUDIO.items()}
