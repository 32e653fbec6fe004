"""What is kept for the next start: the same answers, without the files that it was made of; and
nothing that is another's, damaged, or of another bundle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime import Classifier, Encoder
from runtime.cache import Cache, NotKept
from runtime.errors import BundleError, LabelError
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import RATE, clip

# Of these the tiny text encoder knows every word: a bank with warnings is not kept.
LABELS = ["dog", "rain", "sea"]
KEY = {"of": "a test"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tinybundle.build(tmp_path / "bundle")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "kept")

    def fill(part: Path) -> None:
        (part / "a").write_bytes(bytes(range(256)) * (1 << 16))  # more than one piece
        (part / "b").write_bytes(b"")

    made.keep("thing", KEY, fill)
    return made


def scores(bundle: Path) -> tuple[list[object], np.ndarray]:
    with Classifier(bundle, LABELS) as made:
        return list(made.predict(clip(0), RATE)), made.bank.embeddings


def entries(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_second_start_gives_the_same_from_what_the_first_kept(
    bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAP_CACHE")
    expected, rows = scores(bundle)
    assert not folder.exists()  # nothing is written unasked
    monkeypatch.setenv("CLAP_CACHE", str(folder))
    first, again = scores(bundle), {path: path.stat().st_mtime_ns for path in entries(folder)}
    assert {path.parent.name.split("-")[0] for path in again} == {"graph", "labels"}
    # Nothing but its size is left of the graphs: they are not read any more.
    for name in ("audio.onnx", "text.onnx", "tokenizer.json"):
        (bundle / name).write_bytes(bytes((bundle / name).stat().st_size))
    second = scores(bundle)
    for found, embeddings in (first, second):
        assert found == expected
        np.testing.assert_array_equal(embeddings, rows)
    assert {path: path.stat().st_mtime_ns for path in entries(folder)} == again


def test_of_another_bundle_and_other_labels_nothing_is_taken(bundle: Path, folder: Path) -> None:
    scores(bundle)
    kept = len(list(folder.iterdir()))
    with Classifier(bundle, LABELS[:2]) as made:
        assert made.labels == ("dog", "rain")
    with Classifier(bundle, LABELS, templates="{}") as made:
        assert made.bank.templates == ("{}",)
    assert len(list(folder.iterdir())) == kept + 2
    for names in (["dog", "rain"], ["rain", "dog"]):
        with Classifier(bundle, {name: f"the {name}" for name in names}) as made:
            assert made.labels == tuple(names)
            row = made.encoder.embed_text(f"the {names[1]}")[0]
            np.testing.assert_allclose(made.bank.embeddings[1], row, atol=1e-6)
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace("tiny-space", "tidy-space"))
    with Classifier(bundle, LABELS) as made:
        assert made.bank.space_id == "tidy-space"


def test_without_hashes_or_on_other_terms_nothing_is_kept(bundle: Path, folder: Path) -> None:
    Encoder(bundle, check_hashes=False).embed_text("rain")
    with Classifier(bundle, ["dog", "unheard-of"]) as made:
        assert made.bank.warnings
    assert not [path for path in folder.glob("labels-*")]
    with pytest.raises(LabelError, match="no labels"):
        Classifier(bundle, [])
    with pytest.raises(LabelError, match="not a name"):
        Classifier(bundle, [b"dog"])  # type: ignore[list-item]


def test_an_altered_graph_is_refused_and_not_kept(bundle: Path, folder: Path) -> None:
    data = bytearray((bundle / "audio.onnx").read_bytes())
    data[-1] ^= 1
    (bundle / "audio.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"'audio\.onnx' does not have the recorded SHA-256"):
        Encoder(bundle).embed_audio(clip(0), RATE)
    assert not list(folder.glob("*"))


def test_damage_is_found_and_mended(bundle: Path, folder: Path) -> None:
    expected, _ = scores(bundle)
    before = {path: path.read_bytes() for path in entries(folder)}
    for path, data in before.items():
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        path.write_bytes(changed)
    assert scores(bundle)[0] == expected
    assert {path.name for path in before} == {path.name for path in entries(folder)}
    assert scores(bundle)[0] == expected


def test_entries(cache: Cache) -> None:
    found = cache.find("thing", KEY)
    assert found is not None
    assert (found / "a").read_bytes() == bytes(range(256)) * (1 << 16)
    assert cache.find("thing", {"of": "another"}) is None
    assert cache.find("other", KEY) is None

    def fail(part: Path) -> None:
        (part / "a").write_bytes(b"half")
        raise NotKept

    cache.keep("thing", {"of": "nothing"}, fail)
    assert cache.find("thing", {"of": "nothing"}) is None
    assert [path.name for path in cache.folder.iterdir()] == [found.name]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners here")
@pytest.mark.parametrize("what", ["folder", "entry", "file", "link", "more"])
def test_what_others_may_write_is_not_used(
    cache: Cache, what: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    entry = cache.find("thing", KEY)
    assert entry is not None
    if what == "link":
        shutil.copy(entry / "a", tmp_path / "a")
        (entry / "a").unlink()
        (entry / "a").symlink_to(tmp_path / "a")
    elif what == "more":
        (entry / "weights.bin").write_bytes(b"of whom?")
    else:
        {"folder": cache.folder, "entry": entry, "file": entry / "a"}[what].chmod(0o777)
    assert cache.find("thing", KEY) is None
    assert ("is damaged" if what == "more" else "is not used") in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another owner")
def test_what_is_anothers_is_not_used(cache: Cache) -> None:
    entry = cache.find("thing", KEY)
    assert entry is not None
    os.chown(entry / "a", 12345, -1)
    assert cache.find("thing", KEY) is None


def test_what_was_not_used_for_long_makes_room(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cache.MOST", 17 << 20)
    old = cache.find("thing", KEY)
    assert old is not None
    os.utime(old, (0, 0))

    def more(part: Path) -> None:
        (part / "a").write_bytes(bytes(1 << 20))

    cache.keep("thing", {"of": "more"}, more)
    assert cache.find("thing", KEY) is None
    assert cache.find("thing", {"of": "more"}) is not None


def test_a_folder_that_cannot_be_made_costs_a_warning_alone(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CLAP_CACHE", str(tmp_path / "file" / "cache"))
    assert scores(bundle)[0]
    assert "nothing is kept in" in caplog.text
