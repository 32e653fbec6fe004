"""A bridge between a tagger and a text encoder as one TOML file, read strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtime.audio_spec import Mel
from train.config.bounds import MOST_INT, Checks
from train.config.contrastive import MAX_THREADS
from train.config.data import ListingConfig
from train.config.toml_file import read_config


@dataclass(frozen=True)
class NetworkSource:
    """A network of timm that was trained on pictures of decibels, mel bins by frames.

    Attributes:
        backbone: the architecture's name.
        sample_rate: in Hz, and all others, as of :class:`runtime.audio_spec.Mel`; decibels are 10
            log10 of it. ``scale = "htk"`` without a norm is what torchaudio makes by default,
            ``"slaney"`` with ``norm = "slaney"`` what librosa does.
        mean, std: what is subtracted from the decibels, and then divides them.
    """

    backbone: str
    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    f_min: float
    f_max: float
    scale: Literal["slaney", "htk"]
    norm: Literal["slaney"] | None = None
    amin: float = 1e-10
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("sample_rate", least=1000, most=768_000)
        checks.bound("n_fft", "hop_length", least=1, most=65_536)
        checks.bound("n_mels", least=8, most=1024)
        checks.bound("f_min", "f_max", least=0, most=self.sample_rate / 2)
        checks.need(self.f_min < self.f_max, "f_min must be below f_max")
        checks.bound("amin", above=0, most=1)
        checks.bound("mean", least=-1e3, most=1e3)
        checks.bound("std", least=0.1, most=1e3)
        checks.done()

    @property
    def mel(self) -> Mel:
        """Its frontend."""
        return Mel(
            self.sample_rate, self.n_fft, self.hop_length, self.n_mels, self.f_min, self.f_max,
            self.scale, self.norm, self.amin,
        )  # fmt: skip


@dataclass(frozen=True)
class TaggerSource:
    """A finished tagger. Paths may be ``package:NAME/PATH``, inside an installed Python package.

    Attributes:
        kind: ``yamnet`` (a SavedModel's folder, or a file of ``python -m train yamnet``), ``cnn14``
            (PANNs), ``htsat`` (HTS-AT on AudioSet, or the tower of a LAION model that kept its
            classifier), ``timm`` (any network of timm that ends in a classifier and takes a picture
            of decibels, mel bins by frames), ``bridge`` (a checkpoint of ``python -m train bridge``
            or ``distil``, whose ears and tags these are).
        weights: where they lie.
        names: of the tags: a CSV with a column ``display_name``, or a text file with one a line.
            YAMNet and bridges bring their own.
        licence: of the weights.
        seconds: of sound that it hears at once; a bridge has windows of its own.
        sample_rate, hop_length: of ``cnn14`` and ``htsat``, whose files do not say them.
        timm: of ``timm``, which network it is and what it hears.
        patch_hop: frames of 10 ms from patch to patch of ``yamnet``.
    """

    kind: Literal["yamnet", "cnn14", "htsat", "timm", "bridge"]
    weights: str
    licence: str
    names: str | None = None
    seconds: float = 5.0
    sample_rate: int = 32_000
    hop_length: int = 320
    patch_hop: int = 48
    timm: NetworkSource | None = None

    def __post_init__(self) -> None:
        checks = Checks(self)
        named = self.kind in ("yamnet", "bridge")
        need = "brings its own" if named else "does not name its tags: give"
        checks.need(
            (self.names is None) == named,
            f"a tagger of kind '{self.kind}' {need} 'names'",
        )
        need = "needs" if self.kind == "timm" else "takes no"
        checks.need(
            (self.timm is not None) == (self.kind == "timm"),
            f"a tagger of kind '{self.kind}' {need} table 'timm'",
        )
        checks.bound("seconds", least=0.975, most=60)
        checks.bound("sample_rate", least=1000, most=768_000)
        checks.bound("hop_length", "patch_hop", least=1, most=65_536)
        checks.done()


@dataclass(frozen=True)
class SentenceSource:
    """A finished text encoder: one of ``checkpoint`` and ``encoder``.

    Attributes:
        licence: of the weights.
        checkpoint: any that ``--ckpt`` takes: its text tower and projection.
        encoder: a BERT, RoBERTa or GPT-2 of transformers: its folder, its hub id, or
            ``package:NAME/FOLDER``.
        pooling: of ``encoder``, as it was trained.
        max_tokens: of ``encoder``.
    """

    licence: str
    checkpoint: str | None = None
    encoder: str | None = None
    pooling: Literal["cls", "mean", "pooler", "last"] = "mean"
    max_tokens: int = 64

    def __post_init__(self) -> None:
        checks = Checks(self)
        one = (self.checkpoint is None) != (self.encoder is None)
        checks.need(one, "give one of 'checkpoint' and 'encoder'")
        checks.bound("max_tokens", least=4, most=MOST_INT)
        checks.done()


@dataclass(frozen=True)
class AttentionConfig:
    """How a label looks for itself among the tags; see :mod:`clap_export.model.bridge`."""

    temperature: float = 0.03
    floor: float = 1e-3

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("temperature", "floor", above=0, most=1)
        checks.done()


@dataclass(frozen=True)
class LearnedConfig:
    """The part that labelled clips teach.

    Attributes:
        weight: of its score beside that of the tags.
        handicap: taken from the score of a label that it counts for.
        ridge: of the fit to clips, relative to the mean square of a feature times the clips.
        text_ridge: of the fit to labels, relative to their number.
        gate_centre, gate_width: see :class:`clap_export.model.bridge_config.BridgeConfig`.
        clips_least: labels with fewer clips teach nothing.
    """

    weight: float = 1.0
    handicap: float = 2.0
    ridge: float = 0.03
    text_ridge: float = 0.1
    gate_centre: float = 0.9
    gate_width: float = 0.03
    clips_least: int = 8

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("weight", "ridge", "text_ridge", "gate_width", above=0, most=1e3)
        checks.bound("handicap", least=0, most=1e3)
        checks.bound("gate_centre", least=-1, most=1)
        checks.bound("clips_least", least=1, most=MOST_INT)
        checks.done()


@dataclass(frozen=True)
class BridgeRecipe:
    """A whole bridge.

    Attributes:
        out: folder for ``model.safetensors`` and, where there are listings, ``lesson.safetensors``.
        templates: prompts that names of tags and labels are put through; their mean counts.
        listings: clips that say how usual each tag is; with labels, they teach the learned part.
        usual: ``tagger`` keeps what is usual to a tagger of kind ``bridge``: clips of a few labels
            of your own do not tell.
        lesson: what another run made of its clips, in place of listings.
        learned: leave out for a bridge of tags alone.
        figures: cosines that the model must give, of sounds made by code and their names.
        licence: of the whole; default the two towers' together. Clips may have others.
        sha256: of files that the recipe was made with, by the path as it stands here.
    """

    out: str
    name: str
    default_template: str
    templates: tuple[str, ...]
    tagger: TaggerSource
    text: SentenceSource
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    learned: LearnedConfig | None = None
    listings: tuple[ListingConfig, ...] = ()
    lesson: str | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    licence: str | None = None
    threads: int | None = None
    usual: Literal["listings", "tagger"] = "listings"

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.templates("templates", "default_template")
        checks.need(
            self.usual == "listings" or (self.tagger.kind == "bridge" and self.lesson is None),
            "usual = 'tagger' goes with a tagger of kind 'bridge', and with 'listings'",
        )
        checks.need(
            bool(self.listings) != (self.lesson is not None),
            "give 'listings', or the 'lesson' that another run made of its own: a tag's weight is "
            "what is heard of it against what is usual",
        )
        checks.bound("threads", least=1, most=MAX_THREADS)
        checks.done()

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.out)


def load(path: str | Path) -> BridgeRecipe:
    """Read a TOML file; paths in it are relative to the working directory.

    Raises:
        ClapError: the file is missing, not TOML, or its keys do not fit (all are listed).
    """
    return read_config(BridgeRecipe, Path(path))
