"""Folders of classes and tar shards become the clips that tables would give."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from runtime.errors import ClapError
from tests import tiny
from train.config.data import ListingConfig
from train.data.clips import ClipStore
from train.data.listing import read_listing

SPEC = tiny.config().audio


def wav(folder: Path, seed: int) -> bytes:
    """A small WAV file's bytes."""
    return tiny.write_wav(folder / "x.wav", tiny.waveforms(1, 2000, seed)[0].numpy()).read_bytes()


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    for name in ("dog_bark/b.wav", "dog_bark/a.FLAC", "rain/fold1/c.ogg", "rain/notes.txt",
                 "top.wav", ".cache/d.wav", "rain/._c.wav"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    config = ListingConfig(str(tmp_path), kind="folders", rename={"dog_bark": "dog"})
    assert [(c.path.relative_to(tmp_path).as_posix(), c.label, c.names, c.captions)
            for c in read_listing(config)] == [
        ("dog_bark/a.FLAC", "dog", ("dog_bark",), ()),
        ("dog_bark/b.wav", "dog", ("dog_bark",), ()),
        ("rain/fold1/c.ogg", "rain", ("rain",), ()),
    ]  # fmt: skip
    (clip,) = read_listing(
        ListingConfig(str(tmp_path), kind="folders", where={"folder": ("rain/fold1",)})
    )
    assert clip.name == "rain/fold1/c.ogg"


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="has no audio files in folders"):
        read_listing(ListingConfig(str(tmp_path), kind="folders"))
    with pytest.raises(ClapError, match="is not a folder"):
        read_listing(ListingConfig(str(tmp_path / "none"), kind="folders"))


def shards(folder: Path) -> str:
    """Two shards of three clips, written by the library itself; returns their pattern."""
    number = 0
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"set-{shard:03d}.tar")) as writer:
            for _ in range(3):
                sample: dict[str, Any] = {
                    "__key__": f"clips/{number:04d}",
                    "wav": wav(folder, number),
                    "txt": f"Clip number {number}.",
                    "json": {"text": [f"number {number}", "a clip"], "fold": number % 2},
                    "jpg": b"\xff\xd8\xff\xe0",
                }
                writer.write(sample)
                number += 1
    return str(folder / "set-{000..001}.tar")


def test_shards_give_the_librarys_samples(tmp_path: Path) -> None:
    pattern = shards(tmp_path)
    clips = read_listing(ListingConfig(pattern, kind="webdataset"))
    urls = [str(tmp_path / f"set-{i:03d}.tar") for i in range(2)]
    truth = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(clips) == len(truth) == 6
    for clip, sample in zip(clips, truth, strict=True):
        assert clip.captions == (sample["txt"].decode(),)
        assert clip.member is not None
        offset, size = clip.member
        assert clip.path.read_bytes()[offset : offset + size] == sample["wav"]
        assert clip.where == f"{clip.path}: {clip.path.name}: {sample['__key__']}"


@pytest.mark.parametrize("memory", [None, 0])
def test_clips_of_shards_are_decoded_like_files(tmp_path: Path, memory: int | None) -> None:
    clips = read_listing(ListingConfig(shards(tmp_path), kind="webdataset"))
    store = ClipStore(clips, SPEC, memory=memory)
    for i in range(6):
        want = tiny.waveforms(1, 2000, i)[0].numpy()
        assert np.abs(store.waveform(i) - want).max() <= 0.5 / 32768 + 1e-7


def test_keys_of_json_are_columns(tmp_path: Path) -> None:
    config = ListingConfig(
        shards(tmp_path), audio="wav", kind="webdataset", captions=("text",), where={"fold": ("1",)}
    )
    assert [clip.captions[0] for clip in read_listing(config)] == ["number 1", "number 3",
                                                                   "number 5"]  # fmt: skip
    with pytest.raises(ClapError, match="no column title; it has text, fold, txt"):
        read_listing(ListingConfig(config.path, kind="webdataset", captions=("title",)))


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def test_problems_in_shards_are_all_listed(tmp_path: Path) -> None:
    sound = wav(tmp_path, 0)
    members = {
        "a.wav": sound, "a.txt": b"a", "b.txt": b"b", "c.wav": sound, "c.flac": b"x",
        "d.wav": sound, "d.json": b"{", "e.wav": sound, "e.json": json.dumps([1]).encode(),
        "f.wav": sound, "f.txt": b"f", "g.wav": sound, "g.txt": b"g", "f.txt ": b"f",
    }  # fmt: skip
    path = tar(tmp_path / "bad.tar", members)
    with pytest.raises(ClapError) as caught:
        read_listing(ListingConfig(str(path), kind="webdataset"))
    for problem in ("bad.tar: b must have one audio file, has none",
                    "bad.tar: c must have one audio file, has wav, flac",
                    "bad.tar: d.json: ", "bad.tar: e.json: no JSON object",
                    "bad.tar: f is there twice"):  # fmt: skip
        assert problem in str(caught.value)


def test_shards_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar file" * 100)
    for name in ("x.tar", "missing.tar"):
        with pytest.raises(ClapError, match="cannot be read as a plain tar file"):
            read_listing(ListingConfig(str(tmp_path / name), kind="webdataset"))
    path = tar(tmp_path / "empty.tar", {"README": b"x"})
    with pytest.raises(ClapError, match="hold no samples"):
        read_listing(ListingConfig(str(path), kind="webdataset"))
