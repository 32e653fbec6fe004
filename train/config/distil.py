"""A distillation run as one TOML file, read strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clap_export.checkpoints import Family
from clap_export.model.config import AudioEncoderConfig, ProjectionConfig, TextEncoderConfig
from runtime.audio_spec import AudioSpec
from train.config.bounds import MOST_INT, MOST_RATE, Checks
from train.config.contrastive import MAX_THREADS
from train.config.data import AugmentConfig, ListingConfig, TextSource
from train.config.toml_file import read_config


@dataclass(frozen=True)
class TeacherConfig:
    """The model whose space is learned: anything that :func:`clap_export.checkpoints.load` reads.

    Attributes:
        checkpoint: a file, a model's folder, or a hub id.
        family: to read it as, instead of the one that its content tells.
        tokenizer: folder of its tokenizer, for families whose files bring none.
    """

    checkpoint: str
    family: Family | None = None
    tokenizer: str | None = None


@dataclass(frozen=True)
class StudentConfig:
    """Architecture of the student. What is not here (default prompt, calibration, logit scale)
    comes from the teacher, whose space it shares.

    Attributes:
        licence: of the weights; the teacher's is added to it.
        embedding_dim: must be the teacher's.
        text_encoder, text_projection: of a text tower that is learned (``text = "distil"``).
        start: a checkpoint whose audio tower it begins with, of the same architecture and frontend.
    """

    name: str
    licence: str
    embedding_dim: int
    audio: AudioSpec
    audio_encoder: AudioEncoderConfig
    audio_projection: ProjectionConfig
    text_encoder: TextEncoderConfig | None = None
    text_projection: ProjectionConfig | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        n_mels = self.audio.mel.n_mels
        if n_mels != self.audio_encoder.n_mels:
            raise ValueError(
                f"audio.mel has {n_mels} mel bins, the audio encoder {self.audio_encoder.n_mels}"
            )
        htsat = self.audio_encoder.htsat
        if self.audio.long_clips == "fusion" or (htsat is not None and htsat.fusion):
            raise ValueError(
                "a student hears one window at a time, so it cannot learn feature fusion"
            )


@dataclass(frozen=True)
class AudioLessonConfig:
    """What the audio tower learns from; nothing that is said of the clips is read.

    Attributes:
        listings: clips by CSV or JSONL; of its columns only the audio path, those of ``where`` and
            ``exclude``, and the recording count.
        files: audio files, folders of them (searched to the bottom) or globs.
        cache: an ``.npz`` with the teacher's embeddings of these clips, used if it is there and
            made if not. The stretches are then the same in every epoch: the clips' windows. Without
            it the teacher hears stretches from anywhere in a clip, anew in every step, and where
            ``augment`` mixes two of them it hears the mixture.
        seconds: length of a stretch; the student's window if not given. Shorter ones are for
            students that hear in patches: what a second holds is learned second by second.
        epochs: times that every stretch's length of audio is heard, on average.
        batch_size: stretches in a step.
        learning_rate: its peak, after a warm-up and before half a cosine down to 0.
        ema: share of the weights' moving average that a step leaves; that average is the result. 0
            is for the last step's weights.
        amp: type of the towers' products.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    ema: float = 0.0
    amp: Literal["off", "bf16"] = "off"
    seconds: float | None = None
    listings: tuple[ListingConfig, ...] = ()
    files: tuple[str, ...] = ()
    cache: str | None = None

    def __post_init__(self) -> None:
        checks = _loop_checks(self)
        heard = bool(self.listings or self.files)
        checks.need(heard, "there is nothing to listen to: give 'listings', 'files' or both")
        checks.bound("seconds", least=0.1, most=3600)
        checks.done()


@dataclass(frozen=True)
class TextLessonConfig:
    """What a text tower learns from.

    Attributes:
        sources: captions and labels.
        templates: prompts that labels are put through.
        spans: random runs of 1 to 4 words cut from the captions, so that bare labels are covered.
        vocabulary: size of a WordPiece vocabulary to learn from the sources; without it the student
            keeps the teacher's tokenizer.
        cache: an ``.npz`` with the teacher's embeddings of the texts; as for audio.
        epochs: times that every text is read.
        batch_size: texts in a step.
        learning_rate: its peak, as for audio.
        ema: of the weights, as for audio.
    """

    sources: tuple[TextSource, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    ema: float = 0.0
    templates: tuple[str, ...] = ()
    spans: int = 0
    vocabulary: int | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        checks = _loop_checks(self)
        checks.need(bool(self.sources), "there is nothing to read: give 'sources'")
        checks.bound("spans", least=0, most=MOST_INT)
        checks.bound("vocabulary", least=1, most=MOST_INT)
        if self.templates:
            checks.templates("templates")
        checks.done()


@dataclass(frozen=True)
class DistilConfig:
    """A whole run.

    Attributes:
        out: folder for everything that the run writes.
        text: ``teacher`` keeps the teacher's text tower as it is; ``distil`` trains the student's.
        augment: of what the student hears; the teacher hears every stretch as it is, or mixed.
        threads: of torch; its own choice if not given.
        device: ``auto`` takes CUDA where there is one.
    """

    out: str
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    text: Literal["teacher", "distil"]
    teacher: TeacherConfig
    student: StudentConfig
    audio: AudioLessonConfig
    texts: TextLessonConfig | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    threads: int | None = None

    def __post_init__(self) -> None:
        tables = {
            "[texts]": self.texts,
            "[student.text_encoder]": self.student.text_encoder,
            "[student.text_projection]": self.student.text_projection,
        }
        absent = [name for name, table in tables.items() if table is None]
        given = [name for name in tables if name not in absent]
        checks = Checks(self)
        if self.text == "distil":
            checks.need(not absent, f"text = 'distil' needs {', '.join(absent)}")
        else:
            keeps = "text = 'teacher' keeps the teacher's text tower: leave out "
            checks.need(not given, keeps + ", ".join(given))
        checks.bound("seed", least=0, below=2**63)
        checks.bound("threads", least=1, most=MAX_THREADS)
        checks.done()

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.out)


def _loop_checks(lesson: AudioLessonConfig | TextLessonConfig) -> Checks:
    checks = Checks(lesson)
    checks.bound("epochs", least=1, most=MOST_INT)
    # One stretch alone has no statistics to normalise by, and no other to be compared with.
    checks.bound("batch_size", least=2, most=MOST_INT)
    checks.bound("learning_rate", above=0, most=MOST_RATE)
    checks.bound("ema", least=0, below=1)
    return checks


def load(path: str | Path) -> DistilConfig:
    """Read a TOML file; paths in it are relative to the working directory.

    Raises:
        ClapError: the file is missing, not TOML, or its keys do not fit (all are listed).
    """
    return read_config(DistilConfig, Path(path))
