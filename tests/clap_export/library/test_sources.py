"""Everything that names recordings."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clap_export.library import sources
from clap_export.library.item import opened
from runtime.errors import ClapError
from tests.clap_export.library import made
from tests.tiny import bundle as tinybundle


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
    shard = made.shard(folder / "LOUD.TAR", {"a.wav": b"1"})
    assert found(f"{folder}/LOUD*") == found(shard) == [f"{shard}: a.wav"]
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


def test_a_name_in_a_list_that_is_not_utf8_is_one_bad_recording(folder: Path) -> None:
    """Standard input is strict where the locale has UTF-8."""
    lines = f"{folder}/b/x.wav\n{folder}/caf".encode() + b"\xe9.wav\n" + b"top.mp3\n"
    strict = io.TextIOWrapper(io.BytesIO(lines), "utf-8", "strict")
    items = list(sources.find(["-"], strict).items.values())
    assert [item.path for item in items[:2]] == [
        str(folder / "b/x.wav"), str(folder / "caf") + "\udce9.wav",
    ]  # fmt: skip
    assert (
        opened(items[1]).error
        == f"the name of '{folder}/caf\\udce9.wav' is not text in UTF-8: rename it."
    )


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


def sized(shard: Path, size: int) -> None:
    """Give the last member of a shard another size, as its header says it."""
    with tarfile.open(shard) as tar:
        at = tar.getmembers()[-1].offset
    data = bytearray(shard.read_bytes())
    data[at + 124 : at + 136] = b"\x80" + size.to_bytes(11, "big")
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    shard.write_bytes(data)


@pytest.mark.parametrize("bits", [30, 44, 62, 63, 70, 80])
def test_a_size_beyond_the_shard_is_no_memory_and_no_end(
    bits: int, tiny_bundle: Path, tmp_path: Path
) -> None:
    sound = tinybundle.wav(tinybundle.clip(0), tinybundle.RATE)
    shard = made.shard(tmp_path / "0.tar", {"a.wav": sound, "b.wav": sound})
    sized(shard, 1 << bits)
    done = made.library(tiny_bundle, [shard], tmp_path / "lib")
    assert done.embedded == 1
    assert "cannot be read to its end" in done.problems[0]
    assert done.failed == [f"'{shard}: b.wav' is cut off: the shard ends before it does."]
    assert made.rows(tmp_path / "lib")[str(shard), "a.wav"]["error"] is None


def test_a_sparse_member_is_not_read_as_what_lies_behind_it(tmp_path: Path) -> None:
    """Its size is that of the file with its zeros, of which the shard has less."""
    shard = made.shard(tmp_path / "0.tar", {"a.wav": b"12345", "b.wav": b"12345", "c.wav": b"6"})
    with tarfile.open(shard) as tar:
        at = tar.getmember("b.wav").offset
    data = bytearray(shard.read_bytes())
    data[at + 156] = ord("S")  # GNU's old kind
    data[at + 257 : at + 265] = b"ustar  \0"
    entry = b"%011o\0%011o\0" % (0, 5)
    data[at + 386 : at + 512] = entry + bytes(72 + 1) + b"%011o\0" % 9_000 + bytes(17)
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    shard.write_bytes(data)
    with tarfile.open(shard) as tar:
        assert [(m.name, m.size, m.issparse()) for m in tar] == [
            ("a.wav", 5, False), ("b.wav", 9_000, True), ("c.wav", 1, False),
        ]  # fmt: skip
    result = sources.find([str(shard)])
    assert [member for _, member in result.items] == ["a.wav", "c.wav"]
    assert result.problems == [
        f"'{shard}: b.wav' is stored without its zeros, which is not read: make the shard without "
        "--sparse."
    ]


@pytest.mark.parametrize("year", [1600, 1938, 2440])
def test_a_file_of_any_year_is_embedded_and_known_again(
    year: int, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Behind 2262 its nanoseconds since 1970 are more than 64 bits hold."""
    paths = made.recordings(tmp_path / "sounds", 3)
    then = (year - 1970) * 31_556_952 * 10**9
    os.utime(paths[1], ns=(then, then))
    if os.stat(paths[1]).st_mtime_ns != then:
        pytest.skip("the file system has no such time")
    first, again = (
        made.library(tiny_bundle, [tmp_path / "sounds"], tmp_path / "lib") for _ in range(2)
    )
    assert (first.embedded, again.embedded, again.unchanged) == (3, 0, 3)
