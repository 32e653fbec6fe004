"""Everything that names recordings."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clap_export.library import sources
from runtime.errors import ClapError
from tests.clap_export.library import made


def found(*given: object, stdin: str | None = None) -> list[str]:
    text = None if stdin is None else io.StringIO(stdin)
    result = sources.find([str(each) for each in given], text)
    assert result.problems == []
    return [path if member is None else f"{path}: {member}" for path, member in result.items]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b/x.wav",
        "a/z.flac",
        "a/y.WAV",
        "top.mp3",
        "notes.txt",
        ".hidden/h.wav",
        "a/.h.wav",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_in_order_without_what_is_hidden_or_no_sound(folder: Path) -> None:
    want = [str(folder / name) for name in ("a/y.WAV", "a/z.flac", "b/x.wav", "top.mp3")]
    assert found(folder) == want
    # A file that is named counts, whatever its name, and nothing counts twice.
    assert found(folder / "notes.txt", folder, folder / "a") == [str(folder / "notes.txt"), *want]


def test_names_are_absolute_whatever_was_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "a")
    assert found("y.WAV", "../b", "./y.WAV") == [str(folder / "a/y.WAV"), str(folder / "b/x.wav")]


def test_patterns(folder: Path) -> None:
    assert found(f"{folder}/*/*.wav") == [str(folder / "b/x.wav")]
    assert found(f"{folder}/**/*") == found(folder)
    (folder / "[odd].wav").touch()
    assert found(folder / "[odd].wav") == [str(folder / "[odd].wav")]


def test_listings_of_three_kinds(folder: Path) -> None:
    names = ["a/y.WAV", "b/x.wav", "gone.wav"]
    want = [str(folder / name) for name in names]
    (folder / "list.csv").write_text("label,path\n" + "".join(f'"x, y",{n}\n' for n in names))
    (folder / "list.jsonl").write_text("".join(f'{{"path": "{n}", "n": 1}}\n\n' for n in names))
    pq.write_table(pa.table({"path": names, "n": [1, 2, 3]}), folder / "list.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        assert found(folder / f"list.{suffix}") == want


def test_a_list_on_standard_input(folder: Path) -> None:
    assert found("-", stdin=f"{folder}/b/x.wav\r\n\n{folder}/top.mp3\n") == [
        str(folder / "b/x.wav"), str(folder / "top.mp3"),
    ]  # fmt: skip


def test_shards_name_their_recordings(tmp_path: Path) -> None:
    shard = made.shard(tmp_path / "0.tar", {"a.wav": b"12345", "a.json": b"{}", "d/b.ogg": b"1"})
    result = sources.find([str(shard)])
    assert list(result.items) == [(str(shard), "a.wav"), (str(shard), "d/b.ogg")]
    for (_, member), item in result.items.items():
        assert member is not None
        with shard.open("rb") as file:
            assert item.offset is not None
            assert item.size is not None
            file.seek(item.offset)
            with tarfile.open(shard) as tar:
                inside = tar.extractfile(member)
                assert inside is not None
                assert file.read(item.size) == inside.read()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("nothing.wav", None, "does not exist"),
        ("empty/", None, "names no recordings"),
        ("*.xyz", None, "names no recordings"),
        ("a.tar.gz", b"x", "compressed shard"),
        ("bad.csv", b"file,label\nx.wav,1\n", "row 1 has no 'path'; it has file, label"),
        ("bad.jsonl", b'{"path": 5}\n', "row 1 has no 'path'"),
        ("list.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("torn.jsonl", b'{"path": "x.wav"\n', "cannot be read as JSON"),
        ("bad.parquet", b"PAR1 no", "cannot be read"),
        ("latin.csv", b"path\ncaf\xe9.wav\n", "cannot be read"),
    ],
)
def test_sources_that_name_nothing_are_one_sentence(
    name: str, content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ClapError, match=sentence):
        sources.find([str(path)])


def test_a_torn_shard_is_a_problem_and_what_was_read_is_used(tmp_path: Path) -> None:
    shard = made.shard(tmp_path / "0.tar", {"a.wav": bytes(2000), "b.wav": bytes(2000)})
    shard.write_bytes(shard.read_bytes()[:2600])
    result = sources.find([str(shard)])
    assert [member for _, member in result.items] == ["a.wav"]
    assert "cannot be read to its end" in result.problems[0]
