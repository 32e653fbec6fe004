"""A cache of a teacher's embeddings fits its teacher and its items, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ClapError
from train.distil.cache import CacheKey, kept, read, write

KEY = CacheKey.of("space", ["a", "b"])
VECTORS = np.array([[0.25, 0.5], [1.0, -2.0]], np.float32)


def test_gives_back_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.npz"
    assert read(path, KEY) is None
    kept = write(path, KEY, VECTORS)
    found = read(path, CacheKey.of("space", iter(["a", "b"])))
    assert found is not None
    assert found.dtype == kept.dtype == np.float16
    assert np.array_equal(found, VECTORS)
    assert np.array_equal(kept, VECTORS)
    assert [item.name for item in path.parent.iterdir()] == ["cache.npz"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            CacheKey.of("elsewhere", ["a", "b"]),
            r"another teacher \(space, .* elsewhere\)",
        ),
        (CacheKey.of("space", ["a", "c"]), "of other clips or texts"),  # as many rows
        (CacheKey.of("space", ["b", "a"]), "of other clips or texts"),
        (CacheKey.of("space", ["ab"]), "of other clips or texts"),
    ],
)
def test_another_teacher_or_list_is_refused(tmp_path: Path, other: CacheKey, message: str) -> None:
    write(tmp_path / "cache.npz", KEY, VECTORS)
    with pytest.raises(ClapError, match=message):
        read(tmp_path / "cache.npz", other)


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "rows.npz", embeddings=VECTORS)  # right rows, but whose?
    whole = tmp_path / "whole.npz"
    write(whole, KEY, VECTORS)
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:-40])
    for name in ("text.npz", "rows.npz", "cut.npz"):
        with pytest.raises(ClapError, match=f"{name} is no cache of a teacher's embeddings"):
            read(tmp_path / name, KEY)


@pytest.mark.parametrize(
    ("embeddings", "problem"),
    [
        (VECTORS, "2x2 of float32, not 2 rows of float16"),
        (VECTORS.astype(np.float16)[0], "2 of float16, not 2 rows"),
        (VECTORS.astype(np.float16)[:1], "1x2 of float16, not 2 rows"),
        (np.full((2, 2), np.nan, np.float16), "not finite"),
    ],
)
def test_embeddings_of_another_kind_are_refused(
    tmp_path: Path, embeddings: np.ndarray, problem: str
) -> None:
    path = tmp_path / "forged.npz"
    np.savez(path, teacher=KEY.teacher, items=KEY.items, embeddings=embeddings)
    with pytest.raises(ClapError, match=f"is no cache .*{problem}"):
        read(path, KEY)


def test_embeddings_are_made_once(tmp_path: Path) -> None:
    path, made = tmp_path / "cache.npz", []

    def make() -> np.ndarray:
        made.append(1)
        return VECTORS

    for _ in range(2):
        assert np.array_equal(kept(path, KEY, 2, make), VECTORS)
    assert len(made) == 1
    assert kept(None, KEY, 2, make).dtype == np.float16
    with pytest.raises(ClapError, match="of 2 dimensions, not 3"):
        kept(path, KEY, 3, make)


def test_what_the_items_share_is_part_of_the_key() -> None:
    assert CacheKey.of("t", ["a"], 0.5) != CacheKey.of("t", ["a"], 0.75)
    assert CacheKey.of("t", ["a"], 0.5).count == 1


def test_no_damage_raises_anything_else(tmp_path: Path) -> None:
    """300 files with bytes changed or cut: the embeddings that were kept, or ClapError."""
    rng, path = np.random.default_rng(0), tmp_path / "cache.npz"
    write(path, KEY, VECTORS)
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for at in rng.integers(len(content), size=rng.integers(1, 4)).tolist():
            content[at % len(content)] = int(rng.integers(256))
        path.write_bytes(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
        try:
            read(path, KEY)
        except ClapError:
            refused += 1
    assert refused > 150


def test_paths_that_no_cache_can_have(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(ClapError, match="is no cache"):
            read(path, KEY)
    (tmp_path / "file").touch()
    with pytest.raises(ClapError, match="cannot be written"):
        write(tmp_path / "file" / "below" / "cache.npz", KEY, VECTORS)
    with pytest.raises(ClapError, match="is a folder"):
        write(tmp_path, KEY, VECTORS)
