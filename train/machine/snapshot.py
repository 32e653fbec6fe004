"""What a run was made with, kept in its folder, so that another config does not go on in it unseen.

The config is kept as it was read, and with it marks of what it names: a listing that was replaced
makes another run as much as another learning rate does.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime import schema
from runtime.errors import ClapError
from runtime.files import writing
from runtime.plain_text import printable
from runtime.problems import listed

log = logging.getLogger(__name__)

SNAPSHOT = "config.json"
# Hashed whole up to this size; of larger files, weights and shards, both ends and the size are.
WHOLE = 64 << 20
END = 1 << 20
LONGEST = 300  # characters of a value in a message: two paths differ at their ends


@dataclass(frozen=True)
class Change:
    """Values that the run went on with in place of others.

    Attributes:
        epoch: epochs that were done by then.
        what: each as a sentence's part: ``loop.learning_rate was 0.1, is 0.2``.
    """

    epoch: int
    what: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """What a run depends on.

    Attributes:
        config: plain data.
        contents: of what the config names, by its name: a mark of what is in it.
        changes: what was overridden, in order.
    """

    config: dict[str, Any]
    contents: dict[str, str]
    changes: tuple[Change, ...] = field(default=())

    @classmethod
    def of(cls, config: object, contents: dict[str, str]) -> Snapshot:
        """The state of things now, of a config that is a dataclass."""
        # Through JSON, so that what was written and what is compared are of the same types.
        return cls(json.loads(json.dumps(schema.to_plain(config))), contents)

    def differences(self, now: Snapshot, free: Iterable[str]) -> dict[str, str]:
        """Dotted names of what differs in a later one, and how.

        Args:
            now: the later one.
            free: dotted names that may differ; a name stands for what lies below it too.
        """
        before, after = dict(_flat(self.config)), dict(_flat(now.config))
        found = {
            name: f"{name} was {_shown(before.get(name))}, is {_shown(after.get(name))}"
            for name in {**before, **after}
            if before.get(name) != after.get(name) and not _below(name, free)
        }
        old, new = self.contents, now.contents
        # What is named now and was not then, or no more, is a difference of the configs.
        both = [name for name in old if name in new]
        return found | {
            name: f"{name} has another content" for name in both if old[name] != new[name]
        }


def keep(
    folder: Path, now: Snapshot, *, begun: bool, epoch: int, override: bool, free: Iterable[str],
    fixed: Iterable[str], write: bool = True,
) -> None:  # fmt: skip
    """Compare a run with what its folder says, and write down what it is now.

    Args:
        folder: of the run.
        now: what it is.
        begun: whether the folder holds anything to go on from; if not, nothing is compared.
        epoch: epochs that are done.
        override: go on with other values, which are written down.
        free: dotted names that may always differ: they do not change what is learned.
        fixed: dotted names that a run has begun with, so that another value would do nothing.
        write: whether it is written down.

    Raises:
        ClapError: values differ that may not; all are named.
    """
    path = folder / SNAPSHOT
    if not begun or not path.is_file():
        if write:
            _write(path, now)
        return
    before = schema.read(Snapshot, schema.read_json(path), str(path))
    found = before.differences(now, free)
    stuck = [what for name, what in found.items() if _below(name, fixed)]
    if stuck:
        raise ClapError(
            f"{folder} holds a run that began otherwise, which cannot be changed any more: "
            f"{listed(stuck)}. Choose another 'out'."
        )
    if found and not override:
        raise ClapError(
            f"{folder} holds a run that was made otherwise: {listed(list(found.values()))}. Choose "
            "another 'out', or give --override to go on with the values of now."
        )
    if not write:
        return
    changes = before.changes
    if found:
        log.warning("overridden after epoch %d: %s", epoch, listed(list(found.values())))
        changes = (*changes, Change(epoch, tuple(found.values())))
    _write(path, Snapshot(now.config, now.contents, changes))


def _write(path: Path, snapshot: Snapshot) -> None:
    with writing(path) as part:
        text = json.dumps(schema.to_plain(snapshot), indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def mark_of(items: Iterable[object]) -> str:
    """Of things that print as what they are."""
    found = hashlib.sha256()
    for item in items:
        found.update(f"{item!r}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def mark_of_path(path: Path) -> str | None:
    """Of a file's content, or of all files in a folder; None if there are none that can be read,
    as where a name of the hub is given in place of a path."""
    if not path.is_dir():
        return _mark_of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return mark_of((file.relative_to(path).as_posix(), _mark_of_file(file)) for file in files)


def _mark_of_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            found = hashlib.sha256(str(size).encode())
            file.seek(0)
            if size <= WHOLE:
                while block := file.read(END):
                    found.update(block)
            else:
                found.update(file.read(END))
                file.seek(-END, 2)
                found.update(file.read(END))
    except (OSError, ValueError):  # who needs the file says why it cannot be had
        return None
    return found.hexdigest()


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and texts by their dotted names; lists of them stay whole."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{i}]")
    else:
        # Nothing is said where a table is left out or empty, whichever way.
        yield name, value or None if isinstance(value, (dict, list)) else value


def _below(name: str, names: Iterable[str]) -> bool:
    return any(name == one or name.startswith((f"{one}.", f"{one}[")) for one in names)


def _shown(value: Any) -> str:
    return "not given" if value is None else printable(repr(value)[:LONGEST])
