"""A training run as one TOML file, read strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clap_export.model.config import ClapConfig
from train.config.bounds import MOST_INT, MOST_RATE, Checks
from train.config.data import (
    AugmentConfig,
    DataConfig,
    ListingConfig,
    RetrievalConfig,
    TaskConfig,
)
from train.config.teaching import TaggerConfig, TeachersConfig, TextConfig
from train.config.toml_file import read_config

MAX_THREADS = 4096
# Of a retrieval set, as published results name them.
RETRIEVED = (
    "loss",
    *(f"{way} R@{k}" for way in ("text->audio", "audio->text") for k in (1, 5, 10)),
)


@dataclass(frozen=True)
class LoopConfig:
    """The contrastive run. Epochs are counted from 0 here.

    Attributes:
        steps_per_epoch: batches in an epoch.
        batch_size: clips in a batch, all processes together.
        learning_rate: peak of the projections and the temperature, and of the towers that have
            none of their own.
        weight_decay: of matrices; Adam adds it to the gradient, AdamW takes it off the weights.
        warmup_epochs: in which the rates rise in equal steps.
        text_negatives: texts of other labels that join each batch as candidates for its clips.
        ema: decay of the averaged weights that are validated and saved; 0 for none.
        validate_every: epochs between validations; the last epoch is always followed by one.
        audio_learning_rate, text_learning_rate: peaks of the two towers.
        freeze: towers that keep their weights all through; their projections learn.
        audio_from_epoch, text_from_epoch: the tower is frozen before this epoch (the states of a
            frozen text tower are cached).
        freeze_statistics: BatchNorm normalises by the statistics that it has, in training too, and
            leaves them as they are: for pretrained towers on small batches.
        loss: ``softmax``, cross-entropy in both directions (CLAP), or ``sigmoid``, one decision a
            pair with a learned bias (SigLIP).
        optimiser: ``adamw`` or ``adam``.
        betas: decays of its two moving averages, each from 0 to below 1.
        eps: that it adds to the root of the second.
        schedule: after the warm-up, ``cosine`` to 0 or ``plateau``.
        plateau_on: what has to improve, the training ``loss`` of an epoch or the accuracy of the
            first ``task`` whenever it is measured.
        plateau_factor: on all rates, after more than ``plateau_patience`` values in a row that are
            not better than the best one by a 10,000th of it.
        clip_norm: the largest norm of all gradients together; 0 does not clip.
        accumulate: parts in which a process encodes its share of the batch. The gradient is that
            of the whole batch, memory that of a part, and the towers run forward twice.
        amp: the towers' type; ``fp16`` scales the loss so that gradients do not vanish.
        recompute: the towers' blocks keep no activations and run again in the backward pass.
        compile: the towers go through torch.compile.
        sampling: ``weights`` draws clips by weight, with replacement; ``turns`` draws every clip
            once before any comes again, whatever epochs and batches are, and needs equal weights.
        save_every: steps between saves within an epoch, besides the one after it.
        best_by: figure of ``metrics.jsonl`` whose best value so far chooses ``best.safetensors``:
            a task's name, or a retrieval set's with what is measured, such as ``clotho loss``. Of
            a loss the lowest value is the best.
        long_share: of the steps, for a model with feature fusion: their clips are longer than a
            window, so that the part that hears those learns too.
        long_windows: how long those are.
        patience: the run ends when so many measurements of ``best_by`` in a row were no gain.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    text_negatives: int
    ema: float
    validate_every: int
    audio_learning_rate: float | None = None
    text_learning_rate: float | None = None
    freeze: tuple[Literal["audio", "text"], ...] = ()
    audio_from_epoch: int = 0
    text_from_epoch: int = 0
    freeze_statistics: bool = False
    loss: Literal["softmax", "sigmoid"] = "softmax"
    optimiser: Literal["adamw", "adam"] = "adamw"
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_on: Literal["loss", "task"] = "loss"
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    clip_norm: float = 5.0
    accumulate: int = 1
    amp: Literal["off", "bf16", "fp16"] = "off"
    recompute: bool = False
    compile: bool = False
    sampling: Literal["weights", "turns"] = "weights"
    save_every: int | None = None
    best_by: str | None = None
    patience: int | None = None
    long_share: float = 0.0
    long_windows: int = 3

    def __post_init__(self) -> None:
        checks = Checks(self)
        counts = ("epochs", "steps_per_epoch", "batch_size", "validate_every", "accumulate")
        checks.bound(*counts, "save_every", "patience", least=1, most=MOST_INT)
        begins = ("text_negatives", "audio_from_epoch", "text_from_epoch", "plateau_patience")
        checks.bound(*begins, least=0, most=MOST_INT)
        rates = ("learning_rate", "audio_learning_rate", "text_learning_rate")
        checks.bound(*rates, "weight_decay", "clip_norm", least=0, most=MOST_RATE)
        checks.bound("warmup_epochs", least=0)
        checks.need(
            self.warmup_epochs <= self.epochs,
            f"warmup_epochs is {self.warmup_epochs:g}, longer than the run of {self.epochs} epochs",
        )
        checks.bound("ema", least=0, below=1)
        checks.bound("long_share", least=0, most=1)
        checks.bound("long_windows", least=2, most=64)
        checks.bound("eps", above=0, most=1)
        checks.need(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"betas are {list(self.betas)}, must be two numbers from 0 to below 1",
        )
        checks.need(
            0 < self.plateau_factor < 1,
            f"plateau_factor is {self.plateau_factor}, must be between 0 and 1",
        )
        together = self.compile and self.recompute
        checks.need(not together, "'compile' and 'recompute' do not go together; choose one")
        checks.need(
            self.patience is None or self.best_by is not None,
            "'patience' waits for a gain of the figure that 'best_by' names: give both",
        )
        checks.done()

    def starts(self, tower: Literal["audio", "text"]) -> int:
        """The epoch from which a tower learns; ``epochs`` if it never does."""
        if tower in self.freeze:
            return self.epochs
        return self.audio_from_epoch if tower == "audio" else self.text_from_epoch

    def peak(self, tower: Literal["audio", "text"]) -> float:
        """Highest learning rate of a tower."""
        own = self.audio_learning_rate if tower == "audio" else self.text_learning_rate
        return self.learning_rate if own is None else own


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters: towers whose own weights stay, with few beside them that learn.

    Attributes:
        towers: that have them. Their norms stay too (``freeze_statistics`` keeps BatchNorm's
            statistics); the projections learn as always.
        rank: of the change to each matrix.
        alpha: the change is multiplied by ``alpha / rank``.
        dropout: before the adapters, in training.
    """

    towers: tuple[Literal["audio", "text"], ...]
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.need(bool(self.towers), "towers is empty: name 'audio', 'text' or both")
        checks.bound("rank", "alpha", least=1, most=MOST_INT)
        checks.bound("dropout", least=0, below=1)
        checks.done()


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Attributes:
        out: folder for everything that the run writes.
        init: checkpoint to go on from, with its architecture, tokenizer and calibration.
        templates: prompts that turn a label into a caption; one is drawn for each use.
        model: architecture of a model that starts from fresh weights, given when ``init`` is not;
            its text encoder's ``vocab_size`` is set from the tokenizer.
        text: how to make a text tower of one's own; for a [model] without ``text_init``.
        device: ``auto`` takes CUDA where there is one.
        audio_init: weights for [model]'s audio tower: a CNN14 of PANNs or an HTSAT of HTS-AT or
            LAION, as their authors saved it.
        text_init: weights, sizes and tokenizer for [model]'s text tower: a transformers model, as
            a folder or a hub id; or the file of a model of this package, whose projection of
            texts comes along.
        teachers: to learn from beside the labels.
        tagger: likewise; both may be given.
        lora: adapters in place of the towers' own weights. The models that the run saves hold them
            merged, and are like any other.
        data: how clips are held, and how many may be bad.
        tensorboard: also write the records for TensorBoard.
        retrieval: captioned recordings to measure loss and retrieval on at every validation.
        wandb: also give the records to Weights & Biases: ``offline`` keeps them in the folder, for
            ``wandb sync``; ``online`` sends them while they are made.
    """

    out: str
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    templates: tuple[str, ...]
    listings: tuple[ListingConfig, ...]
    tasks: tuple[TaskConfig, ...]
    augment: AugmentConfig
    loop: LoopConfig
    threads: int | None = None
    init: str | None = None
    model: ClapConfig | None = None
    text: TextConfig | None = None
    audio_init: str | None = None
    text_init: str | None = None
    teachers: TeachersConfig | None = None
    tagger: TaggerConfig | None = None
    lora: LoraConfig | None = None
    data: DataConfig = field(default_factory=DataConfig)
    tensorboard: bool = False
    retrieval: tuple[RetrievalConfig, ...] = ()
    wandb: Literal["off", "offline", "online"] = "off"

    def __post_init__(self) -> None:
        loop, init, text = self.loop, self.init, self.text
        checks = Checks(self)
        checks.bound("seed", least=0, below=2**63)
        checks.bound("threads", least=1, most=MAX_THREADS)
        checks.templates("templates")
        checks.need(bool(self.listings), "there are no [[listings]] to learn from")
        names = [one.name for one in (*self.tasks, *self.retrieval)]
        checks.once("the name of two tasks or retrieval sets", names)
        checks.need(
            (init is None) != (self.model is None),
            "give one of 'init' and [model]: go on from a checkpoint, or start one",
        )
        checks.need(
            init is None or not (self.audio_init or self.text_init),
            "'init' brings both towers: leave 'audio_init' and 'text_init' out",
        )
        checks.need(
            text is None or self.text_init is None,
            "give one of 'text_init' and [text]: a text tower to take, or to make",
        )
        checks.need(
            self.lora is None or not set(self.lora.towers) & set(loop.freeze),
            "loop.freeze and lora.towers name the same tower; choose one",
        )
        checks.need(
            self.label_share >= 0, "teachers.weight and tagger.answers are more than 1 together"
        )
        checks.need(
            bool(self.tasks) or (loop.schedule, loop.plateau_on) != ("plateau", "task"),
            "loop.plateau_on is 'task', but there are no [[tasks]]",
        )
        figures = self.figures
        checks.need(
            loop.best_by is None or loop.best_by in figures,
            f"loop.best_by is {loop.best_by!r}, must be one of {', '.join(figures)}",
        )
        uneven = any(one.weight != self.listings[0].weight or one.recording
                     for one in self.listings)  # fmt: skip
        checks.need(
            loop.sampling != "turns" or not uneven,
            "loop.sampling is 'turns', in which every clip counts alike: leave the listings' "
            "'weight' and 'recording' out",
        )
        checks.done()

    @property
    def figures(self) -> tuple[str, ...]:
        """What ``loop.best_by`` may name: figures that a validation finds, and the loss."""
        measured = [f"{one.name} {figure}" for one in self.retrieval for figure in RETRIEVED]
        return ("loss", *(task.name for task in self.tasks), *measured)

    @property
    def label_share(self) -> float:
        """Of the loss; teachers have the rest."""
        taught = 0.0 if self.teachers is None else self.teachers.weight
        answered = 0.0 if self.tagger is None else self.tagger.answers
        return 1 - taught - answered

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.out)


def load(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read a TOML file; paths in it are relative to the working directory.

    Args:
        path: of the file.
        changes: ``key=value`` each, laid over the file, such as ``loop.epochs=3``.

    Raises:
        ClapError: the file is missing, not TOML, or its keys do not fit (all are listed).
    """
    return read_config(TrainConfig, Path(path), changes)
