"""Zero-shot evaluation: accuracies that can be counted, and the runtime's own embeddings."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime import Classifier
from runtime.errors import ClapError
from tests import tiny
from train.config.data import ListingConfig, TaskConfig
from train.data.listing import Clip
from train.zero_shot import task as task_module
from train.zero_shot.task import ClipStoreFactory, Task, TaskResult, read_candidates

LENGTHS = [1, 700, 7999, 8000, 8001, 15_999, 20_500, 31_000]


def test_accuracy_is_the_share_of_clips_with_the_right_label_first() -> None:
    similarity = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.1], [0.1, 0.2, 0.15], [0.5, 0.4, 0.6]])
    result = TaskResult(("a", "b", "c"), similarity, np.array([0, 1, 2, 2]))
    assert result.accuracy == 0.75
    assert result.by_label() == {"a": 1.0, "b": 1.0, "c": 0.5}
    none = TaskResult(("a", "b", "c"), similarity, np.array([1, 0, 0, 0]))
    assert none.accuracy == 0.0
    assert none.by_label() == {"a": 0.0, "b": 0.0}  # c has no clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Clips shorter and longer than the window, on the int16 grid of the store."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for i, length in enumerate(LENGTHS):
        samples = tiny.waveforms(1, length, seed=i)[0].numpy()
        samples = (np.round(samples * 32767) / np.float32(32767)).astype(np.float32)
        path = tiny.write_wav(folder / f"{i}.wav", samples)
        found.append(Clip(path, ("x",), (), "dog" if i % 2 else "rain", 1.0))
    return found


def task_of(clips: list[Clip], folder: Path, candidates: list[str]) -> TaskConfig:
    lines = [f"{clip.path},{clip.label}" for clip in clips]
    (folder / "clips.csv").write_text("\n".join(["file,class", *lines]) + "\n")
    (folder / "labels.txt").write_text("\n".join(candidates) + "\n\n")
    listing = ListingConfig(str(folder / "clips.csv"), "file", labels=("class",))
    return TaskConfig("test", listing, str(folder / "labels.txt"))


def test_a_task_gives_the_classifiers_similarities(
    clips: list[Clip], exported_bundle: Path, tmp_path: Path
) -> None:
    labels = ["dog", "sea wind", "rain"]
    model = tiny.checkpoint().model
    task = Task(task_of(clips, tmp_path, labels), ClipStoreFactory(model.config.audio))
    result = task.run(model, tiny.tokenizer())
    assert result.labels == tuple(labels)
    assert result.truth.tolist() == [2, 0] * 4
    classifier = Classifier(exported_bundle, labels=labels)
    right = 0
    for clip, row in zip(clips, result.scores, strict=True):
        predictions = classifier.predict(clip.path, top_k=3)
        for prediction in predictions:
            assert abs(row[labels.index(prediction.label)] - prediction.similarity) < 1e-5
        right += predictions[0].label == clip.label
    assert result.accuracy == right / len(clips)


def test_underscores_in_labels_and_candidates_are_spaces(clips: list[Clip], tmp_path: Path) -> None:
    model = tiny.checkpoint().model
    renamed = [
        dataclasses.replace(c, label={"dog": "dog_bark", "rain": "sea wind"}[c.label])
        for c in clips[:2]
    ]
    factory = ClipStoreFactory(model.config.audio)
    results = [
        Task(task_of(renamed, tmp_path, labels), factory).run(model, tiny.tokenizer())
        for labels in (["dog bark", "sea_wind"], ["dog_bark", "sea wind"])
    ]
    assert results[0].truth.tolist() == results[1].truth.tolist() == [1, 0]
    assert np.array_equal(results[0].scores, results[1].scores)


def test_prompts_are_the_models_template_with_plain_words(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def embed(_model: object, _tokenizer: object, texts: list[str]) -> torch.Tensor:
        asked.extend(texts)
        return torch.eye(len(texts), tiny.DIM)

    monkeypatch.setattr(task_module, "embed_texts", embed)
    model = tiny.checkpoint().model
    config = task_of(clips, tmp_path, ["dog", "rain", "car_horn"])
    Task(config, ClipStoreFactory(model.config.audio)).run(model, tiny.tokenizer())
    assert asked == [f"This is a sound of {name}." for name in ("dog", "rain", "car horn")]


def test_labels_that_are_no_candidates_are_all_listed(clips: list[Clip], tmp_path: Path) -> None:
    factory = ClipStoreFactory(tiny.config().audio)
    with pytest.raises(ClapError, match="task test: labels not among the candidates: dog, rain"):
        Task(task_of(clips, tmp_path, ["cat", "wind"]), factory)


def test_stores_are_shared_by_tasks_of_the_same_clips(clips: list[Clip]) -> None:
    factory = ClipStoreFactory(tiny.config().audio)
    first = factory(clips[:2])
    other = factory([dataclasses.replace(clip, label="other") for clip in clips[:2]])
    assert [clip.label for clip in other.clips] == ["other", "other"]
    assert factory(clips[:2]) is first
    assert factory(clips[:3]) is not first


def test_packaged_candidates() -> None:
    sizes = {name: read_candidates(name) for name in ("esc10", "esc50", "urbansound8k")}
    assert [len(labels) for labels in sizes.values()] == [10, 50, 10]
    assert set(sizes["esc10"]) < set(sizes["esc50"])
    for labels in sizes.values():
        assert len(set(labels)) == len(labels)
        assert all(label == label.strip() and "_" not in label for label in labels)
    with pytest.raises(ClapError, match="'esc51': neither a task of this package nor a text file"):
        read_candidates("esc51")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"dog\n\xff\xfe\n", "cannot be read"),
        (b"\n \n", "holds no labels"),
        (b"dog bark\nrain\ndog_bark\n", "holds dog bark more than once"),
    ],
)
def test_candidates_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ClapError, match=message):
        read_candidates(str(path))


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("a\0b", "x" * 300, str(tmp_path), ""):
        with pytest.raises(ClapError, match="candidates "):
            read_candidates(name)
    hidden = tmp_path / "labels.txt"
    hidden.write_text("dog")
    hidden.chmod(0)
    if os.geteuid():
        with pytest.raises(ClapError, match="cannot be read"):
            read_candidates(str(hidden))


def test_a_packaged_name_means_the_packaged_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies in the working directory; a byte order mark is no part of the first label."""
    (tmp_path / "esc10").write_bytes(b"\xef\xbb\xbfmy own\nother\n")
    packaged = read_candidates("esc10")
    monkeypatch.chdir(tmp_path)
    assert read_candidates("esc10") == packaged
    assert read_candidates("./esc10") == ("my own", "other")


def test_one_candidate_is_no_choice(clips: list[Clip], tmp_path: Path) -> None:
    alone = [dataclasses.replace(clips[0], label="dog")]
    with pytest.raises(ClapError, match="'dog' is the only candidate"):
        Task(task_of(alone, tmp_path, ["dog"]), ClipStoreFactory(tiny.config().audio))
