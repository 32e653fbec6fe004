"""A pretrained audio tagger that a run learns from beside the labels."""

from train.tagger.lesson import Heard, Lesson, Tagger

__all__ = ["Heard", "Lesson", "Tagger"]
