"""A task's clips as the listing that clap-export reads."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from clap_export.parity.accuracy import Labelled
from clap_export.parity.accuracy import read_listing as read_labelled
from runtime.errors import ClapError
from tests.places import RECIPES
from train.__main__ import main
from train.config.data import ListingConfig, TaskConfig
from train.zero_shot import listing_file

ROWS = "file,class,fold\na.wav,dog_bark,1\nb.wav,rain,2\nc.wav,gun_shot,1\nd.wav,rain,1\n"


def task(folder: Path, rows: str = ROWS) -> TaskConfig:
    path = folder / "clips.csv"
    path.write_text(rows)
    for name in "abcd":
        (folder / f"{name}.wav").touch()
    config = ListingConfig(
        str(path), "file", labels=("class",), where={"fold": ("1",)}, rename={"gun_shot": "shot"}
    )
    return TaskConfig("street", config, "esc50")


def test_what_is_written_is_what_clap_export_reads(tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "street.csv"
    out.parent.mkdir()
    assert listing_file.write([task(tmp_path)], "street", out) == 3
    assert read_labelled(out) == [
        Labelled(tmp_path / "a.wav", frozenset({"dog bark"})),
        Labelled(tmp_path / "c.wav", frozenset({"shot"})),
        Labelled(tmp_path / "d.wav", frozenset({"rain"})),
    ]
    assert [path.name for path in out.parent.iterdir()] == ["street.csv"]


def test_relative_paths_are_found_from_where_the_listing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    listing_file.write([task(Path())], "street", Path("there/street.csv"))
    assert read_labelled(Path("there/street.csv"))[0].path == tmp_path / "a.wav"


def test_what_cannot_be_a_listing_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(ClapError, match=r"no task 'forest' in the config: it has street\."):
        listing_file.write([task(tmp_path)], "forest", out)
    with pytest.raises(ClapError, match=r"it has no \[\[tasks\]\]"):
        listing_file.write([], "forest", out)
    barred = task(tmp_path, "file,class,fold\na.wav,x|y,1\nb.wav,dog|cat,1\n")
    with pytest.raises(ClapError, match=r"label 'dog\|cat': has a \|; label 'x\|y': has a \|\."):
        listing_file.write([barred], "street", out)
    with tarfile.open(tmp_path / "clips.tar", "w") as tar:
        for name in ("a.wav", "a.txt"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"rain"))
    shards = ListingConfig(str(tmp_path / "clips.tar"), kind="webdataset")
    with pytest.raises(ClapError, match=r"clips\.tar: a: inside a tar file\."):
        listing_file.write([TaskConfig("street", shards, "esc50")], "street", out)
    with pytest.raises(ClapError, match=r"cannot be written"):
        listing_file.write([task(tmp_path)], "street", tmp_path / "nowhere" / "out.csv")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_a_name_that_is_not_utf8_is_named_and_the_listing_there_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "class" / "rain"
    folder.mkdir(parents=True)
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).touch()
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    out = tmp_path / "out.csv"
    out.write_text("what was there")
    sounds = ListingConfig(str(tmp_path / "class"), kind="folders")
    with pytest.raises(ClapError, match=r"caf\\udce9\.wav': its name is not UTF-8"):
        listing_file.write([TaskConfig("street", sounds, "esc50")], "street", out)
    assert out.read_text() == "what was there"


def test_the_command_takes_a_config(tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "street.csv"
    listed = task(tmp_path).listing.path
    base = RECIPES / "clap-mini.toml"
    recipe.write_text(
        f'extends = "{base}"\n[[tasks]]\nname = "street"\ncandidates = "esc50"\n'
        f'listing = {{ path = "{listed}", audio = "file", labels = ["class"] }}\n'
    )
    arguments = ["listing", str(recipe), "street", "-o", str(out)]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.output == f"4 clips -> {out}\n"
    assert {label for item in read_labelled(out) for label in item.labels} == {
        "dog bark", "rain", "gun shot",
    }  # fmt: skip
