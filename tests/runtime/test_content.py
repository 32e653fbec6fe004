"""What was hashed is what is loaded, on every route."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from runtime import Encoder
from runtime.bundle import Bundle
from runtime.content import Content
from runtime.errors import BundleError, ClapError
from tests.tiny import bundle as tinybundle

WINDOW = tinybundle.clip(0)[np.newaxis]


def swapped(folder: Path) -> tuple[Path, bytes, bytes]:
    """A bundle, its audio graph, and one of the same length with other weights."""
    path = tinybundle.build(folder / "b") / "audio.onnx"
    good = path.read_bytes()
    weights = tinybundle.MATRIX.tobytes()
    assert good.count(weights) == 1
    return path, good, good.replace(weights, tinybundle.MATRIX[::-1].tobytes())


def embed(folder: Path | Bundle, **options: bool) -> np.ndarray:
    with Encoder(folder, threads=1, **options) as encoder:
        return encoder.embed_windows(WINDOW)


def test_a_file_that_is_swapped_after_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, evil = swapped(tmp_path)
    want = embed(path.parent)
    read = Content.read.__func__  # type: ignore[attr-defined]

    def then_swap(cls: type[Content], where: Path, *rest: type[ClapError]) -> Content:
        found = read(cls, where, *rest)
        path.write_bytes(evil)
        return found

    monkeypatch.setattr(Content, "read", classmethod(then_swap))
    assert np.array_equal(embed(path.parent), want)


def test_an_opened_bundle_that_is_changed_afterwards(tmp_path: Path) -> None:
    path, _, evil = swapped(tmp_path)
    opened, unchecked = Bundle(path.parent), Bundle(path.parent, check_hashes=False)
    want = embed(opened)
    path.write_bytes(evil)
    with pytest.raises(BundleError, match=r"'audio\.onnx' does not have the recorded SHA-256"):
        embed(opened)
    assert not np.array_equal(embed(unchecked), want)  # nobody asked for hashes
    path.write_bytes(b"abc")
    with pytest.raises(BundleError, match="has 3 bytes"):
        embed(unchecked)


def _flip(path: Path, contents: tuple[bytes, bytes]) -> None:
    rng, other = random.Random(0), path.with_name("other")
    while True:
        for content in contents:
            other.write_bytes(content)
            other.replace(path)
            time.sleep(rng.random() * 0.002)


def test_a_race_against_one_who_swaps(tmp_path: Path) -> None:
    path, good, evil = swapped(tmp_path)
    want = embed(path.parent)
    swapper = multiprocessing.get_context("fork").Process(target=_flip, args=(path, (good, evil)))
    swapper.start()
    outcomes: list[bool] = []
    tries = 0
    try:
        # Whoever swaps may stand still while the evil one is there.
        end = time.monotonic() + 60
        while (tries := tries + 1) <= 150 or not (outcomes or time.monotonic() > end):
            try:
                outcomes.append(bool(np.array_equal(embed(path.parent), want)))
            except BundleError:
                continue
    finally:
        swapper.kill()
        swapper.join()
    assert outcomes
    assert all(outcomes)


@pytest.mark.parametrize("name", ["audio.onnx", "text.onnx", "tokenizer.json"])
@pytest.mark.parametrize("change", ["gone", "folder", "pipe", "refused"])
def test_a_file_that_vanished_or_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: str
) -> None:
    folder = tinybundle.build(tmp_path / "b")
    encoder = Encoder(folder)
    if change == "refused":  # root may read everything
        real = os.open

        def refused(path: str, *rest: int) -> int:
            if str(path).endswith(name):
                raise PermissionError(13, "Permission denied")
            return real(path, *rest)

        monkeypatch.setattr(os, "open", refused)
    else:
        (folder / name).unlink()
        if change == "folder":
            (folder / name).mkdir()
        if change == "pipe":
            os.mkfifo(folder / name)
    for use in (
        lambda: (encoder.embed_windows(WINDOW), encoder.embed_text("dog")),
        lambda: Bundle(folder),
        lambda: Bundle(folder, check_hashes=False),
    ):
        with pytest.raises(BundleError, match=name):
            use()


def test_an_engine_does_not_keep_the_file(tiny_bundle: Path) -> None:
    from runtime.backends import open_backend

    content = Content.read(tiny_bundle / "audio.onnx")
    before = sys.getrefcount(content.data)
    backend = open_backend(content)
    after = sys.getrefcount(content.data)
    assert after == before
    backend.close()
