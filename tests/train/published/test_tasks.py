"""Readers of the benchmarks' data sets on small trees as their authors publish them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests.tiny import datasets as benchtrees
from train.published.catalogue import RETRIEVAL, TASKS
from train.published.dataset import Dataset, LabelledFile, spread_folds
from train.published.layout import Layout
from train.published.task import PublishedTask, RetrievalTask, choose

BY_NAME = {task.name: task for task in (*TASKS, *RETRIEVAL)}
# Classes as the data sets' papers state them.
CLASSES = {
    "esc50": 50, "urbansound8k": 10, "dcase17": 17, "tut2017": 15, "gtzan-music-speech": 2,
    "gtzan-genres": 10, "mridangam-stroke": 10, "mridangam-tonic": 6, "beijing-opera": 4,
    "crema-d": 6, "ravdess": 8, "speech-commands": 12, "vocalsound": 6, "libricount": 11,
}  # fmt: skip


def layout(
    task: PublishedTask | RetrievalTask,
    root: Path,
    extension: str | None = None,
    partial: bool = False,
) -> Layout:
    return Layout(root, task.name, task.download, extension, partial or task.partial)


def read(name: str, root: Path, train: bool = True, extension: str | None = None) -> Dataset:
    task = BY_NAME[name]
    assert isinstance(task, PublishedTask)
    return task.read(layout(task, root, extension), train)


def test_there_are_16_tasks_of_8_domains() -> None:
    assert len(TASKS) == 16
    assert len({task.domain for task in TASKS}) == 8
    assert set(benchtrees.TREES) == {task.name for task in TASKS}


@pytest.mark.parametrize("name", benchtrees.TREES)
def test_a_reader_finds_the_recordings_classes_and_folds_of_its_layout(
    name: str, tmp_path: Path
) -> None:
    expected = benchtrees.build(name, tmp_path)
    found = read(name, tmp_path)
    got = [(x.path.relative_to(tmp_path).as_posix(), x.labels, x.fold) for x in found.items]
    assert sorted(got) == sorted(expected)
    assert len(found.labels) == CLASSES.get(name, 3)  # two have their classes in the tree
    without = [x for x in expected if x[2] != "train"]
    assert len(read(name, tmp_path, train=False).items) == len(without)
    assert [x.path for x in found.test_items()] == [
        x.path for x in read(name, tmp_path, train=False).items
    ]


@pytest.mark.parametrize("name", benchtrees.TREES)
def test_another_folder_is_one_sentence_with_what_is_there_and_what_to_do(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ClapError) as caught:
        read(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"task {name} reads ")
    assert "holds holiday.jpg. Unpack " in message
    assert "\n" not in message


@pytest.mark.parametrize("name", benchtrees.TREES)
def test_published_numbers_can_be_shares_of_the_clips(name: str) -> None:
    task = BY_NAME[name]
    assert isinstance(task, PublishedTask)
    if task.metric == "accuracy":
        count = round(task.paper.zero_shot * task.clips)
        # Four digits, rounded or cut off.
        assert abs(count / task.clips - task.paper.zero_shot) <= 1.0e-4
    assert task.template.count("{}") == 1


def test_absent_recordings_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    first = benchtrees.build("esc50", tmp_path)[0][0]
    (tmp_path / first).unlink()
    with pytest.raises(ClapError, match=r"1 of 3 listed recordings are not there, the first is .*"):
        read("esc50", tmp_path)


def test_clips_that_left_youtube_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("audioset", "dcase17"):
        expected = benchtrees.build(name, tmp_path / name)
        (tmp_path / name / expected[0][0]).unlink()
        found = read(name, tmp_path / name)
        assert (len(found.items), found.absent) == (len(expected) - 1, 1)
        for path, _, _ in expected[1:]:
            (tmp_path / name / path).unlink()
        with pytest.raises(ClapError, match="3 of 3 listed recordings"):
            read(name, tmp_path / name)


def test_another_extension_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    for name in ("esc50", "gtzan-genres"):
        root = tmp_path / name
        for path, _, _ in benchtrees.build(name, root):
            (root / path).rename((root / path).with_suffix(".flac"))
        with pytest.raises(ClapError):
            read(name, root)
        found = read(name, root, extension="flac")
        assert {x.path.suffix for x in found.items} == {".flac"}
        assert len(found.items) == len(benchtrees.TREES[name](root))


def test_classes_that_are_not_the_data_sets_are_named(tmp_path: Path) -> None:
    benchtrees.build("esc50", tmp_path)
    listing = tmp_path / "meta/esc50.csv"
    listing.write_text(listing.read_text().replace("vacuum_cleaner", "hoover"))
    with pytest.raises(ClapError, match="has classes that are not the data set's: hoover"):
        read("esc50", tmp_path)


def test_lists_of_other_columns_or_none_are_refused(tmp_path: Path) -> None:
    benchtrees.build("urbansound8k", tmp_path)
    listing = tmp_path / "metadata/UrbanSound8K.csv"
    whole = listing.read_text()
    listing.write_text(whole.replace("slice_file_name", "file"))
    with pytest.raises(ClapError, match="has no column slice_file_name; it has file, fsID"):
        read("urbansound8k", tmp_path)
    listing.write_text(whole.split("\n")[0] + "\n")
    with pytest.raises(ClapError, match="has no rows"):
        read("urbansound8k", tmp_path)
    listing.write_text(whole + "cut-off\n")
    with pytest.raises(ClapError, match="too few columns in row 3"):
        read("urbansound8k", tmp_path)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("crema-d", "AudioWAV/speech.wav"), ("crema-d", "AudioWAV/abc_DFA_ANG_XX.wav"),
        ("ravdess", "Audio_Song_Actors_01-24/Actor_01/03-01.wav"), ("libricount", "test/noise.wav"),
        ("ravdess", "Audio_Song_Actors_01-24/Actor_01/03-01-09-01-01-01-01.wav"),
        ("libricount", "test/11_1.wav"), ("beijing-opera", "erhu.wav"),
        ("mridangam-tonic", "B/odd.wav"),
    ],
)  # fmt: skip
def test_files_that_the_data_set_does_not_have_are_refused(
    name: str, path: str, tmp_path: Path
) -> None:
    benchtrees.build(name, tmp_path)
    benchtrees.sound(tmp_path / path)
    with pytest.raises(ClapError, match=f"task {name}: "):
        read(name, tmp_path)


def test_a_list_of_vocalsound_that_is_none_is_refused(tmp_path: Path) -> None:
    benchtrees.build("vocalsound", tmp_path)
    for content in ("[]", "{", '{"data": [{"file": "x"}]}'):
        (tmp_path / "datafiles/te.json").write_text(content)
        with pytest.raises(ClapError, match=r"te\.json is not a list of recordings"):
            read("vocalsound", tmp_path)


def test_classes_of_audioset_that_are_not_in_its_index_are_refused(tmp_path: Path) -> None:
    benchtrees.build("audioset", tmp_path)
    with (tmp_path / "eval_segments.csv").open("a") as file:
        file.write('abc, 0.0, 10.0, "/m/none"\n')
    with pytest.raises(ClapError, match="class '/m/none'"):
        read("audioset", tmp_path)


def test_captions_are_gathered_by_recording(tmp_path: Path) -> None:
    benchtrees.captions(tmp_path)
    audiocaps, clotho = RETRIEVAL
    found = audiocaps.read(layout(audiocaps, tmp_path / "audiocaps"))
    assert [path.name for path in found.paths] == ["7fmOlUlwoNg.wav"]
    assert found.captions == (("rain falls on a tin roof", "rain"),)
    assert found.absent == 1
    found = clotho.read(layout(clotho, tmp_path / "clotho"))
    assert [path.name for path in found.paths] == ["Santa Motor.wav", "Radio Garble.wav"]
    assert [texts[0] for texts in found.captions] == ["rain", "dog"]
    assert [len(texts) for texts in found.captions] == [5, 5]
    with pytest.raises(ClapError, match=r"task clotho reads clotho_captions_evaluation\.csv"):
        clotho.read(layout(clotho, tmp_path))


def test_splits_are_the_folds_or_the_official_one() -> None:
    items = [LabelledFile(Path(f"{i}"), ("a",), fold) for i, fold in enumerate("1213")]
    folds = Dataset(("a", "b"), tuple(items), 0)
    got = [(train.tolist(), test.tolist()) for train, test in folds.splits()]
    assert got == [([1, 3], [0, 2]), ([0, 2, 3], [1]), ([0, 1, 2], [3])]
    items = [dataclasses.replace(x, fold="train" if x.fold == "1" else "test") for x in items]
    (split,) = Dataset(("a", "b"), tuple(items), 0).splits()
    assert [part.tolist() for part in split] == [[0, 2], [1, 3]]
    alone = Dataset(("a",), tuple(dataclasses.replace(x, fold="test") for x in items), 0)
    with pytest.raises(ClapError, match="all 4 are of fold test"):
        alone.splits()


def test_truth_marks_every_class_of_a_recording() -> None:
    items = (LabelledFile(Path("x"), ("c", "a"), "1"), LabelledFile(Path("y"), ("b",), "1"))
    assert Dataset(("a", "b", "c"), items, 0).truth().tolist() == [
        [True, False, True],
        [False, True, False],
    ]


def test_folds_of_this_project_spread_every_class_evenly() -> None:
    labels = ["x"] * 7 + ["y"] * 3
    folds = spread_folds(labels, 3)
    assert folds == list("1231231") + list("123")


def test_choosing_benchmarks_and_their_folders(tmp_path: Path) -> None:
    everything = (*TASKS, *RETRIEVAL)
    (tmp_path / "ESC-50-master").mkdir()
    (tmp_path / "mridangam_stroke_1.5").mkdir()
    names = [task.name for task, _ in choose("all", everything, tmp_path)]
    assert names == ["esc50", "mridangam-stroke", "mridangam-tonic"]
    ((task, root),) = choose("esc50", everything, tmp_path)
    assert (task.name, root) == ("esc50", tmp_path / "ESC-50-master")
    # Of one benchmark, --data may be the data set's folder itself.
    ((_, root),) = choose("clotho", everything, tmp_path / "ESC-50-master")
    assert root == tmp_path / "ESC-50-master"
    for asked, message in (
        ("esc51", "names no benchmark (esc51)"), ("", "names no benchmark (it is empty)"),
        ("esc50,all", "names no benchmark (all)"), ("esc50,clotho", "has no folder clotho"),
    ):  # fmt: skip
        with pytest.raises(ClapError) as caught:
            choose(asked, everything, tmp_path)
        assert message in str(caught.value)
    with pytest.raises(ClapError, match="is no folder"):
        choose("all", everything, tmp_path / "none")
    with pytest.raises(ClapError, match="holds no data set: it may hold the folders ESC-50-master"):
        choose("all", everything, tmp_path / "ESC-50-master")
