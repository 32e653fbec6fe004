"""Files that are not checkpoints, damaged ones, and pickles that would run code."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests import tiny


class Bomb:
    """Unpickling this makes a folder: the sign that code was run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def zip_format(data: object, path: Path) -> None:
    torch.save(data, path)


def legacy_format(data: object, path: Path) -> None:
    torch.save(data, path, _use_new_zipfile_serialization=False)


def bare_pickle(data: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(data, protocol=2))


def newer_pickle(data: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(data, protocol=5))


WRITERS = {"zip": zip_format, "legacy": legacy_format, "bare": bare_pickle, "newer": newer_pickle}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("hidden", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(
    writer: str, suffix: str, hidden: bool, tmp_path: Path
) -> None:
    mark, path = tmp_path / "mark", tmp_path / f"bad{suffix}"
    bomb = Bomb(mark)
    WRITERS[writer]({"format": "clap-export-checkpoint", "x": bomb} if hidden else bomb, path)
    with pytest.raises(ClapError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "could run code when opened and was refused" in str(caught.value)
    if writer != "newer":  # torch does not get as far as the call in protocols above 2
        assert f"it asks for {os.name}.mkdir" in str(caught.value)
    assert not mark.exists()
    # The payload is live: whoever trusts the file does run it.
    if writer in ("bare", "newer"):
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.is_dir()


@pytest.mark.parametrize("writer", ["zip", "legacy"])
def test_both_formats_of_torch_save_are_read(writer: str, tmp_path: Path) -> None:
    data = torch.load(tiny.save(tmp_path / "m.pt"), weights_only=True)
    WRITERS[writer](data, tmp_path / "again.pt")
    assert load(tmp_path / "again.pt").space_id() == tiny.checkpoint().space_id()


@pytest.mark.parametrize("length", [0, 1, 2, 4, 7, 8, 9, 100, 5000])
@pytest.mark.parametrize("head", [b"", b"\x80\x02", b"\x80\x04\x95", b"PK\x03\x04", b"\x80"])
def test_random_bytes_are_refused(length: int, head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "noise.pt"
    for seed in range(5):
        path.write_bytes(head + np.random.default_rng(seed).bytes(length))
        with pytest.raises(ClapError, match=r"noise\.pt"):
            load(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(suffix: str, kept: float, tmp_path: Path) -> None:
    path = tiny.save(tmp_path / f"m{suffix}")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * kept)])
    with pytest.raises(ClapError, match=r"opy it again"):
        load(path)


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_legacy_files_are_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    legacy_format(torch.load(tiny.save(tmp_path / "z.pt"), weights_only=True), path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * kept)])
    with pytest.raises(ClapError, match=r"m\.pt"):
        load(path)


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="--family laion reads files"):
        load(tmp_path, family="laion")
    with pytest.raises(ClapError, match=r"nowhere\.pt does not exist"):
        load(tmp_path / "nowhere.pt")


def test_safetensors_of_no_known_family(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    tensors = {f"layer{i}": torch.zeros(1) for i in range(5)}
    for metadata in (None, {"format": "pt"}, {"clap_export": '{"format": "other"}'},
                     {"clap_export": "[1, 2]"}):  # fmt: skip
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(ClapError, match=r"no family.*native.*layer0, layer1, layer2"):
            load(path)
    save_file(tensors, path, metadata={"clap_export": "not json"})
    with pytest.raises(ClapError, match=r"other\.safetensors"):
        load(path)


@pytest.mark.parametrize(
    "data",
    [
        {"model.weight": torch.zeros(2)},
        {"state_dict": {"model.weight": torch.zeros(2)}},
        {"state_dict": {1: torch.zeros(2), "a": torch.zeros(2)}},
        [torch.zeros(2)],
        torch.zeros(2),
        3,
    ],
)
def test_torch_files_of_no_known_family(data: object, tmp_path: Path) -> None:
    torch.save(data, tmp_path / "other.pt")
    with pytest.raises(ClapError, match="no family that clap-export knows"):
        load(tmp_path / "other.pt")


@pytest.mark.parametrize("second", [0x02, 0x04])
def test_safetensors_whose_first_bytes_look_like_a_pickle(second: int, tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "m.safetensors")
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    # The format allows spaces behind the header; its length starts the file, lowest byte first.
    wanted = (length // 0x10000 + 1) * 0x10000 + second * 0x100 + 0x80
    header = raw[8 : 8 + length].ljust(wanted)
    path.write_bytes(struct.pack("<Q", wanted) + header + raw[8 + length :])
    assert path.read_bytes()[:2] == bytes([0x80, second])
    assert load(path).space_id() == tiny.checkpoint().space_id()
