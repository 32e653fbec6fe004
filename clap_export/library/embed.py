"""Embed recordings into a library: what is new or changed, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from clap_export import __version__
from clap_export.library import hearing
from clap_export.library.item import Item, Key, Opened
from clap_export.library.pace import Pace
from clap_export.library.row import Row
from clap_export.library.sources import Found
from clap_export.library.store import Store
from runtime.encoder import Encoder
from runtime.errors import BackendError
from runtime.library.arrow import pyarrow
from runtime.library.description import (
    FORMAT,
    FORMAT_VERSION,
    PLACE,
    Description,
    LibraryError,
    Model,
)
from runtime.library.description import Store as Numbers

Hear: TypeAlias = "Callable[[list[Item], Callable[[Opened], bool]], Generator[Row]]"


@dataclass(frozen=True)
class Work:
    """How recordings are embedded.

    Attributes:
        batch_size: windows given to the engine at once; None for the encoder's.
        decode_threads: that load and resample.
        retry: embed again what could not be used before.
        prune: take out what has vanished, in place of marking it.
    """

    batch_size: int | None = None
    decode_threads: int = 2
    retry: bool = False
    prune: bool = False


@dataclass
class Summary:
    """What was done.

    Attributes:
        listed: recordings of the sources.
        embedded: that were embedded now.
        unchanged: that were in the library as they are.
        failed: errors of this time, as sentences.
        known_bad: recordings of the sources that could not be used before, and are as they were.
        vanished: recordings of the library that are marked as gone, or were taken out.
        problems: what was wrong with the sources.
        seconds: that embedding took.
    """

    listed: int = 0
    embedded: int = 0
    unchanged: int = 0
    failed: list[str] = field(default_factory=list)
    known_bad: int = 0
    vanished: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def described(encoder: Encoder, folder: Path, store: Numbers, each_window: bool) -> Description:
    """What a library of an encoder's vectors says of itself.

    Raises:
        LibraryError: the bundle's folder has a name that cannot be written down.
        ClapError: the policy leaves no embedding.
    """
    encoder.new_pool()
    place = str(folder.resolve())
    if problem := PLACE.problem(place):  # nobody could read the library again
        raise LibraryError(
            f"the folder of the bundle, which a library names, {problem}: give it another name."
        )
    manifest = encoder.manifest
    graph = manifest.audio_graph
    model = Model(place, manifest.name, graph.precision, manifest.files[graph.file].sha256)
    tools = {"clap-export": __version__, "pyarrow": pyarrow().__version__, "numpy": np.__version__}
    return Description(
        FORMAT, FORMAT_VERSION, manifest.space_id, encoder.clip_space_id, manifest.embedding_dim,
        store, each_window, encoder.policy, model, tools,
    )  # fmt: skip


def embed(
    encoder: Encoder, store: Store, found: Found, work: Work, say: Callable[[str], None]
) -> Summary:
    """Bring a library up to date with what its sources hold, in this process; see :func:`update`.

    Args:
        encoder: with the library's policy.
        store: the library, opened for writing.
        found: all recordings of the sources.
        work: how.
        say: is told how far it is.
    """

    def hear(pending: list[Item], passed: Callable[[Opened], bool]) -> Generator[Row]:
        schedule = hearing.schedule(encoder, len(pending), work.batch_size, work.decode_threads)
        return hearing.rows(encoder, pending, schedule, store.said.each_window, passed)

    return update(store, found, work, say, hear)


def update(
    store: Store, found: Found, work: Work, say: Callable[[str], None], hear: Hear
) -> Summary:
    """Bring a library up to date with what its sources hold.

    Args:
        store: the library, opened for writing.
        found: all recordings of the sources.
        work: how.
        say: is told how far it is.
        hear: embeds recordings, wherever and in any order: gives a row for each that is not passed
            over, which it learns by what it is given.

    Raises:
        BackendError: the engine failed; what was finished is kept.
        LibraryError: the library cannot be written; what was finished is kept.
    """
    summary = Summary(listed=len(found.items), problems=found.problems)
    pending = _pending(store, found.items.values(), work, summary)
    summary.vanished = _vanished(store, found, work.prune)
    touched: dict[Key, Item] = {}

    def passed(opened: Opened) -> bool:
        """A file of another time whose bytes are the same."""
        known = store.known.get(opened.item.key)
        if known is None or known.sha256 != opened.sha256 or (known.error and work.retry):
            return False
        touched[opened.item.key] = opened.item
        summary.known_bad += known.error is not None
        summary.unchanged += known.error is None
        pace.one()
        return True

    pace = Pace(len(pending), say)
    if pending:
        with closing(hear(pending, passed)) as rows:
            try:
                for row in rows:
                    store.add(row)
                    pace.one()
                    if row.error is None:
                        summary.embedded += 1
                    else:
                        summary.failed.append(row.error)
            except (KeyboardInterrupt, BackendError):
                store.seal()  # so that what is finished can be searched
                raise
    store.seal()
    store.change(
        {k: {"size": i.size, "mtime_ns": i.mtime_ns, "vanished": False} for k, i in touched.items()}
    )
    summary.seconds = pace.seconds
    return summary


def _pending(store: Store, items: Iterable[Item], work: Work, summary: Summary) -> list[Item]:
    """What is to be looked into; of the rest it is said that it is there."""
    pending: list[Item] = []
    back: list[Key] = []
    for item in items:
        known = store.known.get(item.key)
        if item.size is None and known is not None and known.error is None:
            if not _is_absent(item.path):
                summary.failed.append(
                    f"'{item.where}' cannot be looked at; what is known of it stays as it is."
                )
            continue
        if known is None or not known.is_of(item) or (known.error and work.retry):
            pending.append(item)
            continue
        if known.vanished:
            back.append(item.key)
        if known.error is None:
            summary.unchanged += 1
        else:
            summary.known_bad += 1
    store.change({key: {"vanished": False} for key in back})
    return pending


def _is_absent(path: str, *, links: bool = True) -> bool:
    """Whether nothing is there, which is not what a disk says that cannot be read just now.

    Args:
        path: absolute.
        links: whether what a symbolic link leads to is asked for, or the link.
    """
    try:
        os.stat(path, follow_symlinks=links)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False


def _vanished(store: Store, found: Found, prune: bool) -> int:
    """Mark recordings whose files are gone, or take them out."""
    shards = {path for path, member in found.items if member is not None}
    gone: list[Key] = []
    for key, known in store.known.items():
        item = found.items.get(key)
        if item is not None:
            is_gone = item.size is None and known.error is None and _is_absent(item.path)
        elif key[0] in shards and not found.problems:  # else it may be one that was not read
            is_gone = True
        else:
            is_gone = _is_absent(key[0], links=False)
        if is_gone:
            gone.append(key)
    if prune:
        store.seal()
        store.drop(gone)
    elif new := [key for key in gone if not store.known[key].vanished]:
        store.seal()
        store.change({key: {"vanished": True} for key in new})
    return len(gone)
