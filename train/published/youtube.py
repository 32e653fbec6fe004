"""Readers of clips from YouTube, some of which are gone: AudioSet and DCASE 2017 task 4."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import ClapError
from train.published.dataset import TEST, TRAIN, Dataset
from train.published.layout import Layout, Listed, shorten

DCASE17 = (
    "Train horn", "Air horn, truck horn", "Car alarm", "Reversing beeps", "Ambulance (siren)",
    "Police car (siren)", "Fire engine, fire truck (siren)", "Civil defense siren", "Screaming",
    "Bicycle", "Skateboard", "Car", "Car passing by", "Bus", "Truck", "Motorcycle", "Train",
)  # fmt: skip
# Folders as the archives of the organisers unpack, by their list.
DCASE17_PARTS = {
    "evaluation": (TEST, "evaluation_set_formatted_audio_segments"),
    "training": (
        TRAIN, "unbalanced_train_segments_training_set_audio_formatted_and_segmented_downloads"
    ),
}  # fmt: skip
AUDIOSET_PARTS = {"eval_segments": TEST, "balanced_train_segments": TRAIN}


def audioset(layout: Layout, train: bool) -> Dataset:
    """``class_labels_indices.csv``, ``{eval,balanced_train}_segments.csv``, audio below ``audios``.

    The lists are those of research.google.com/audioset/download.html: three lines of comments, then
    id, start, end, and the classes' ids in one quoted field.
    There is no official audio: clips are read as ``audios/<list>/Y<youtube id>.wav``, which is how
    the downloader of PANNs (Kong et al. 2020) names them.
    """
    classes = layout.table("class_labels_indices.csv", ("index", "mid", "display_name"))
    name_of = {row["mid"]: row["display_name"] for row in classes}

    def listed() -> Iterator[Listed]:
        for part, fold in AUDIOSET_PARTS.items():
            if fold == TEST or train:
                columns = ("ytid", "start", "end", "labels")
                for row in layout.table(f"{part}.csv", columns, header=False):
                    mids = row["labels"].split(",")
                    if other := [mid for mid in mids if mid not in name_of]:
                        raise ClapError(
                            f"task audioset: {part}.csv has a row of class {shorten(other[0])!r}, "
                            "which is not in class_labels_indices.csv: take the lists as published."
                        )
                    names = [name_of[mid] for mid in mids]
                    yield f"audios/{part}/Y{row['ytid']}.wav", names, fold

    return layout.dataset(list(name_of.values()), listed())


def dcase17(layout: Layout, train: bool) -> Dataset:
    """``groundtruth_weak_label_{evaluation,training}_set.csv`` and the folders of the archives.

    The organisers' repository (github.com/ankitshah009/Task-4-Large-scale-weakly-supervised-sound-
    event-detection-for-smart-cars) has the training list at its top, and the evaluation list, which
    came later, in ``groundtruth_release``; either is read from both places.

    Lists have tabs, no header, and a row for each label: file, start, end, label. Audio files have
    a ``Y`` before the listed name. The paper does not say whether its F1 is of the evaluation set
    (1,103 clips, read here) or the testing set (488).
    """
    columns = ("file", "start", "end", "label")

    def listed() -> Iterator[Listed]:
        for part, (fold, folder) in DCASE17_PARTS.items():
            if fold == TEST or train:
                labels: dict[str, list[str]] = {}
                name = f"groundtruth_weak_label_{part}_set.csv"
                name = layout.first(f"groundtruth_release/{name}", name)
                for row in layout.table(name, columns, header=False, delimiter="\t"):
                    labels.setdefault(row["file"], []).append(row["label"])
                for file, of in labels.items():
                    yield f"{folder}/Y{file}", of, fold

    return layout.dataset(DCASE17, listed())
