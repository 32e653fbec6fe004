"""Listings: which rows become clips, with which texts, and errors that say where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.errors import ClapError
from train.config.data import ListingConfig
from train.data.listing import Clip, read_listing
from train.data.table import read_rows, texts_of

CSV = """\
file,class,says,also,fold
a.wav,dog_bark,A dog barks.,Barking,1
b.wav,rain,"Rain, and wind",,2
sub/c.wav,,A bell,,1
d.wav,rain,Drops,,3
"""


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def jsonl(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_is_a_clip(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "file", captions=("says", "also"), names=("class",),
                           labels=("class",), weight=2.5)  # fmt: skip
    folder = csv_file.parent
    assert read_listing(config) == [
        Clip(folder / "a.wav", ("A dog barks.", "Barking"), ("dog_bark",), "dog_bark", 2.5),
        Clip(folder / "b.wav", ("Rain, and wind",), ("rain",), "rain", 2.5),
        Clip(folder / "sub/c.wav", ("A bell",), (), "A bell", 2.5),  # the first text is the label
        Clip(folder / "d.wav", ("Drops",), ("rain",), "rain", 2.5),
    ]


def test_where_exclude_and_rename(csv_file: Path) -> None:
    config = ListingConfig(
        str(csv_file), "file", names=("class",), labels=("class",), where={"fold": ("1", "2", "3")},
        exclude={"fold": ("3",), "class": ("",)}, rename={"dog_bark": "dog"},
    )  # fmt: skip
    clips = read_listing(config)
    assert [(c.path.name, c.label, c.names) for c in clips] == [
        ("a.wav", "dog", ("dog_bark",)),  # a caption stays what was said
        ("b.wav", "rain", ("rain",)),
    ]


def test_the_first_label_column_that_is_not_empty_counts(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "file", labels=("also", "class", "says"))
    assert [c.label for c in read_listing(config)] == ["Barking", "rain", "A bell", "rain"]


def test_jsonl_lists_are_several_captions_and_values_are_compared_as_text(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"audio": "a.wav", "caption": ["One.", " Two. ", ""], "fold": 1},
        {"audio": "b.wav", "caption": "Three.", "fold": 2},
    )
    config = ListingConfig(str(path), "audio", captions=("caption",), exclude={"fold": ("2",)})
    assert read_listing(config) == [Clip(tmp_path / "a.wav", ("One.", "Two."), (), "One.", 1.0)]


def test_absent_columns_are_all_listed_with_those_there_are(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "path", captions=("caption",), where={"split": ("a",)})
    with pytest.raises(ClapError) as caught:
        read_listing(config)
    assert "list.csv has no column caption, path, split" in str(caught.value)
    assert "it has file, class, says, also, fold" in str(caught.value)


def test_a_row_without_any_text_is_named_by_its_line(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "file", labels=("class",))
    with pytest.raises(ClapError, match=r"list\.csv, line 4: neither a caption nor a label"):
        read_listing(config)


def test_lines_of_jsonl_are_counted_from_one_blank_ones_too(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"audio": "a.wav", "caption": "x"})
    with path.open("a") as file:
        file.write("\n\n" + json.dumps({"audio": "b.wav", "caption": ""}) + "\n")
    with pytest.raises(ClapError, match="line 4: neither"):
        read_listing(ListingConfig(str(path), "audio", captions=("caption",)))


def test_a_row_that_lacks_a_column_is_named_by_line_and_column(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"audio": "a.wav", "caption": "x"}, {"audio": "b.wav", "text": "y"})
    with pytest.raises(ClapError, match=r"list\.jsonl, line 2: no column caption"):
        read_listing(ListingConfig(str(path), "audio", captions=("caption",)))


def test_a_row_without_a_path_is_named_by_its_line(tmp_path: Path) -> None:
    for rows in ("file,says\n,text\n", "says,file\ntext\n"):
        path = tmp_path / "list.csv"
        path.write_text(rows)
        with pytest.raises(ClapError, match=r"list\.csv, line 2: no audio path in column file"):
            read_listing(ListingConfig(str(path), "file", captions=("says",)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "cannot be read"),
        ("empty.csv", b"", "has no rows"),
        ("header.csv", b"a,b\n", "has no rows"),
        ("binary.csv", b"\xff\xfe\x00a", "cannot be read"),
        ("broken.jsonl", b'{"a": 1}\n{"b": 1}\n{"a": \n', "cannot be read: line 3:"),
        ("array.jsonl", b'{"a": 1}\n[1, 2]\n', "line 2 is no JSON object"),
    ],
)
def test_files_that_are_no_listing(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ClapError, match=message) as caught:
        read_rows(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_nothing_left_is_an_error(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "file", captions=("says",), where={"fold": ("9",)})
    with pytest.raises(ClapError, match="no row is left after 'where' and 'exclude'"):
        read_listing(config)


def test_texts_of_a_cell() -> None:
    assert texts_of(" a ") == ["a"]
    assert texts_of(["a", " ", "b "]) == ["a", "b"]
    assert texts_of("") == texts_of(None) == texts_of([]) == []
    assert texts_of(0) == ["0"]  # a class may be called by a number


def test_slices_of_one_recording_share_their_labels_draws(tmp_path: Path) -> None:
    names = ["a1", "a2", "a3", "a4", "b1", "c1", "d1", "e1"]
    source = ["a", "a", "a", "a", "b", "a", "", ""]
    label = ["x", "x", "x", "x", "x", "y", "z", "z"]
    path = jsonl(
        tmp_path,
        *({"file": f"{n}.wav", "class": k, "take": s}
          for n, s, k in zip(names, source, label, strict=True)),
    )  # fmt: skip
    config = ListingConfig(str(path), "file", labels=("class",), recording="take", weight=3.0)
    weight = {clip.path.stem: clip.weight for clip in read_listing(config)}
    # Label x has weight 5 * 3 in all; its recordings of 4 and of 1 slices weigh 2 : 1.
    assert weight["a1"] == pytest.approx(15 * 2 / 3 / 4)
    assert weight["b1"] == pytest.approx(15 / 3)
    assert sum(weight[n] for n in names[:5]) == pytest.approx(15)
    # The same take under another label, and clips of unknown takes, are recordings of their own.
    assert weight["c1"] == weight["d1"] == weight["e1"] == pytest.approx(3.0)


def test_a_missing_recording_column_is_named(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "file", labels=("class",), recording="take")
    with pytest.raises(ClapError, match="no column take; it has file"):
        read_listing(config)


def test_an_audio_path_may_be_a_pattern_of_columns(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "fold{fold}/{file}", captions=("says",))
    names = [clip.name for clip in read_listing(config)]
    assert names == ["fold1/a.wav", "fold2/b.wav", "fold1/sub/c.wav", "fold3/d.wav"]
    with pytest.raises(ClapError, match="no column id; it has file"):
        read_listing(ListingConfig(str(csv_file), "{id}.wav", captions=("says",)))


def test_problems_of_several_rows_are_all_listed(csv_file: Path) -> None:
    with csv_file.open("a") as file:
        file.write(",rain,No path,,4\ne.wav,,,,4\n")
    with pytest.raises(ClapError) as caught:
        read_listing(ListingConfig(str(csv_file), "file", captions=("says",)))
    assert "line 6: no audio path in column file; line 7: neither a caption" in str(caught.value)


def test_a_table_needs_to_be_told_where_the_audio_is(csv_file: Path) -> None:
    with pytest.raises(ValueError, match="kind 'table' needs 'audio'"):
        ListingConfig(str(csv_file))


def test_a_clip_knows_its_recording(csv_file: Path) -> None:
    config = ListingConfig(str(csv_file), "file", captions=("says",), recording="also")
    assert [clip.recording for clip in read_listing(config)] == ["Barking", None, None, None]
