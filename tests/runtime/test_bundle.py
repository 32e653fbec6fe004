"""A bundle that was changed in any way is refused, and the message says where."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import Bundle
from runtime.errors import BundleError, ClapError, SchemaError
from runtime.manifest import read_manifest, write_manifest
from tests.tiny import bundle as tinybundle

FILES = ("audio.onnx", "text.onnx", "tokenizer.json")


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def test_opens_and_round_trips(copy: Path) -> None:
    manifest = Bundle(copy).manifest
    assert dataclasses.replace(manifest, files={}) == tinybundle.MANIFEST
    assert sorted(manifest.files) == sorted(FILES)
    before = (copy / "manifest.json").read_bytes()
    write_manifest(copy, manifest)
    assert (copy / "manifest.json").read_bytes() == before
    assert not list(copy.glob("*.part"))


@pytest.mark.parametrize("name", FILES)
def test_flipped_byte(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"'{name}' does not have the recorded SHA-256"):
        Bundle(copy)
    Bundle(copy, check_hashes=False)  # the size is right, and nobody asked for the hash


def test_all_damaged_files_are_listed(copy: Path) -> None:
    (copy / "audio.onnx").unlink()
    with (copy / "text.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError) as caught:
        Bundle(copy, check_hashes=False)
    assert "'audio.onnx' is missing" in str(caught.value)
    assert "'text.onnx' has" in str(caught.value)


def test_a_used_file_must_be_listed(copy: Path) -> None:
    files = json.loads((copy / "manifest.json").read_text())["files"]
    del files["audio.onnx"]
    edit(copy, files=files)
    with pytest.raises(BundleError, match=r"'audio\.onnx' is used but not listed"):
        Bundle(copy)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_files_stay_inside(copy: Path, name: str) -> None:
    files = json.loads((copy / "manifest.json").read_text())["files"]
    edit(copy, files={**files, name: {"sha256": "0", "bytes": 1}})
    with pytest.raises(BundleError, match="points outside the bundle"):
        Bundle(copy)


def test_manifest_lists_unknown_and_missing_keys_together(copy: Path) -> None:
    data = json.loads((copy / "manifest.json").read_text())
    del data["space_id"]
    del data["audio"]["fill"]
    data["audio"]["mel"]["n_mel"] = 64
    data["colour"] = "red"
    data["embedding_dim"] = "8"
    (copy / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(SchemaError) as caught:
        Bundle(copy)
    for part in (
        "missing key 'space_id'",
        "missing key 'audio.fill'",
        "unknown key 'audio.mel.n_mel'",
        "unknown key 'colour'",
        "'embedding_dim' must be int",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_dim": 0}, "'embedding_dim' must be from 1 to 65536, is 0"),
        ({"logit_scale": float("nan")}, "'logit_scale' must be from 1e-06 to 1e.06, is nan"),
        ({"logit_scale": float("inf")}, "'logit_scale' must be from 1e-06 to 1e.06, is inf"),
        ({"logit_scale": 0}, "'logit_scale' must be from 1e-06"),
        ({"default_template": "a sound"}, "must hold one"),
        ({"space_id": ""}, "space_id is empty"),
        ({"space_id": " "}, "space_id is empty"),
    ],
)
def test_values_without_sense(copy: Path, changes: dict[str, Any], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(SchemaError, match=message):
        Bundle(copy)


@pytest.mark.parametrize("hop", [0, tinybundle.WINDOW + 1])
def test_hop_that_would_lose_samples(copy: Path, hop: int) -> None:
    audio = json.loads((copy / "manifest.json").read_text())["audio"]
    edit(copy, audio={**audio, "hop_samples": hop})
    with pytest.raises(SchemaError, match="hop_samples"):
        Bundle(copy)


@pytest.mark.parametrize("version", [0, 2, "3", None])
def test_other_versions_are_named(copy: Path, version: object) -> None:
    edit(copy, format_version=version)
    with pytest.raises(BundleError, match=f"format_version {version!r}.*reads 3"):
        Bundle(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "other"}'])
def test_not_a_manifest(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError):
        read_manifest(copy)


def test_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="clap-export --ckpt"):
        Bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("audio.window_samples", 2**31),
        ("audio.window_samples", 2**24 + 1),
        ("audio.sample_rate", 10**9),
        ("audio.sample_rate", 0),
        ("audio.hop_samples", 1),
        ("audio.mel.n_fft", 2**40),
        ("audio.mel.n_mels", 0),
        ("audio.mel.f_max", 1e300),
        ("audio.mel.amin", -1e-10),
        ("text.max_tokens", 2**64),
        ("text.max_tokens", 0),
        ("text.pad_id", 2**64),
        ("text.pad_id", -1),
        ("text.suffix", "\x1b]0;owned\x07"),
        ("text.tokenizer", "t" * 256),
        ("embedding_dim", 10**9),
        ("logit_scale", 1e30),
        ("name", "\u202egpj"),
        ("source.licence", "MIT\x1b[8m, not for sale"),
        ("source.checkpoint", "x" * 5000),
        ("default_template", "{}\x9b31m"),
        ("default_template", "{}" + "x" * 1000),
        ("audio_graph.opset", 10**9),
        ("space_id", "s" * 300),
        ("tools", {"x\x1b": "1"}),
        ("tools", {"x": "\x1b"}),
        ("findings", [{"name": "x", "detail": "\x1b"}]),
        ("files", {"a\nb": {"sha256": "", "bytes": 1}}),
        ("files", {"a": {"sha256": "", "bytes": -1}}),
        ("files", {"a": {"sha256": "", "bytes": 2**60}}),
    ],
)
def test_values_beyond_all_measure(copy: Path, path: str, value: object) -> None:
    data = json.loads((copy / "manifest.json").read_text())
    *parents, last = path.split(".")
    table = data
    for name in parents:
        table = table[name]
    table[last] = value
    (copy / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(SchemaError, match=f"{path}|{last}") as caught:
        Bundle(copy)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["audio.onnx\0", "\ud800", "x" * 300, "..", "/etc/passwd", ""])
def test_names_of_files_that_are_none(copy: Path, name: str) -> None:
    data = json.loads((copy / "manifest.json").read_text())
    data["files"][name] = {"sha256": "0", "bytes": 1}
    (copy / "manifest.json").write_text(json.dumps(data))
    with pytest.raises((SchemaError, BundleError)):
        Bundle(copy)
    with pytest.raises(BundleError):
        read_manifest(Path(name if name not in ("", "..") else "/dev/null"))
    with pytest.raises(BundleError):
        Bundle("x" * 5000)


def test_a_file_in_place_of_the_folder_is_said_to_be_one(copy: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json is a file: a bundle is a folder"):
        Bundle(copy / "manifest.json")


def test_a_folder_in_place_of_a_file_is_not_said_to_be_missing(copy: Path) -> None:
    (copy / "text.onnx").unlink()
    (copy / "text.onnx").mkdir()
    with pytest.raises(BundleError, match=r"text\.onnx' is a folder, not a file") as error:
        Bundle(copy)
    assert "missing" not in str(error.value)


def test_a_nested_manifest(copy: Path) -> None:
    (copy / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match="nested more than"):
        Bundle(copy)
    (copy / "manifest.json").unlink()
    (copy / "manifest.json").mkdir()
    with pytest.raises(BundleError, match=r"is a folder, not a file\. no bundle at"):
        Bundle(copy)


@pytest.mark.parametrize("family", ["msclap-2022", "msclap-2023", "msclap"])
def test_the_family_is_one_that_can_be_asked_for(copy: Path, family: str) -> None:
    source = json.loads((copy / "manifest.json").read_text())["source"]
    edit(copy, source={**source, "family": family})
    assert read_manifest(copy).source.family == "msclap"


def test_damaged_manifests_are_refused_or_read_and_nothing_else(copy: Path) -> None:
    rng, path = random.Random(0), copy / "manifest.json"
    good = path.read_text()
    values: list[Any] = [None, 0, -1, 2**31, 2**64, 10**400, 1e308, math.nan, "", "\x1b", "é" * 300]
    values += ["\0", "\ud800", [], {}, [[]], True, "..", "/", "x" * 100_000, "{}", {"a": 1}]
    longest = 0
    for _ in range(400):
        made = json.loads(good)
        for _ in range(rng.randint(1, 3)):
            table = made
            while True:
                key = rng.choice(list(table))
                if isinstance(table[key], dict) and table[key] and rng.random() < 0.8:
                    table = table[key]
                    continue
                table[key] = rng.choice(values)
                break
        path.write_text(json.dumps(made), encoding="utf-8")
        try:
            write_manifest(copy, Bundle(copy, check_hashes=False).manifest)
        except ClapError as error:
            longest = max(longest, len(str(error)))
    assert longest < 20_000


def test_a_manifest_is_not_written_where_it_cannot_be(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(copy)
    before = (copy / "manifest.json").read_bytes()

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(BundleError, match=r"manifest\.json' cannot be written: Read-only"):
        write_manifest(copy, manifest)
    monkeypatch.undo()
    assert (copy / "manifest.json").read_bytes() == before
