"""A training run as one TOML file, read strictly."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from clap_export.model.config import ClapConfig
from runtime import schema
from runtime.errors import ClapError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class ListingConfig:
    """Clips with captions, from a CSV or JSONL file.

    Attributes:
        path: the listing; audio paths in it are relative to its folder.
        audio: column of the audio path.
        captions: columns that hold captions (a JSONL list counts as several).
        names: columns that hold class names or short phrases: captions too, bare and in every
            template of the run.
        labels: columns that hold a class name; the first one that is not empty counts. Clips of
            one label are positives of each other. Without a label the first caption is the label.
        rename: label names to replace, so that two listings agree.
        where: keep rows whose column has one of these values.
        exclude: drop rows whose column has one of these values.
        recording: column of the recording that a clip is a part of. The clips of a label then share
            its draws in such a way that a recording with n clips counts as the root of n.
        weight: how often a clip is drawn on average, relative to the other listings.
    """

    path: str
    audio: str
    captions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: dict[str, tuple[str, ...]] = field(default_factory=dict)
    recording: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class TaskConfig:
    """A zero-shot classification task: a listing, and the candidate labels.

    Attributes:
        candidates: a text file with one label a line, or the name of one of this package's tasks.
    """

    name: str
    listing: ListingConfig
    candidates: str


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
class TextConfig:
    """Vocabulary and distillation of the text tower.

    Attributes:
        teacher: a sentence encoder whose embeddings the text tower learns to give: a folder, a hub
            id, or ``package:NAME/FOLDER`` for one inside an installed Python package.
        spans: random runs of 1 to 4 words cut from the captions, so that bare labels are covered.
    """

    teacher: str
    vocabulary: int
    sources: tuple[TextSource, ...]
    spans: int
    epochs: int
    batch_size: int
    learning_rate: float


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


@dataclass(frozen=True)
class LoopConfig:
    """The contrastive run.

    Attributes:
        steps_per_epoch: batches in an epoch (clips are drawn by weight, with replacement).
        text_from_epoch: the text tower is frozen before this epoch (its states are cached).
        text_learning_rate: of the text tower once it trains.
        text_negatives: texts of other labels that join each batch as candidates for its clips.
        amp: run the towers in bfloat16.
        ema: decay of the averaged weights that are validated and saved; 0 for none.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    text_from_epoch: int
    text_learning_rate: float
    text_negatives: int
    amp: bool
    ema: float
    validate_every: int


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Attributes:
        out: folder for everything that the run writes.
        init: checkpoint to go on from, with its architecture, tokenizer and calibration.
        templates: prompts that turn a label into a caption; one is drawn for each use.
        model: architecture of a model that starts from fresh weights, given when ``init`` is not;
            its text encoder's ``vocab_size`` is set from the tokenizer.
        device: ``auto`` takes CUDA where there is one.
    """

    out: str
    seed: int
    threads: int | None
    device: Literal["auto", "cpu", "cuda"]
    init: str | None
    templates: tuple[str, ...]
    model: ClapConfig | None
    text: TextConfig | None
    listings: tuple[ListingConfig, ...]
    tasks: tuple[TaskConfig, ...]
    augment: AugmentConfig
    loop: LoopConfig

    def __post_init__(self) -> None:
        if (self.init is None) == (self.model is None):
            raise ValueError(
                "give one of 'init' and [model]: go on from a checkpoint, or start one"
            )

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.out)


def load(path: str | Path) -> TrainConfig:
    """Read a TOML file; paths in it are relative to the working directory.

    Raises:
        ClapError: the file is missing, not TOML, or its keys do not fit (all are listed).
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClapError(f"config {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClapError(f"config {path} is not TOML: {error}.") from error
    for key in ("threads", "init", "model", "text"):  # TOML has no null
        data.setdefault(key, None)
    return schema.read(TrainConfig, data, str(path))


def with_vocabulary(model: ClapConfig, size: int) -> ClapConfig:
    """The same model with the text tower's vocabulary size filled in."""
    text = model.text_encoder
    return replace(model, text_encoder=replace(text, options={**text.options, "vocab_size": size}))
