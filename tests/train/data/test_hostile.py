"""Listings, corpora and recordings that cannot be used: one sentence with the file and the row."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.errors import AudioError, ClapError
from tests import tiny
from train.config.data import ListingConfig, TextSource
from train.data.clips import ClipStore
from train.data.corpora import read_audiocaps, read_clotho, read_fsd50k, read_macs
from train.data.listing import Clip, read_listing
from train.data.recording import Recording
from train.data.shards import read_shards
from train.data.table import read_rows
from train.data.texts import collect

SPEC = tiny.config().audio
DEEP = 100_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("deep.jsonl", b'{"a": ' + b"[" * DEEP, "line 1: it cannot .* nested"),
        ("digits.jsonl", b'{"a": 1' + b"0" * 5000 + b"}", "line 1: it cannot .* 5001 digits"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "columns that are there twice: a"),
        ("cells.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has more cells than the header has columns"),
        ("long.csv", b"a\n" + b"x" * 200_000, "field larger than"),
        ("latin.csv", "a\nf\xfcr\n".encode("latin-1"), "'utf-8' codec can't decode"),
        ("folder.csv", None, "Is a directory"),
        ("nul\0.csv", b"", "null"),
        ("x" * 300 + ".csv", b"", "name too long"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_tables(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif content:
        path.write_bytes(content)
    with pytest.raises(ClapError, match=message):
        read_rows(path)


def test_the_mark_of_an_editor_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    for name, text in (("a.csv", "file,says\na.wav,x\n"), ("a.jsonl", '{"file": "a.wav"}\n')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        ((_, row),) = read_rows(tmp_path / name)
        assert row["file"] == "a.wav"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"en": "a dog"}, "line 2: a dict is no text"),
        ([["a dog"]], "line 2: a list is no text"),
    ],
)
def test_cells_that_are_no_text(cell: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    rows = ({"file": "a.wav", "says": "x"}, {"file": "b.wav", "says": cell})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ClapError, match=message):
        read_listing(ListingConfig(str(path), "file", captions=("says",)))
    with pytest.raises(ClapError, match=message):
        collect((TextSource(str(path), ("says",)),), ())


@pytest.mark.parametrize("pattern", ["{file:.2f}", "{file!x}", "{file.__class__}", "{}", "{file"])
def test_patterns_that_columns_do_not_fill(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("file,says\na.wav,x\n")
    with pytest.raises(ClapError, match=r"no pattern of columns|no column"):
        read_listing(ListingConfig(str(path), pattern, captions=("says",)))


def test_a_class_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/dog\xff"
    os.mkdir(folder)
    soundfile.write(folder + b"/a.wav", np.zeros(100), SPEC.sample_rate)
    with pytest.raises(ClapError, match=r"'dog\\udcff' is not valid text"):
        read_listing(ListingConfig(str(tmp_path), kind="folders"))

    path = Path(os.fsdecode(folder)) / "a.wav"
    assert Recording(path).stated() == (100, SPEC.sample_rate)  # the recording itself can be read


CORPORA: list[tuple[str, Callable[[Path], object]]] = [
    ("dev.csv", read_fsd50k),
    ("clotho_captions_development.csv", read_clotho),
    ("train.csv", lambda path: read_audiocaps(path, "{youtube_id}.wav")),
    ("MACS.yaml", read_macs),
]
DAMAGED = {
    "missing": None, "empty": b"", "binary": bytes(range(256)) * 20, "bracket": b"[" * 3000,
    "list": b"files: [1, [2], null, {filename: 3}]", "date": b"files: 2001-02-31",
    "tags": b"files: [{filename: a, annotations: [{sentence: x, tags: 3}]}]",
    "words": b"files: [{filename: a, annotations: [1]}]", "aliases": b"files: &a [*a]",
    "python": b"files: !!python/object/apply:os.system ['false']",
}  # fmt: skip


@pytest.mark.parametrize(("name", "read"), CORPORA, ids=[name for name, _ in CORPORA])
@pytest.mark.parametrize("damage", DAMAGED)
def test_corpora(name: str, read: Callable[[Path], object], damage: str, tmp_path: Path) -> None:
    path = tmp_path / "truth" / name
    path.parent.mkdir()
    if (content := DAMAGED[damage]) is not None:
        path.write_bytes(content)
    with pytest.raises(ClapError):
        read(path)


@pytest.mark.parametrize("info", ["[", "[" * DEEP, "[]", '{"1": 3}', "\x00"])
def test_metadata_of_fsd50k(info: str, tmp_path: Path) -> None:
    for folder in ("FSD50K.ground_truth", "FSD50K.metadata"):
        (tmp_path / folder).mkdir()
    truth = tmp_path / "FSD50K.ground_truth"
    (truth / "dev.csv").write_text("fname,labels\n1,Dog\n")
    (truth / "vocabulary.csv").write_text("0,Dog,/m/1\n")
    (tmp_path / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text(info)
    with pytest.raises(ClapError, match=r"metadata .*dev_clips_info_FSD50K\.json"):
        read_fsd50k(truth / "dev.csv")


@pytest.mark.parametrize("said", [b"[" * DEEP, b"[]", b"{", b"{\x00"])
def test_metadata_in_a_shard(said: bytes, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    path = tmp_path / "clips.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("a.wav", b"x"), ("a.json", said)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ClapError, match=r"clips\.tar: a\.json: "):
        read_shards(str(path))


def test_clips_that_are_no_recordings_are_left_out_by_name(tmp_path: Path) -> None:
    """Whatever is wrong with one, held in memory or not: the good one is there."""
    good = tmp_path / "good.wav"
    tiny.write_wav(good, np.sin(np.arange(9000) / 5).astype(np.float32))
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "raw.raw").write_bytes(b"12345678")  # libsndfile would need its rate
    (tmp_path / "circle.wav").symlink_to(tmp_path / "circle.wav")
    names = ["text.wav", "empty.wav", "folder.wav", "raw.raw", "circle.wav", "gone.wav", "a\0.wav"]
    paths = [good, *(tmp_path / name for name in names), tmp_path / ("x" * 300 + ".wav")]
    clips = [Clip(path, ("x",), (), "x", 1.0) for path in paths]
    for memory in (None, 0):
        store = ClipStore(clips, SPEC, threads=1, memory=memory, bad_share=0.99)
        assert [clip.path for clip in store.clips] == [good]
        assert set(store.bad) == {str(path) for path in paths[1:]}


def test_a_shard_that_is_gone(tmp_path: Path) -> None:
    for name in ("gone.tar", "a\0.tar"):
        recording = Recording(tmp_path / name, (0, 10))
        with pytest.raises(AudioError, match="cannot be read"):
            recording.stated()
        with pytest.raises(AudioError, match="cannot be read"):
            recording.part(10, 8000, 0, 5, SPEC)


def test_a_file_that_shrank_after_its_header_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(9000), SPEC.sample_rate)
    stated = Recording(path).stated()
    assert stated == (9000, SPEC.sample_rate)
    for content in (path.read_bytes()[:1000], b""):
        path.write_bytes(content)
        with pytest.raises(AudioError, match=r"a\.wav"):
            Recording(path).part(*stated, 5000, 6000, SPEC)
