"""TensorFlow's checkpoints, read without it: by their format, and damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ClapError
from tests.tiny import tensor_bundle as written
from train.tagger.tensor_bundle import TensorBundle


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a/b": rng.standard_normal((2, 3)).astype(np.float32), "a/bc": np.array(7),
        "c": np.zeros((0, 4), np.float32),
    }  # fmt: skip


def test_what_is_written_by_the_format_is_read(tmp_path: Path) -> None:
    written.save(tmp_path / "v", tensors())
    bundle = TensorBundle(tmp_path / "v")
    assert list(bundle) == sorted(tensors())
    for name, value in tensors().items():
        assert np.array_equal(bundle.read(name), value)


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    """The index cut anywhere, or one byte of it changed: refused, or tensors of the same sizes."""
    written.save(tmp_path / "v", tensors())
    index, data = tmp_path / "v.index", tmp_path / "v.data-00000-of-00001"
    whole = index.read_bytes()
    damaged = [whole[:n] for n in range(len(whole))]
    damaged += [
        whole[:n] + bytes([whole[n] ^ flip]) + whole[n + 1 :]
        for n in range(len(whole)) for flip in (1, 0x80, 0xFF)
    ]  # fmt: skip
    refused = 0
    for content in damaged:
        index.write_bytes(content)
        try:
            bundle = TensorBundle(tmp_path / "v")
            for name in bundle:
                assert bundle.read(name).nbytes <= data.stat().st_size
        except ClapError as error:
            refused += str(error).count("\n") == 0
    assert refused > len(whole)
    index.write_bytes(whole)
    data.write_bytes(data.read_bytes()[:-3])
    with pytest.raises(ClapError, match=r"which holds a/bc, .*ends 3 bytes early"):
        TensorBundle(tmp_path / "v").read("a/bc")
    data.unlink()
    with pytest.raises(ClapError, match=r"which holds a/b, cannot be read \(No such file"):
        TensorBundle(tmp_path / "v").read("a/b")
    for prefix in (tmp_path / "none", tmp_path / "a\0b"):
        with pytest.raises(ClapError, match="cannot be read"):
            TensorBundle(prefix)
    shutil.rmtree(tmp_path)
