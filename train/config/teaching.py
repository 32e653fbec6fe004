"""Finished models that a run learns from, as tables of its config."""

from __future__ import annotations

from dataclasses import dataclass

from train.config.bounds import MOST_INT, MOST_RATE, Checks
from train.config.data import TextSource


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

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("vocabulary", "epochs", least=1, most=MOST_INT)
        checks.bound("batch_size", least=2, most=MOST_INT)  # one text has no other to relate to
        checks.bound("spans", least=0, most=MOST_INT)
        checks.bound("learning_rate", above=0, most=MOST_RATE)
        checks.done()


@dataclass(frozen=True)
class TeachersConfig:
    """Finished models that say, beside the labels, what a batch's clips sound like.

    Attributes:
        checkpoints: of the student's sample rate and window; anything that
            :func:`clap_export.checkpoints.load` reads. Their answers are averaged.
        weight: share of the loss that is agreement with them; the rest is the labels'.
    """

    checkpoints: tuple[str, ...]
    weight: float

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.need(bool(self.checkpoints), "there are no 'checkpoints'")
        checks.bound("weight", above=0, most=1)
        checks.done()


@dataclass(frozen=True)
class TaggerConfig:
    """A pretrained audio tagger whose ears, answers and names teach the audio tower.

    Attributes:
        weights: of a YAMNet, from ``python -m train yamnet``.
        answers: share of the loss that is agreement with the tagger's answers, by a head of its own
            that learns from the labels beside the student.
        features: weight of guessing the tagger's vector from the student's.
        tags: weight of agreement with what the tagger says among its own names, which become texts
            of the run in every template.
    """

    weights: str
    answers: float = 0.0
    features: float = 0.0
    tags: float = 0.0

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.bound("answers", least=0, below=1)
        checks.bound("features", "tags", least=0, most=MOST_RATE)
        learned = bool(self.answers or self.features or self.tags)
        checks.need(learned, "nothing is learned: give 'answers', 'features' or 'tags'")
        checks.done()
