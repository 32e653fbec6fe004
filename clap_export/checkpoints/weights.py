"""The files that a checkpoint lies in: JSON, and weights in one file or in shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from clap_export.checkpoints import torch_file
from runtime.bundle import sha256_file
from runtime.errors import ClapError
from runtime.manifest import Source

MAX_JSON_BYTES = 64 << 20  # the largest tokenizers have 20 MB
INDEX = ".index.json"
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Origin:
    """The files that weights came from.

    Attributes:
        name: of the file, or of the index that lists the shards.
        files: all of them, in order.
    """

    name: str
    files: tuple[Path, ...]

    def source(self, family: str, licence: str) -> Source:
        """What the manifest says of it; the hash of shards is that of their hashes, in lines."""
        hashes = [sha256_file(path) for path in self.files]
        if len(hashes) == 1:
            return Source(family, self.name, hashes[0], licence)
        joined = "".join(f"{value}\n" for value in hashes)
        return Source(family, self.name, hashlib.sha256(joined.encode()).hexdigest(), licence)


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        where: what to call it in a message.
        data: of a safetensors file its tensors by name; of a file of `torch.save` its object.
        metadata: of a safetensors file.
        origin: where it came from.
    """

    where: str
    data: Any
    metadata: dict[str, str]
    origin: Origin


def parse_json(text: str, where: str) -> Any:
    """The content of a JSON document.

    Raises:
        ClapError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ClapError(f"{where} cannot be read as JSON ({reason}).") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ClapError: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ClapError(
            f"{path} cannot be read ({reason}). A checkpoint folder holds a config and weights; "
            "docs/checkpoints.md names the files of each family."
        ) from error
    _check_downloaded(path, text[:64].encode(errors="replace"))
    data = parse_json(text, str(path))
    return data if isinstance(data, dict) else {}


def read_file(path: Path) -> Weights:
    """The content of one file of weights; its bytes tell the format, not its name.

    Raises:
        ClapError: it is unreadable, damaged, or holds more than tensors and plain values.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ClapError(f"{path} cannot be read ({error.strerror or error}).") from error
    _check_downloaded(path, head)
    origin = Origin(path.name, (path,))
    if torch_file.is_torch_file(head):
        return Weights(str(path), torch_file.read(path), {}, origin)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            data = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise ClapError(
            f"{path} is neither a safetensors file nor one of torch.save ({reason}). "
            "It may be damaged: copy it again."
        ) from error
    return Weights(str(path), data, metadata, origin)


def read_weights(folder: Path, names: Sequence[str]) -> Weights:
    """The first of these files that is there, whole or as an index with its shards.

    Raises:
        ClapError: none is there, it is unreadable, or shards are missing or do not fit their index.
    """
    for name in names:
        if (folder / name).is_file():
            return read_file(folder / name)
        if (folder / f"{name}{INDEX}").is_file():
            return _read_shards(folder, f"{name}{INDEX}")
    raise ClapError(
        f"{folder} holds no {' or '.join(names)} (nor an index of shards: NAME{INDEX}), so no "
        "weights."
    )


def _read_shards(folder: Path, index: str) -> Weights:
    where = folder / index
    table = read_json(where).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(f, str) for f in table.values()):
        raise ClapError(f"{where} has no 'weight_map' of tensors to files. Download it again.")
    files = sorted(set(table.values()))
    outside = [name for name in files if Path(name).name != name or name in ("", ".", "..")]
    if outside:
        raise ClapError(f"{where} names files outside its folder: {', '.join(outside[:9])}.")
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise ClapError(
            f"{where} lists shards that are not there: {', '.join(missing[:9])}. Download them too."
        )
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name in files:
        data = read_file(folder / name).data
        held = data if isinstance(data, dict) else {}
        wanted = {tensor for tensor, shard in table.items() if shard == name}
        problems += [f"'{t}' is not in {name}" for t in sorted(wanted - held.keys())]
        others = sorted(map(str, held.keys() - wanted))
        problems += [f"'{t}' is in {name}, but not listed there" for t in others]
        found |= {tensor: held[tensor] for tensor in wanted & held.keys()}
    if problems:
        raise ClapError(f"{where} does not fit its shards: {'; '.join(problems[:99])}.")
    return Weights(str(where), found, {}, Origin(index, tuple(folder / name for name in files)))


def _check_downloaded(path: Path, head: bytes) -> None:
    """Refuse the text that git leaves in the place of a large file."""
    if head.startswith(_LFS):
        raise ClapError(
            f"{path} is a git-lfs pointer, not the file itself: run 'git lfs pull' in its "
            "folder, or download the file."
        )
