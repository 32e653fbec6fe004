"""Label banks: what they hold, what a file may hold, and what is refused."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import struct
import zipfile
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
        ({"dog": 3}, "text 0 is 3"),
        ({"dog": [b"x"]}, "text 0 is b'x'"),
        (None, "labels is None: pass a list"),
        (3, "labels is 3: pass a list"),
        (b"dog", "pass a list"),
        ([["dog"]], "label 0 is"),
    ],
)
def test_unusable_labels(encoder: Encoder, labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelBank.build(encoder, labels)


@pytest.mark.parametrize(
    "templates", [[], "no place", "{} and {}", ["{}", "none"], "{0}", "\x1b{}", "{}" + "x" * 999]
)
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


# Labels that say nothing


def test_labels_that_the_tokenizer_makes_equal_are_named(
    encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bank = LabelBank.build(encoder, ["dog", "rain", " dog", "dog "])
    (warning,) = bank.warnings
    assert warning.startswith("labels 'dog', ' dog', 'dog ' are the same to the text encoder")
    assert warning in caplog.text
    assert LabelBank.build(encoder, {"a": ["dog", "rain"], "b": ["rain", "dog"]}).warnings


def test_labels_of_unknown_words_only_are_named(encoder: Encoder) -> None:
    same, unknown = LabelBank.build(encoder, ["狗叫", "dog", "下雨"]).warnings
    assert same.startswith("labels '狗叫', '下雨' are the same")
    assert "knows no part of labels '狗叫', '下雨': their scores mean nothing" in unknown
    (own,) = LabelBank.build(encoder, {"dog": "狗 叫", "rain": "a 下雨"}).warnings
    assert "knows no part of label 'dog': its score means nothing" in own
    assert LabelBank.build(encoder, ["dog", "loud 狗"]).warnings == ()


def test_many_labels_are_counted_not_listed(encoder: Encoder) -> None:
    warning = LabelBank.build(encoder, [f"unheard{i}" for i in range(100)]).warnings[0]
    assert "'unheard19' and 80 more are the same" in warning


@pytest.mark.parametrize(
    "name", ["a\x1b[2J", "\x9b31m", "\u202egod", "a\nb", "a\tb", "\ud800", "x" * 1001]
)
def test_names_that_a_terminal_would_obey(encoder: Encoder, tmp_path: Path, name: str) -> None:
    for use in (
        lambda: LabelBank.build(encoder, ["dog", name]),
        lambda: LabelBank(("dog", name), (), np.eye(2, dtype=np.float32), "s"),
    ):
        with pytest.raises(LabelError, match="label 1") as caught:
            use()
        assert str(caught.value).isprintable()
    if "\n" not in name and "\ud800" not in name:
        (tmp_path / "labels.txt").write_text(f"dog\n{name}\n", encoding="utf-8")
        with pytest.raises(LabelError, match="label 1"):
            read_labels(tmp_path / "labels.txt")


def test_names_of_many_languages(encoder: Encoder) -> None:
    names = ("ناقوس", "👩\u200d🚒", "नमस\u200cते", "über", "C# minor", "a  b")
    assert LabelBank(names, (), np.eye(6, dtype=np.float32), "s").names == names


# Damaged and hostile banks


def npz(path: Path, embeddings: bytes, meta: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("embeddings.npy", embeddings)
        archive.writestr("meta.npy", meta)
    return path


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b" " * ((-len(header) - 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def entries(bank: LabelBank, path: Path) -> tuple[bytes, bytes]:
    bank.save(path, overwrite=True)
    with zipfile.ZipFile(path) as archive:
        return archive.read("embeddings.npy"), archive.read("meta.npy")


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ((3, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ",), }",
        "{'descr': '|V2147483647', 'fortran_order': False, 'shape': (3, 8), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 8), }",
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (3, 8), }",
        "(" * 5000,
        "__import__('os').abort()",
        "",
    ],
)
def test_a_damaged_header(bank: LabelBank, tmp_path: Path, header: str, mmap: bool) -> None:
    embeddings, meta = entries(bank, tmp_path / "bank.npz")
    npz(tmp_path / "bank.npz", npy(header, embeddings[128:]), meta)
    with pytest.raises(LabelError, match=r"bank\.npz' is"):
        LabelBank.load(tmp_path / "bank.npz", mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("order", [False, True])
def test_rows_without_a_number_are_not_counted(
    order: bool, mmap: bool, bank: LabelBank, tmp_path: Path
) -> None:
    """A file of a few bytes may have any number of them, which took for ever to look at."""
    header = f"{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({1 << 47}, 0), }}"
    meta = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", b"{}")
    path = npz(tmp_path / "bank.npz", npy(header), meta)
    with pytest.raises(LabelError, match=rf"have shape \({1 << 47}, 0\), not \(n, dim\)"):
        LabelBank.load(path, mmap=mmap)
    with pytest.raises(LabelError, match=r"have shape \(2, 0\), not \(2, dim\)"):
        LabelBank(("a", "b"), (), np.zeros((2, 0), np.float32), "space")


def test_a_small_file_that_would_fill_the_memory(bank: LabelBank, tmp_path: Path) -> None:
    _, meta = entries(bank, tmp_path / "bank.npz")
    zeros = npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2500000, 8), }", bytes(80 << 20)
    )
    path = npz(tmp_path / "bank.npz", zeros, meta, zipfile.ZIP_DEFLATED)
    with pytest.raises(LabelError, match="compressed beyond what embeddings can be"):
        LabelBank.load(path)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        npz(path, zeros[:200], meta, method)
        with pytest.raises(LabelError, match="compressed in a way that is not read"):
            LabelBank.load(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_nested_or_hostile_meta(bank: LabelBank, tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "bank.npz"
    embeddings, _ = entries(bank, path)
    good = meta_of(arrays_of(path))
    for text, message in (
        ("[" * 100_000, "meta is not JSON.*nested"),
        (json.dumps({**good, "space_id": "\x1b"}), "'space_id' holds control characters"),
        (json.dumps({**good, "templates": ["\x9b{}"]}), r"'templates\[0\]' holds control"),
        (json.dumps({**good, "names": ["a", "b", "\u202e"]}), "label 2, .* holds control"),
        (json.dumps({**good, "names": ["a", "b", 3]}), r"'names\[2\]' must be str"),
    ):
        data = text.encode()
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(data)},), }}"
        npz(path, embeddings, npy(header, data))
        with pytest.raises(LabelError, match=message):
            LabelBank.load(path, mmap=mmap)


@pytest.mark.filterwarnings("ignore")  # of numpy's, about headers of old kinds
def test_damaged_banks_are_refused_or_read_and_nothing_else(
    bank: LabelBank, tmp_path: Path
) -> None:
    rng, path = random.Random(0), tmp_path / "bank.npz"
    embeddings, meta = entries(bank, path)
    good = path.read_bytes()

    def damaged(data: bytes) -> bytes:
        made = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(made))
            if rng.random() < 0.8:
                made[at] = rng.randrange(256)
            else:
                del made[at : at + rng.randint(1, 20)]
        return bytes(made)

    for i in range(400):
        if i % 2:
            path.write_bytes(damaged(good))
        else:  # with the right checksums
            npz(path, damaged(embeddings[:128]) + embeddings[128:], damaged(meta))
        for mmap in (False, True):
            try:
                LabelBank.load(path, mmap=mmap).embeddings.sum()
            except LabelError:
                continue


@pytest.mark.parametrize("name", ["", "x" * 300, "a\0b", "\ud800", "."])
def test_paths_that_are_none(bank: LabelBank, tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    for use in (
        lambda: LabelBank.load(path),
        lambda: LabelBank.load(path, mmap=True),
        lambda: read_labels(path),
        lambda: bank.save(path, overwrite=True),
    ):
        with pytest.raises(LabelError):
            use()


def test_a_pipe_or_device_is_neither_read_nor_replaced(bank: LabelBank, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        for use in (
            lambda path=path: LabelBank.load(path),
            lambda path=path: read_labels(path),
            lambda path=path: bank.save(path, overwrite=True),
        ):
            with pytest.raises(LabelError, match="device"):
                use()
    assert (tmp_path / "pipe").is_fifo()
    assert Path("/dev/null").is_char_device()


# Several processes


def _save_in_turn(path: Path, banks: list[LabelBank]) -> None:
    while True:
        for bank in banks:
            bank.save(path, overwrite=True)


@pytest.mark.parametrize("mmap", [False, True])
def test_names_and_embeddings_are_of_one_file(tmp_path: Path, mmap: bool) -> None:
    """Two processes put a bank and its reverse in one place, again and again."""
    rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = tuple(f"label {i}" for i in range(300))
    banks = [LabelBank(names, (), rows, "s"), LabelBank(names[::-1], (), rows[::-1].copy(), "s")]
    path = tmp_path / "bank.npz"
    banks[0].save(path)
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_save_in_turn, args=(path, banks[::n])) for n in (1, -1)]
    [writer.start() for writer in writers]
    try:
        for _ in range(300):
            found = LabelBank.load(path, mmap=mmap)
            assert np.array_equal(found.embeddings[found.names.index("label 7")], rows[7])
    finally:
        [writer.kill() for writer in writers]
        [writer.join() for writer in writers]
    banks[0].save(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["bank.npz"]


def test_a_mapped_bank_survives_its_replacement(bank: LabelBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    bank.save(path)
    mapped = LabelBank.load(path, mmap=True)
    LabelBank(("x",), (), np.ones((1, 1), np.float32), "s").save(path, overwrite=True)
    assert np.array_equal(mapped.embeddings, bank.embeddings)
