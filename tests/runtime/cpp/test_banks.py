"""A bank whose array has a damaged header is refused, as numpy refuses it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import Encoder, LabelBank
from runtime.errors import LabelError
from tests.tiny import bundle as tiny


@pytest.fixture(scope="module")
def kit(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, and a bank of it."""
    folder = tmp_path_factory.mktemp("kit")
    shutil.copytree(tiny_bundle, folder / "bundle")
    with Encoder(tiny_bundle) as encoder:
        LabelBank.build(encoder, tiny.LABELS).save(folder / "whole.npz")
    return folder


@pytest.mark.parametrize(
    ("old", "new", "good"),
    [
        (b"}  ", b"}  ", True),
        (b"}  ", b"} 9", False),  # something behind the table
        (b"}  ", b"}\0 ", False),
        (b"}  ", b"}} ", False),
        (b"'shape'", b"'shade'", False),
        (b"(5, 8), }", b"(05, 8),}", False),
        (
            b"'<f4', 'fortran_order': False, 'shape': (5, 8), }",
            b"'<f4','shape':(5,8),'fortran_order':False}       ",
            True,
        ),
    ],
)
def test_headers_of_arrays(
    ask: Callable[..., Any], kit: Path, old: bytes, new: bytes, good: bool
) -> None:
    path = kit / "bank.npz"
    with zipfile.ZipFile(kit / "whole.npz") as whole, zipfile.ZipFile(path, "w") as made:
        for name in whole.namelist():
            data = whole.read(name)
            changed = data.replace(old, new, 1) if name == "embeddings.npy" else data
            assert (changed == data) == (old == new or name != "embeddings.npy")
            made.writestr(name, changed)
    answer = ask("bank", kit, bank="bank.npz", bundle="bundle")
    if good:
        assert answer["outputs"]["names"] == tiny.LABELS
        return
    assert answer["error"]["code"] == "label"
    assert "an array's header cannot be read" in answer["error"]["message"]
    with pytest.raises(LabelError, match="an array's header cannot be read"):
        LabelBank.load(path)
