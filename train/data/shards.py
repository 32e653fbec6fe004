"""WebDataset: tar files in which the files of one sample lie together and share a name.

The shards are indexed once, and clips are then read at their offsets in any order, so that draws
by weight stay what they are for files. That needs plain ``.tar`` files on a disk; of compressed and
remote ones such copies are made (see :mod:`train.data.remote`).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.audio_files import is_audio
from runtime.errors import ClapError
from runtime.problems import listed
from train.config.text_file import parse_json
from train.data.remote import plain_tar
from train.data.table import Row, Table

# Texts are read into memory at once; no caption is larger.
MAX_TEXT_BYTES = 1 << 20


def read_shards(pattern: str, extension: str | None = None, cache: str | None = None) -> Table:
    """Samples of the shards that a pattern names.

    Columns: ``__key__`` and ``__url__`` (the shard's file name), one for each text file of the
    sample by its extension (``txt``, ``cls``, …), and the keys of a ``json`` file's object. The
    library's own rules split names: the key ends at the first dot of the file's name.

    Args:
        pattern: path or URL of a shard; ``{000..012}`` and ``::`` name several, as in the library.
        extension: of the audio files; default whichever of the known ones a sample has.
        cache: folder for plain copies of remote and compressed shards.

    Raises:
        ClapError: the library or a shard is missing, a shard is damaged, or samples lack audio,
            have several audio files, or a broken ``json`` (all are listed).
    """
    try:
        from webdataset.shardlists import expand_urls
    except ImportError as error:
        raise ClapError(
            f"kind 'webdataset' needs the library of that name ({error}): pip install webdataset"
        ) from error
    rows: list[Row] = []
    problems: list[str] = []
    seen: set[str] = set()
    for given in expand_urls(pattern):
        shard, name = plain_tar(given, cache), given.rsplit("/", 1)[-1]
        for key, members in _samples(shard):
            where = f"{name}: {key}"
            if where in seen:
                problems.append(f"{where} is there twice")
                continue
            seen.add(where)
            row = _row(shard, (name, key), members, where, extension, problems)
            if row is not None:
                rows.append(row)
    if problems:
        raise ClapError(f"shards {pattern}: {listed(problems)}.")
    if not rows:
        raise ClapError(f"shards {pattern} hold no samples.")
    return Table(Path(), rows, "__path__", captions=("txt",))


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, tuple[tarfile.TarInfo, bytes]]]]:
    """Key and files by extension of each sample; small files come with their content."""
    from webdataset.tariterators import base_plus_ext

    key, members = "", {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                name, extension = base_plus_ext(info.name)
                if not info.isfile() or name is None or extension is None:
                    continue
                if name != key and members:
                    yield key, members
                    members = {}
                key = name
                content = b""
                if not is_audio(f"x.{extension}") and info.size <= MAX_TEXT_BYTES:
                    file = tar.extractfile(info)
                    content = file.read() if file is not None else b""
                members[extension.lower()] = (info, content)
    except (OSError, tarfile.TarError) as error:
        raise ClapError(f"shard {shard} cannot be read as a plain tar file: {error}.") from error
    if members:
        yield key, members


def _row(
    shard: Path, place: tuple[str, str], members: dict[str, tuple[tarfile.TarInfo, bytes]],
    where: str, extension: str | None, problems: list[str],
) -> Row | None:  # fmt: skip
    if extension is not None:
        audio = [name for name in members if name == extension.lower().lstrip(".")]
    else:
        audio = [name for name in members if is_audio(f"x.{name}")]
    if len(audio) != 1:
        found = ", ".join(audio) or "none"
        problems.append(f"{where} must have one audio file, has {found}")
        return None
    columns: dict[str, Any] = {"__key__": place[1], "__url__": place[0], "__path__": str(shard)}
    for name, (_, content) in members.items():
        if name in audio:
            continue
        try:
            if name == "json":
                columns.update(_object(content))
            else:
                columns[name] = content.decode("utf-8")
        except UnicodeDecodeError:
            continue  # not a text: a picture, an array
        except ValueError as error:
            problems.append(f"{where}.json: {error}")
            return None
    info = members[audio[0]][0]
    return Row(where, columns, (info.offset_data, info.size))


def _object(content: bytes) -> dict[str, Any]:
    found = parse_json(content)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found
