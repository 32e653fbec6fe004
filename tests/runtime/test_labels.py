"""Label banks: what they hold, what a file may hold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Encoder, LabelBank
from runtime.errors import BundleError, LabelError
from runtime.labels import read_labels
from tests.tiny import bundle as tinybundle

NAMES = ("dog", "rain", "bell é")


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Encoder:
    return Encoder(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def bank(encoder: Encoder) -> LabelBank:
    return LabelBank.build(encoder, list(NAMES), ["a sound of {}", "the {}"])


def slow_mean(*texts: str) -> np.ndarray:
    mean = np.mean([tinybundle.slow_text_embedding(t) for t in texts], axis=0)
    return mean / np.sqrt((mean**2).sum())


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def meta_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return json.loads(arrays["meta"].tobytes())


def as_bytes(meta: object) -> np.ndarray:
    return np.frombuffer(json.dumps(meta).encode(), np.uint8)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# Building


def test_default_template_is_the_manifest_one(encoder: Encoder) -> None:
    bank = LabelBank.build(encoder, ["dog", "rain"])
    assert bank.names == ("dog", "rain")
    assert bank.templates == ("this is a sound of {}",)
    assert bank.space_id == "tiny-space"
    assert len(bank) == 2
    for row, name in zip(bank.embeddings, bank.names, strict=True):
        np.testing.assert_allclose(row, slow_mean(f"this is a sound of {name}"), atol=1e-5)


def test_templates_are_averaged(bank: LabelBank) -> None:
    for row, name in zip(bank.embeddings, NAMES, strict=True):
        np.testing.assert_allclose(row, slow_mean(f"a sound of {name}", f"the {name}"), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(bank.embeddings, axis=1), 1, atol=1e-6)


def test_own_texts_are_used_as_they_are(encoder: Encoder) -> None:
    bank = LabelBank.build(
        encoder, {"animal": ["a dog barking", "the dog"], "weather": "loud rain"}
    )
    assert bank.names == ("animal", "weather")
    assert bank.templates == ()
    np.testing.assert_allclose(bank.embeddings[0], slow_mean("a dog barking", "the dog"), atol=1e-5)
    np.testing.assert_allclose(bank.embeddings[1], slow_mean("loud rain"), atol=1e-5)


def test_braces_in_names_and_templates_are_only_text(encoder: Encoder) -> None:
    bank = LabelBank.build(encoder, ["{0}"], "{x} {} rain")
    np.testing.assert_allclose(bank.embeddings[0], slow_mean("{x} {0} rain"), atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no labels"),
        ({}, "no labels"),
        ("dog", "pass a list"),
        (["dog", "dog"], "'dog' is listed twice"),
        (["dog", " "], "label 1 is ' '"),
        (["dog", 3], "label 1 is 3"),
        ({"dog": []}, "'dog' has no text"),
        ({"dog": ["", "x"]}, "text 0"),
    ],
)
def test_unusable_labels(encoder: Encoder, labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelBank.build(encoder, labels)


@pytest.mark.parametrize("templates", [[], "no place", "{} and {}", ["{}", "none"], "{0}"])
def test_ill_formed_templates(encoder: Encoder, templates: Any) -> None:
    with pytest.raises(LabelError, match="template"):
        LabelBank.build(encoder, ["dog"], templates)


def test_templates_with_own_texts(encoder: Encoder) -> None:
    with pytest.raises(LabelError, match="do not apply"):
        LabelBank.build(encoder, {"dog": "a dog"}, "{}")


def test_an_ill_formed_bank_lists_its_problems() -> None:
    with pytest.raises(LabelError, match=r"'a' is listed twice.*shape \(3, 2\)"):
        LabelBank(("a", "a"), (), np.ones((3, 2), np.float32), "s")


def test_embeddings_are_read_only_and_not_aliased() -> None:
    rows = np.eye(2, dtype=np.float32)
    bank = LabelBank(("a", "b"), (), rows, "s")
    rows[:] = 0
    assert np.array_equal(bank.embeddings, np.eye(2))
    with pytest.raises(ValueError, match="read-only"):
        bank.embeddings[0, 0] = 5


def test_another_space_is_refused_with_both_names(bank: LabelBank) -> None:
    bank.check_space("tiny-space")
    with pytest.raises(BundleError, match="space tiny-space, the bundle to other-space"):
        bank.check_space("other-space")


# Files


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(bank: LabelBank, tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    loaded = LabelBank.load(path, mmap=mmap)
    assert (loaded.names, loaded.templates) == (NAMES, ("a sound of {}", "the {}"))
    assert loaded.space_id == bank.space_id
    assert np.array_equal(loaded.embeddings, bank.embeddings)
    assert loaded.embeddings.dtype == np.float32
    assert not loaded.embeddings.flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == ["bank.npz"]


def test_a_mapped_bank_is_the_file_itself(bank: LabelBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    rows = LabelBank.load(path, mmap=True).embeddings
    assert isinstance(rows, np.memmap)
    assert rows.offset % 64 == 0
    assert path.read_bytes()[rows.offset :].startswith(bank.embeddings.tobytes())


def test_save_is_deterministic_and_overwrites_only_when_told(
    bank: LabelBank, tmp_path: Path
) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    before = path.read_bytes()
    with pytest.raises(LabelError, match="overwrite=True"):
        bank.save(str(path))
    bank.save(path, overwrite=True)
    assert path.read_bytes() == before


def test_save_where_nothing_can_be_written(bank: LabelBank, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be written"):
        bank.save(tmp_path / "no folder" / "bank.npz")


@pytest.mark.parametrize("mmap", [False, True])
def test_truncated_or_another_file(bank: LabelBank, tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    whole = path.read_bytes()
    for data in (whole[:-30], whole[: len(whole) // 2], b"", b"dog\nrain\n"):
        path.write_bytes(data)
        with pytest.raises(LabelError, match="truncated or no label bank"):
            LabelBank.load(path, mmap=mmap)
    with pytest.raises(LabelError, match=r"no label bank at .*none\.npz"):
        LabelBank.load(tmp_path / "none.npz", mmap=mmap)


def test_a_flipped_byte_is_noticed(bank: LabelBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    data = bytearray(path.read_bytes())
    data[200] ^= 1  # lowest bit of a value: still of unit norm, but not what was saved
    path.write_bytes(data)
    with pytest.raises(LabelError, match="CRC"):
        LabelBank.load(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_unknown_and_missing_parts_are_all_listed(
    bank: LabelBank, tmp_path: Path, mmap: bool
) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    arrays = arrays_of(path)
    meta = meta_of(arrays)
    del meta["space_id"]
    meta["colour"] = "red"
    np.savez(path, meta=as_bytes(meta), more=np.zeros(1))
    with pytest.raises(LabelError) as caught:
        LabelBank.load(path, mmap=mmap)
    for part in (
        "unknown array 'more'",
        "missing array 'embeddings'",
        "missing key 'space_id'",
        "unknown key 'colour'",
    ):
        assert part in str(caught.value)


def changed(rows: np.ndarray, value: float) -> np.ndarray:
    result = rows.copy()
    result[1, 2] = value
    return result


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.astype(np.float64), "float64, not float32"),
        (lambda rows: rows[:2], r"shape \(2, 8\), not \(3, dim\)"),
        (lambda rows: rows[0], r"shape \(8,\)"),
        (lambda rows: rows * np.float32(1.01), "unit norm"),
        (lambda rows: changed(rows, np.nan), "NaN"),
        (lambda rows: changed(rows, np.inf), "NaN or infinite"),
    ],
)
def test_unusable_embeddings(
    bank: LabelBank, tmp_path: Path, change: Any, message: str, mmap: bool
) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    np.savez(path, meta=arrays_of(path)["meta"], embeddings=change(bank.embeddings))
    with pytest.raises(LabelError, match=message):
        LabelBank.load(path, mmap=mmap)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (np.zeros(3, np.float32), "not the bytes of a text"),
        (np.frombuffer(b"{", np.uint8), "meta is not JSON"),
        (np.frombuffer(b"\xff", np.uint8), "meta is not JSON"),
        (as_bytes([]), "must be a table"),
    ],
)
def test_unusable_meta(bank: LabelBank, tmp_path: Path, meta: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "bank.npz", meta=meta, embeddings=bank.embeddings)
    with pytest.raises(LabelError, match=message):
        LabelBank.load(tmp_path / "bank.npz")


def test_another_version_and_duplicates(bank: LabelBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    meta = {**meta_of(arrays_of(path)), "format_version": 2, "names": ["a", "a", "b"]}
    np.savez(path, meta=as_bytes(meta), embeddings=bank.embeddings)
    with pytest.raises(LabelError, match="'format_version' is 2, must be one of 1"):
        LabelBank.load(path)
    np.savez(path, meta=as_bytes({**meta, "format_version": 1}), embeddings=bank.embeddings)
    with pytest.raises(LabelError, match="'a' is listed twice"):
        LabelBank.load(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_pickles_are_never_read(bank: LabelBank, tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    ran = tmp_path / "ran"
    np.savez(path, meta=arrays_of(path)["meta"], embeddings=np.array([Trap(ran)], object))
    with pytest.raises(LabelError, match=r"[Oo]bject"):
        LabelBank.load(path, mmap=mmap)
    assert not ran.exists()


def test_a_compressed_bank_can_be_read_but_not_mapped(bank: LabelBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    np.savez_compressed(path, **arrays_of(path))
    assert np.array_equal(LabelBank.load(path).embeddings, bank.embeddings)
    with pytest.raises(LabelError, match="compressed"):
        LabelBank.load(path, mmap=True)


# Text files


def test_read_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff# pets\ndog barking\r\n\n  cat é \n#rain\nC# minor".encode())
    assert read_labels(path) == ("dog barking", "cat é", "C# minor")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no labels"),
        (b"# nothing\n\n", "no labels"),
        (b"dog\nrain\ndog\n", "'dog' is listed twice"),
        (b"\xff\xfe\x00dog", "not UTF-8"),
        (b"dog\0rain", "binary"),
    ],
)
def test_unusable_label_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=message):
        read_labels(path)


def test_label_file_missing(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"labels\.txt.*list of names"):
        read_labels(tmp_path / "labels.txt")
    with pytest.raises(LabelError, match="no label file"):
        read_labels(tmp_path)
