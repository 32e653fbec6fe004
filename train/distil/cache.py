"""A teacher's embeddings on disk, with the proof of whose they are and of what.

An ``.npz`` of ``teacher`` and ``items`` (two hashes) and ``embeddings`` ``[items, dim]`` float16.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import ClapError


@dataclass(frozen=True)
class CacheKey:
    """What a cache is good for.

    Attributes:
        teacher: name of the teacher, or of its embedding space.
        items: hash of what was embedded, in order.
    """

    teacher: str
    items: str

    @classmethod
    def of(cls, teacher: str, items: Iterable[object]) -> CacheKey:
        """The key of a list of plain values (anything that JSON can say)."""
        return cls(teacher, hashlib.sha256(json.dumps(list(items)).encode()).hexdigest())


def read(path: Path, key: CacheKey) -> np.ndarray | None:
    """The embeddings ``[items, dim]`` float16; None if there is no such file.

    Raises:
        ClapError: the file is damaged, or belongs to another teacher or to other items.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            teacher, items = str(stored["teacher"]), str(stored["items"])
            embeddings = stored["embeddings"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ClapError(
            f"{path} is no cache of a teacher's embeddings ({error}): delete it or name another."
        ) from error
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
    return embeddings


def write(path: Path, key: CacheKey, embeddings: np.ndarray) -> np.ndarray:
    """Keep embeddings; returns them as :func:`read` will."""
    embeddings = embeddings.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:  # by name, numpy would append .npz
        np.savez(
            file, teacher=np.array(key.teacher), items=np.array(key.items), embeddings=embeddings
        )
    part.replace(path)
    return embeddings
