"""Listings: which clips there are and what is said of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runtime.errors import ClapError
from runtime.problems import listed
from train.config.data import ListingConfig
from train.data import corpora
from train.data.blacklist import read_blacklist
from train.data.folders import read_folders
from train.data.shards import read_shards
from train.data.table import Row, Table, audio_name, columns_of, read_table, texts_of


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        captions: plain sentences that describe it.
        names: class names or short phrases, for templates.
        label: its class, or its first caption or name.
        weight: relative probability of being drawn.
        recording: id of the recording that it is a part of, where the listing tells.
        member: offset and size in bytes inside ``path``, for a clip in a tar shard.
        name: what the clip is called in its listing: its path there, or its shard and key.
    """

    path: Path
    captions: tuple[str, ...]
    names: tuple[str, ...]
    label: str
    weight: float
    recording: str | None = None
    member: tuple[int, int] | None = None
    name: str = field(default="", compare=False)

    @property
    def where(self) -> str:
        """For messages: the file, and which member of it."""
        return str(self.path) if self.member is None else f"{self.path}: {self.name}"


def read_listing(config: ListingConfig) -> list[Clip]:
    """Clips of one listing.

    Raises:
        ClapError: columns that are not there; rows without audio path, or caption and label (all
            are listed); or nothing left.
    """
    table = _table(config)
    audio = config.audio if config.audio and config.kind != "webdataset" else table.audio
    captions, names, labels = config.captions, config.names, config.labels
    if not captions + names + labels:
        captions, names, labels = table.captions, table.names, table.labels
    recording = config.recording or table.recording
    asked = {*columns_of(audio), *captions, *names, *labels, *config.where, *config.exclude}
    asked |= {recording} if recording is not None else set()
    first = table.rows[0].columns
    if absent := sorted(asked - set(first)):
        has = ", ".join(str(name) for name in first if not str(name).startswith("__"))
        raise ClapError(f"listing {config.path} has no column {', '.join(absent)}; it has {has}.")
    unwanted = read_blacklist(Path(config.blacklist), config.path) if config.blacklist else set()
    clips: list[Clip] = []
    recordings: list[str] = []
    problems: list[str] = []
    blacklisted = 0
    for row in table.rows:
        columns = row.columns
        if absent := sorted(asked - set(columns)):
            problems.append(f"{row.where}: no column {', '.join(absent)}")
            continue
        if not _wanted(row, config):
            continue
        relative = audio_name(audio, columns)
        if relative is None:
            problems.append(f"{row.where}: no audio path in column {', '.join(columns_of(audio))}")
            continue
        name = relative if row.member is None else row.where
        if name in unwanted:
            blacklisted += 1
            continue
        try:
            said, called, classes = (
                tuple(text for column in group for text in texts_of(columns[column]))
                for group in (captions, names, labels)
            )
        except ValueError as error:
            problems.append(f"{row.where}: {error}")
            continue
        label = next(iter(classes + said + called), None)
        if label is None:
            problems.append(f"{row.where}: neither a caption nor a label")
            continue
        source = str(columns[recording] or "") or None if recording is not None else None
        clips.append(
            Clip(
                table.folder / relative, said, called, config.rename.get(label, label),
                config.weight, source, row.member, name,
            )
        )  # fmt: skip
        recordings.append(source or row.where)
    if problems:
        raise ClapError(f"listing {config.path}, {listed(problems)}.")
    if not clips:
        also = f" and {blacklisted} on the blacklist" if blacklisted else ""
        raise ClapError(f"listing {config.path}: no row is left after 'where' and 'exclude'{also}.")
    return spread(clips, recordings) if config.recording is not None else clips


def _table(config: ListingConfig) -> Table:
    path = Path(config.path)
    if config.kind == "folders":
        return read_folders(path)
    if config.kind == "webdataset":
        return read_shards(config.path, config.audio, config.cache)
    if config.kind == "fsd50k":
        return corpora.read_fsd50k(path, config.audio)
    if config.kind == "clotho":
        return corpora.read_clotho(path, config.audio)
    if config.kind == "macs":
        return corpora.read_macs(path, config.audio)
    assert config.audio is not None  # ListingConfig sees to it
    if config.kind == "audiocaps":
        return corpora.read_audiocaps(path, config.audio)
    return read_table(path, config.audio)


def _wanted(row: Row, config: ListingConfig) -> bool:
    """Whether ``where`` and ``exclude`` let a row pass; of a list of values one suffices."""

    def has(column: str, values: tuple[str, ...]) -> bool:
        cell = row.columns[column]
        return any(str(item) in values for item in (cell if isinstance(cell, list) else [cell]))

    return all(has(k, v) for k, v in config.where.items()) and not any(
        has(k, v) for k, v in config.exclude.items()
    )


def spread(clips: Sequence[Clip], recordings: Sequence[str]) -> list[Clip]:
    """Weights that do not let the slices of one long recording stand for their label.

    A label keeps the sum of its clips' weights. Inside it, a recording of n clips weighs as the
    root of n: between counting each clip (n) and each recording (1).
    """
    keys = [(clip.label, name) for clip, name in zip(clips, recordings, strict=True)]
    slices = Counter(keys)
    raw = [clip.weight / slices[key] ** 0.5 for clip, key in zip(clips, keys, strict=True)]
    total, wanted = defaultdict[str, float](float), defaultdict[str, float](float)
    for clip, weight in zip(clips, raw, strict=True):
        total[clip.label] += weight
        wanted[clip.label] += clip.weight
    return [
        replace(clip, weight=weight * wanted[clip.label] / total[clip.label])
        for clip, weight in zip(clips, raw, strict=True)
    ]
