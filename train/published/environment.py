"""Readers of environmental sound: ESC-50, UrbanSound8K, FSD50K, TUT Acoustic Scenes 2017."""

from __future__ import annotations

from collections.abc import Iterator

from train.published.dataset import TEST, TRAIN, Dataset
from train.published.layout import Layout, Listed
from train.zero_shot.task import read_candidates

SCENES = (
    "beach", "bus", "cafe/restaurant", "car", "city center", "forest path", "grocery store", "home",
    "library", "metro station", "office", "park", "residential area", "train", "tram",
)  # fmt: skip


def esc50(layout: Layout, _train: bool) -> Dataset:
    """``meta/esc50.csv`` and ``audio/*.wav`` of the repository; five official folds.

    Columns by the README of github.com/karolpiczak/ESC-50.
    """
    rows = layout.table("meta/esc50.csv", ("filename", "fold", "category"))
    return layout.dataset(
        read_candidates("esc50"),
        ((f"audio/{row['filename']}", [row["category"]], row["fold"]) for row in rows),
    )


def urbansound8k(layout: Layout, _train: bool) -> Dataset:
    """``metadata/UrbanSound8K.csv`` and ``audio/foldN/*.wav``; ten official folds.

    Columns by the archive's ``UrbanSound8K_README.txt`` (zenodo.org/record/1203745).
    """
    rows = layout.table("metadata/UrbanSound8K.csv", ("slice_file_name", "fold", "class"))
    return layout.dataset(
        read_candidates("urbansound8k"),
        (
            (f"audio/fold{row['fold']}/{row['slice_file_name']}", [row["class"]], row["fold"])
            for row in rows
        ),
    )


def fsd50k(layout: Layout, train: bool) -> Dataset:
    """``FSD50K.ground_truth/{vocabulary,eval,dev}.csv``, ``FSD50K.{eval,dev}_audio/*.wav``.

    Layout by the record (zenodo.org/record/4060432). The vocabulary has no header. Of ``dev.csv``
    only the rows of split ``train`` are trained on.
    """
    vocabulary = layout.table(
        "FSD50K.ground_truth/vocabulary.csv", ("index", "label", "mid"), header=False
    )

    def listed() -> Iterator[Listed]:
        for row in layout.table("FSD50K.ground_truth/eval.csv", ("fname", "labels")):
            yield f"FSD50K.eval_audio/{row['fname']}.wav", row["labels"].split(","), TEST
        if train:
            columns = ("fname", "labels", "split")
            for row in layout.table("FSD50K.ground_truth/dev.csv", columns):
                if row["split"] == "train":
                    yield f"FSD50K.dev_audio/{row['fname']}.wav", row["labels"].split(","), TRAIN

    return layout.dataset([row["label"] for row in vocabulary], listed())


def tut2017(layout: Layout, train: bool) -> Dataset:
    """``TUT-acoustic-scenes-2017-{evaluation,development}/`` with ``meta.txt`` and ``audio/``.

    ``meta.txt`` has tabs, no header, and the file, the scene and the place of recording, by the
    README of both archives (zenodo.org/record/1040168 and 400515). The
    paper's number is a multiple of 1 / 1620: the evaluation set alone.
    """

    def listed() -> Iterator[Listed]:
        parts = {"evaluation": TEST, "development": TRAIN}
        for part, fold in parts.items():
            if fold == TEST or train:
                folder = f"TUT-acoustic-scenes-2017-{part}"
                for line in layout.lines(f"{folder}/meta.txt"):
                    name, scene, *_ = (*line.split("\t"), "")
                    yield f"{folder}/{name}", [scene], fold

    return layout.dataset(SCENES, listed())
