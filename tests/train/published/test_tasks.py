"""Readers of the benchmarks' data sets on small trees as their authors publish them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests.tiny import datasets
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
    assert set(datasets.TREES) == {task.name for task in TASKS}


@pytest.mark.parametrize("name", datasets.TREES)
def test_a_reader_finds_the_recordings_classes_and_folds_of_its_layout(
    name: str, tmp_path: Path
) -> None:
    expected = datasets.build(name, tmp_path)
    found = read(name, tmp_path)
    got = [(x.path.relative_to(tmp_path).as_posix(), x.labels, x.fold) for x in found.items]
    assert sorted(got) == sorted(expected)
    assert len(found.labels) == CLASSES.get(name, 3)  # two have their classes in the tree
    without = [x for x in expected if x[2] != "train"]
    assert len(read(name, tmp_path, train=False).items) == len(without)
    assert [x.path for x in found.test_items()] == [
        x.path for x in read(name, tmp_path, train=False).items
    ]


@pytest.mark.parametrize("name", datasets.TREES)
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


@pytest.mark.parametrize("name", datasets.TREES)
def test_published_numbers_can_be_shares_of_the_clips(name: str) -> None:
    task = BY_NAME[name]
    assert isinstance(task, PublishedTask)
    if task.metric == "accuracy":
        count = round(task.paper.zero_shot * task.clips)
        # Four digits, rounded or cut off.
        assert abs(count / task.clips - task.paper.zero_shot) <= 1.0e-4
    assert task.template.count("{}") == 1


def test_absent_recordings_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    first = datasets.build("esc50", tmp_path)[0][0]
    (tmp_path / first).unlink()
    with pytest.raises(ClapError, match=r"1 of 3 listed recordings are not there, the first is .*"):
        read("esc50", tmp_path)


def test_clips_that_left_youtube_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("audioset", "dcase17"):
        expected = datasets.build(name, tmp_path / name)
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
        for path, _, _ in datasets.build(name, root):
            (root / path).rename((root / path).with_suffix(".flac"))
        with pytest.raises(ClapError):
            read(name, root)
        found = read(name, root, extension="flac")
        assert {x.path.suffix for x in found.items} == {".flac"}
        assert len(found.items) == len(datasets.TREES[name](root))


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("gtzan-genres", {".au": ".wav"}),  # mirdata, torchaudio
        ("dcase17", {"groundtruth_weak": "groundtruth_release/groundtruth_weak"}),
        ("vocalsound", {"audio_16k": "audio_44k"}),
        ("vocalsound", {"audio_16k": "data_44k"}),
    ],
)
def test_other_distributions_are_read_without_being_told(
    name: str, moved: dict[str, str], tmp_path: Path
) -> None:
    ((old, new),) = moved.items()
    expected = datasets.build(name, tmp_path)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        there = Path(str(path).replace(old, new))
        there.parent.mkdir(parents=True, exist_ok=True)
        path.rename(there)
    for folder in [p for p in tmp_path.iterdir() if p.is_dir() and not any(p.iterdir())]:
        folder.rmdir()
    found = read(name, tmp_path)
    got = [(x.path.relative_to(tmp_path).as_posix(), x.labels, x.fold) for x in found.items]
    assert sorted(got) == sorted((path.replace(old, new), *rest) for path, *rest in expected)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("beijing-opera", "beijing_opera_percussion_instrument_1.0"),
        ("beijing-opera", "beijing_opera"),
        ("gtzan-genres", "gtzan_genre/genres"),
        ("gtzan-genres", "genres_original"),
        ("esc50", "ESC-50"),
    ],
)
def test_data_sets_are_found_by_every_name_of_their_folder(
    name: str, folder: str, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "LibriCount10-0dB").mkdir()
    ((_, root),) = choose(name, TASKS, tmp_path)
    assert root == tmp_path / folder
    assert {root for _, root in choose("all", TASKS, tmp_path)} == {
        tmp_path / folder, tmp_path / "LibriCount10-0dB"
    }  # fmt: skip
    both = [task.name for task, _ in choose(f"{name},libricount", TASKS, tmp_path)]
    assert both == [name, "libricount"]


def test_classes_that_are_not_the_data_sets_are_named(tmp_path: Path) -> None:
    datasets.build("esc50", tmp_path)
    listing = tmp_path / "meta/esc50.csv"
    listing.write_text(listing.read_text().replace("vacuum_cleaner", "hoover"))
    with pytest.raises(ClapError, match="has classes that are not the data set's: hoover"):
        read("esc50", tmp_path)


def test_lists_of_other_columns_or_none_are_refused(tmp_path: Path) -> None:
    datasets.build("urbansound8k", tmp_path)
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
    datasets.build(name, tmp_path)
    datasets.sound(tmp_path / path)
    with pytest.raises(ClapError, match=f"task {name}: "):
        read(name, tmp_path)


def test_a_list_of_vocalsound_that_is_none_is_refused(tmp_path: Path) -> None:
    datasets.build("vocalsound", tmp_path)
    for content in ("[]", "{", '{"data": [{"file": "x"}]}'):
        (tmp_path / "datafiles/te.json").write_text(content)
        with pytest.raises(ClapError, match=r"te\.json is not a list of recordings"):
            read("vocalsound", tmp_path)


# A text file that each reader reads, by data set.
TEXTS = {
    "esc50": "meta/esc50.csv", "urbansound8k": "metadata/UrbanSound8K.csv",
    "fsd50k": "FSD50K.ground_truth/vocabulary.csv",
    "dcase17": "groundtruth_weak_label_evaluation_set.csv", "audioset": "eval_segments.csv",
    "tut2017": "TUT-acoustic-scenes-2017-evaluation/meta.txt",
    "speech-commands": "speech_commands_v0.02/testing_list.txt", "vocalsound": "datafiles/te.json",
}  # fmt: skip
DAMAGE = {
    "not UTF-8": b"\xff\xfe\x00d",
    "NUL": b"a\0b,1,c\n" * 3,
    "nested": b"[" * 100_000,
    "one endless field": b'"' + b"x" * 200_000,
    "empty": b"",
    "names that no file has": b"\t\t\t\n,,,,,,,\n..,..,..,..,..,..,..,..\n",
    "long names": b"x" * 5000 + b"," + b"x" * 5000,
}


def refusal(name: str, root: Path) -> str | None:
    """What a reader says that cannot use a data set."""
    try:
        read(name, root)
    except ClapError as error:
        return str(error)
    return None


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", TEXTS)
def test_a_damaged_list_is_one_sentence(name: str, damage: str, tmp_path: Path) -> None:
    """Whatever a list holds; a header that fits is put before it too."""
    datasets.build(name, tmp_path)
    path = tmp_path / TEXTS[name]
    header = path.read_bytes().split(b"\n")[0] + b"\n"
    for content in (DAMAGE[damage], header + DAMAGE[damage]):
        path.write_bytes(content)
        problem = refusal(name, tmp_path)
        assert problem is None or problem.startswith(f"task {name}")
        assert len(problem or "") < 2000


@pytest.mark.parametrize("name", TEXTS)
def test_a_folder_or_a_forbidden_file_in_place_of_a_list(name: str, tmp_path: Path) -> None:
    datasets.build(name, tmp_path)
    path = tmp_path / TEXTS[name]
    path.chmod(0)
    if os.geteuid():  # root may read anything
        with pytest.raises(ClapError, match=f"task {name}: .*cannot be read"):
            read(name, tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ClapError, match=f"task {name} reads"):
        read(name, tmp_path)


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "none", Path("a\0b"), Path("x" * 300)):
        with pytest.raises(ClapError, match="is no folder that can be read"):
            read("esc50", root)


def test_an_unquoted_comma_is_not_passed_over(tmp_path: Path) -> None:
    """Its row has more columns than there are names: the labels behind it would be lost."""
    datasets.build("audioset", tmp_path)
    with (tmp_path / "eval_segments.csv").open("a") as file:
        file.write("abc, 0.0, 10.0, /m/09x0r,/m/05zppz\n")
    with pytest.raises(ClapError, match="too many columns in row 3"):
        read("audioset", tmp_path)


def test_what_a_mac_puts_into_archives_is_passed_over(tmp_path: Path) -> None:
    for name in ("gtzan-genres", "crema-d", "libricount"):
        root = tmp_path / name
        expected = datasets.build(name, root)
        for path, _, _ in expected:
            (root / path).with_name(f"._{Path(path).name}").write_bytes(b"\0\5\x16\7")
        assert len(read(name, root).items) == len(expected)


def test_digits_that_are_no_numbers(tmp_path: Path) -> None:
    datasets.build("ravdess", tmp_path)
    for name in ("03-01-\u00b2-01-01-01-01.wav", "03-01-08-01-01-01-\u00b2.wav"):
        odd = tmp_path / "Audio_Speech_Actors_01-24" / "Actor_01" / name
        datasets.sound(odd)
        with pytest.raises(ClapError, match="task ravdess: "):
            read("ravdess", tmp_path)
        odd.unlink()


def test_nothing_to_test_on_is_said(tmp_path: Path) -> None:
    datasets.build("esc50", tmp_path)
    listing = tmp_path / "meta/esc50.csv"
    rows = [line.split(",") for line in listing.read_text().splitlines()]
    for row in rows[1:]:
        row[1] = "train"
    listing.write_text("\n".join(map(",".join, rows)))
    with pytest.raises(ClapError, match="all 3 recordings are for training"):
        read("esc50", tmp_path).test_items()


def test_classes_of_audioset_that_are_not_in_its_index_are_refused(tmp_path: Path) -> None:
    datasets.build("audioset", tmp_path)
    with (tmp_path / "eval_segments.csv").open("a") as file:
        file.write('abc, 0.0, 10.0, "/m/none"\n')
    with pytest.raises(ClapError, match="class '/m/none'"):
        read("audioset", tmp_path)


def test_captions_are_gathered_by_recording(tmp_path: Path) -> None:
    datasets.captions(tmp_path)
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
