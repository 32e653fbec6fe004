"""A teacher's embeddings on disk, with the proof of whose they are and of what.

An ``.npz`` of ``teacher`` and ``items`` (two hashes) and ``embeddings`` ``[items, dim]`` float16.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import ClapError
from runtime.files import writing


@dataclass(frozen=True)
class CacheKey:
    """What a cache is good for.

    Attributes:
        teacher: name of the teacher, or of its embedding space.
        items: hash of what was embedded, in order.
        count: number of items.
    """

    teacher: str
    items: str
    count: int

    @classmethod
    def of(cls, teacher: str, items: Iterable[object], *common: object) -> CacheKey:
        """The key of a list of plain values (anything that JSON can say), and of what they share,
        such as their length."""
        each = list(items)
        content = json.dumps([*common, *each]).encode()
        return cls(teacher, hashlib.sha256(content).hexdigest(), len(each))


def kept(path: Path | None, key: CacheKey, dim: int, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Embeddings ``[items, dim]`` float16: read if they are there, else made, and kept.

    Args:
        path: of the cache; None keeps nothing.
        key: what it must be of.
        dim: length of an embedding.
        make: the embeddings.

    Raises:
        ClapError: see :func:`read`; or the cache cannot be written.
    """
    if path is None:
        return make().astype(np.float16)
    stored = read(path, key)
    if stored is None:
        return write(path, key, make())
    if stored.shape[1] != dim:
        raise _no_cache(path, f"embeddings of {stored.shape[1]} dimensions, not {dim}")
    return stored


def read(path: Path, key: CacheKey) -> np.ndarray | None:
    """The embeddings ``[items, dim]`` float16; None if there is no such file.

    Raises:
        ClapError: the file is damaged, or belongs to another teacher or to other items.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            teacher, items = str(stored["teacher"]), str(stored["items"])
            embeddings = np.asarray(stored["embeddings"])
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive raises anything, out of zipfile, zlib and numpy
        raise _no_cache(path, error) from error
    if teacher != key.teacher:
        raise ClapError(
            f"{path} holds the embeddings of another teacher ({teacher}, asked for is "
            f"{key.teacher}): delete it or name another."
        )
    if items != key.items:
        raise ClapError(
            f"{path} holds the teacher's embeddings of other clips or texts than the config "
            "names: delete it or name another."
        )
    if embeddings.dtype != np.float16 or embeddings.ndim != 2 or len(embeddings) != key.count:
        shape = "x".join(map(str, embeddings.shape))
        wanted = f"{key.count} rows of float16"
        raise _no_cache(path, f"it holds {shape} of {embeddings.dtype}, not {wanted}")
    if not np.isfinite(embeddings).all():
        raise _no_cache(path, "it holds numbers that are not finite")
    return embeddings


def write(path: Path, key: CacheKey, embeddings: np.ndarray) -> np.ndarray:
    """Keep embeddings; returns them as :func:`read` will.

    Raises:
        ClapError: the file cannot be written.
    """
    embeddings = embeddings.astype(np.float16)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClapError(f"{path} cannot be written: {error.strerror or error}.") from error
    # By name, numpy would append .npz.
    with writing(path) as part, part.open("wb") as file:
        np.savez(
            file, teacher=np.array(key.teacher), items=np.array(key.items), embeddings=embeddings
        )
    return embeddings


def _no_cache(path: Path, problem: object) -> ClapError:
    return ClapError(
        f"{path} is no cache of a teacher's embeddings ({problem}): delete it or name another."
    )
