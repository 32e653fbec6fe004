"""Shards that are elsewhere or compressed, as plain tar files in a folder of one's own.

Clips are read at their offsets, in any order, which needs a file that can be sought in. So a shard
is fetched and unpacked once, and stays where the config says.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

from runtime.errors import ClapError
from runtime.files import writing

log = logging.getLogger(__name__)

# By the ending of the name; the words are fsspec's.
COMPRESSIONS = {
    ".gz": "gzip", ".tgz": "gzip", ".bz2": "bz2", ".xz": "xz", ".lzma": "lzma", ".zst": "zstd",
}  # fmt: skip


def plain_tar(shard: str, cache: str | None) -> Path:
    """A shard as a plain file: itself, or its copy, which is made if it is not there.

    Args:
        shard: a path, or a URL of any kind that fsspec knows, such as ``s3://bucket/000.tar``.
        cache: folder of the copies. A copy is not looked at again: remove it when a remote shard
            has changed.

    Raises:
        ClapError: there is no such folder, fsspec or its part for the URL is not installed, or the
            shard cannot be fetched.
    """
    compression = next((kind for end, kind in COMPRESSIONS.items() if shard.endswith(end)), None)
    remote = "://" in shard
    if not remote and compression is None:
        return Path(shard)
    what = "remote" if remote else "compressed"
    if cache is None:
        raise ClapError(
            f"shard {shard} is {what}: name a folder for plain copies of it in the listing, as "
            "cache = 'DIR'."
        )
    copy = Path(cache) / f"{_mark(shard, remote)}.tar"
    if copy.is_file():
        return copy
    try:
        import fsspec
    except ImportError as error:
        raise ClapError(
            f"shard {shard} is {what}, and fsspec is not installed: pip install "
            "'clap-export[remote]'."
        ) from error
    log.info("fetching %s", shard)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClapError(f"cache {cache} cannot be made a folder: {error.strerror}.") from error
    with writing(copy) as part:
        try:
            opened: Any = fsspec.open(shard, "rb", compression=compression)
            with opened as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except Exception as error:  # of every kind that a protocol's library has
            reason = (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
            raise ClapError(f"shard {shard} cannot be fetched ({reason}).") from error
    return copy


def _mark(shard: str, remote: bool) -> str:
    """A name for the copy: of the shard's, and of what a local file can be told apart by."""
    known = [shard]
    if not remote:
        try:
            stat = Path(shard).stat()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ClapError(f"shard {shard} cannot be read: {reason}.") from error
        known += [str(stat.st_size), str(stat.st_mtime_ns)]
    return hashlib.sha256("\n".join(known).encode("utf-8", "surrogateescape")).hexdigest()[:24]
