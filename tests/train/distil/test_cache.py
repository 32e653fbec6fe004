"""A cache of a teacher's embeddings fits its teacher and its items, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ClapError
from train.distil.cache import CacheKey, read, write

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
