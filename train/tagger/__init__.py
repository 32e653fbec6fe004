"""A pretrained audio tagger that a run learns from beside the labels."""

from train.tagger.lesson import Heard, Lesson, LessonBatch, Tagger

__all__ = ["Heard", "Lesson", "LessonBatch", "Tagger"]
