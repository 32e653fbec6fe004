"""Libraries of tiny recordings, and what must be in them, by slow twins."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from clap_export.library import sources, store
from clap_export.library.embed import Summary, Work, described, embed
from clap_export.library.item import Item
from clap_export.library.row import Row
from runtime import Encoder
from runtime.audio.facts import Facts
from runtime.clips.policy import Policy
from runtime.library.description import FORMAT, FORMAT_VERSION, Description, Model
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import RATE, WINDOW


def recordings(folder: Path, count: int, seed: int = 0, windows: float = 1.0) -> list[Path]:
    """Noise of so many windows each, as WAV."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:04d}.wav" for i in range(count)]
    for i, path in enumerate(paths):
        samples = tinybundle.clip(seed + i, int(windows * WINDOW))
        path.write_bytes(tinybundle.wav(samples, RATE))
    return paths


def shard(path: Path, members: dict[str, bytes]) -> Path:
    """A plain tar file."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def library(
    bundle: Path, given: Sequence[str | Path], out: Path, *, kind: Any = "float32",
    each_window: bool = False, windows: Any = None, rows: int = 8192, work: Work | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Summary:  # fmt: skip
    """Embed into a library, as the command does."""
    with Encoder(bundle, windows=windows, threads=1) as encoder:
        wanted = described(encoder, bundle, kind, each_window)
        found = sources.find([str(source) for source in given])
        with store.opened(out, wanted, rows) as opened:
            return embed(encoder, opened, found, work or Work(), say)


def rows(out: Path, kind: str = "parts") -> dict[tuple[str, str | None], dict[str, Any]]:
    """All rows as pyarrow alone reads them, by path and member; none may be there twice."""
    found: dict[Any, dict[str, Any]] = {}
    for path in sorted((out / kind).glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            key = row["path"], row["member"]
            assert key not in found, f"{key} is there twice"
            found[key] = row
    return found


def truth(path: Path, seed: int) -> np.ndarray:
    """The embedding of a recording of one window."""
    return tinybundle.slow_audio_embedding(tinybundle.clip(seed))


def of_vectors(out: Path, vectors: dict[str, np.ndarray], *, space: str = "tiny-space") -> Path:
    """A library of vectors, each of a recording of its own bytes; no sound is heard."""
    dim = len(next(iter(vectors.values())))
    said = Description(
        FORMAT, FORMAT_VERSION, space, f"{space}/default", dim, "float32", False,
        Policy("default"), Model("/nowhere", "tiny", "fp32", "0" * 64), {},
    )  # fmt: skip
    with store.opened(out, said) as opened:
        for i, (path, vector) in enumerate(vectors.items()):
            unit = (vector / np.linalg.norm(vector)).astype(np.float32)
            facts = Facts(16_000, 1, 1.0)
            opened.add(Row(Item(path, None, 1, i), f"{i:064x}", facts, 1, unit))
        opened.seal()
    return out
