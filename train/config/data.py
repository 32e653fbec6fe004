"""Which clips and sentences a run learns from and is measured on, as tables of its config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from train.config.bounds import MOST_INT, Checks


@dataclass(frozen=True)
class ListingConfig:
    """Clips with captions: a table, folders, tar shards, or a corpus as it is distributed.

    Attributes:
        path: the listing; audio paths in it are relative to its folder. What it is depends on the
            kind: the CSV or JSONL file, the folder of folders, a shard (``{000..012}`` names
            several), or the corpus' own file (see :mod:`train.data.corpora`).
        audio: column of the audio path, or a pattern with columns in braces such as
            ``audio/Y{youtube_id}.wav``. For ``webdataset`` the audio files' extension. Needed for
            ``table`` and ``audiocaps``; the other kinds know theirs.
        captions: columns that hold captions (a JSONL list counts as several). Without any text
            columns a kind other than ``table`` takes its own.
        names: columns that hold class names or short phrases: captions too, bare and in every
            template of the run.
        labels: columns that hold a class name; the first one that is not empty counts. Clips of
            one label are positives of each other. Without a label the first caption is the label.
            A label of which nothing else is said is its clips' name.
        rename: label names to replace, so that two listings agree.
        where: keep rows whose column has one of these values.
        exclude: drop rows whose column has one of these values.
        recording: column of the recording that a clip is a part of. The clips of a label then share
            its draws in such a way that a recording with n clips counts as the root of n.
        weight: how often a clip is drawn on average, relative to the other listings.
        kind: ``table`` (CSV or JSONL), ``folders`` (one folder a class), ``webdataset``, or a
            corpus.
        blacklist: clips to leave out, from ``python -m train overlap``.
        cache: folder in which shards that are remote (``s3://…``) or compressed are kept as plain
            tar files; for ``webdataset``.
    """

    path: str
    audio: str | None = None
    captions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: dict[str, tuple[str, ...]] = field(default_factory=dict)
    recording: str | None = None
    weight: float = 1.0
    kind: Literal["table", "folders", "webdataset", "fsd50k", "clotho", "audiocaps", "macs"] = (
        "table"
    )
    blacklist: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("weight", above=0, most=1e12)
        checks.need(
            self.audio is not None or self.kind not in ("table", "audiocaps"),
            f"kind '{self.kind}' needs 'audio': a column, or a pattern with columns in braces",
        )
        checks.done()


@dataclass(frozen=True)
class TaskConfig:
    """A zero-shot classification task: a listing, and the candidate labels.

    Attributes:
        candidates: a text file with one label a line, or the name of one of this package's tasks.
        groups: labels that ``python -m train evaluate`` also reports together, by a name.
    """

    name: str
    listing: ListingConfig
    candidates: str
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RetrievalConfig:
    """Captioned recordings that are not learned from: how well they find each other is measured.

    Attributes:
        name: in the records of the run.
        listing: of recordings with ``captions``.
    """

    name: str
    listing: ListingConfig


@dataclass(frozen=True)
class TextSource:
    """Sentences for the vocabulary and for text distillation: columns of a CSV or JSONL file.

    Attributes:
        label: the column holds class names, which are also put through the templates.
    """

    path: str
    columns: tuple[str, ...]
    label: bool = False


@dataclass(frozen=True)
class DataConfig:
    """How the clips are held.

    Attributes:
        bad_share: largest share of clips that may be left out because they cannot be read.
        memory_gb: gigabytes (1e9 bytes) that this machine's processes together may take for decoded
            clips; above it, clips are decoded as they are drawn. If not given, half of what is free
            under the limits of the machine and of its containers or jobs.
    """

    bad_share: float = 0.05
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("bad_share", least=0, below=1)
        checks.bound("memory_gb", least=0, most=1e9)
        checks.done()

    @property
    def memory(self) -> int | None:
        """``memory_gb`` in bytes."""
        return None if self.memory_gb is None else round(self.memory_gb * 1e9)


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation in training; each one is off at 0.

    Attributes:
        gain_db: gain drawn uniformly from [-gain_db, gain_db].
        speed: playback speed drawn uniformly from [1 - speed, 1 + speed].
        mix: probability that a clip is mixed with another one of the batch.
        mixstyle: probability that a batch's clips trade part of their long-term spectra.
        time_mask, frequency_mask: SpecAugment's widest masks, in frames and mel bins (two each).
        filter_db: a random smooth frequency response of at most this gain.
    """

    gain_db: float = 0.0
    speed: float = 0.0
    mix: float = 0.0
    mixstyle: float = 0.0
    time_mask: int = 0
    frequency_mask: int = 0
    filter_db: float = 0.0

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("gain_db", "filter_db", least=0, most=120)
        checks.bound("speed", least=0, below=1)
        checks.bound("mix", "mixstyle", least=0, most=1)
        checks.bound("time_mask", "frequency_mask", least=0, most=MOST_INT)
        checks.done()
