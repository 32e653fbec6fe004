"""Configs on top of configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import ClapError
from train.config.toml_file import read_toml

BASE = """
name = "base"
size = 3
[loop]
epochs = 4
rate = 1.0
[loop.inner]
a = 1
[[listings]]
path = "one"
[[listings]]
path = "two"
[text]
x = 1
"""


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return folder


def test_tables_are_laid_over_and_the_rest_takes_the_place(tmp_path: Path) -> None:
    child = """
    extends = "base.toml"
    without = ["text"]
    name = "child"
    [loop]
    epochs = 9
    [loop.inner]
    b = 2
    [[listings]]
    path = "three"
    """
    assert read_toml(write(tmp_path, base=BASE, child=child) / "child.toml") == {
        "name": "child", "size": 3, "listings": [{"path": "three"}],
        "loop": {"epochs": 9, "rate": 1.0, "inner": {"a": 1, "b": 2}},
    }  # fmt: skip


def test_a_chain_is_read_from_each_files_own_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, base=BASE, middle='extends = "base.toml"\nsize = 4\n')
    path = write(tmp_path / "deep", top='extends = "../middle.toml"\nname = "top"\n') / "top.toml"
    found = read_toml(path)
    assert (found["name"], found["size"], found["text"]) == ("top", 4, {"x": 1})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('extends = "me.toml"', "extends itself"),
        ('extends = "other.toml"', "other.toml cannot be read"),
        ('without = ["text"]', "extends no other file"),
        ('extends = "base.toml"\nwithout = ["text", "music"]', "base.toml has no music to leave"),
        ("extends = 3", "'extends' must be a path"),
        ('extends = "base.toml"\nwithout = "text"', "'without' a list of keys"),
    ],
)
def test_what_cannot_be_extended_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=problem):
        read_toml(write(tmp_path, base=BASE, me=content) / "me.toml")
