"""Embeddings against the slow twins of the tiny graphs."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

import runtime.loaded
from runtime import Encoder
from runtime.backends.ort import OrtBackend
from runtime.bundle import Bundle
from runtime.clips.pooling import mean_embedding
from runtime.errors import AudioError, BackendError, BundleError, ClapError, LabelError
from runtime.manifest import TextSpec
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import DIM, RATE, WINDOW, clip


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Encoder:
    return Encoder(tiny_bundle, threads=1, batch_size=4)


def slow_clip_embedding(samples: np.ndarray, starts: list[int]) -> np.ndarray:
    rows = [tinybundle.slow_audio_embedding(samples[s : s + WINDOW]) for s in starts]
    mean = np.mean(rows, axis=0)
    return mean / np.sqrt((mean**2).sum())


def test_one_window(encoder: Encoder) -> None:
    samples = clip(0)
    result = encoder.embed_audio(samples, RATE)
    assert result.shape == (1, DIM)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0], tinybundle.slow_audio_embedding(samples), atol=1e-5)


def test_a_long_clip_is_the_mean_of_its_windows(encoder: Encoder) -> None:
    samples = clip(1, 2 * WINDOW + 4321)
    expected = slow_clip_embedding(samples, [0, WINDOW, WINDOW + 4321])
    result = encoder.embed_audio(samples, RATE)
    np.testing.assert_allclose(result[0], expected, atol=1e-5)
    assert abs(np.linalg.norm(result) - 1) < 1e-6


def test_whole_repeats_do_not_change_the_embedding(encoder: Encoder) -> None:
    samples = clip(0)
    once = encoder.embed_audio(samples, RATE)
    for times in (2, 5):
        again = encoder.embed_audio(np.tile(samples, times), RATE)
        np.testing.assert_allclose(again, once, atol=1e-6)
    # And a short clip is filled by repeating it.
    half = samples[: WINDOW // 2]
    np.testing.assert_allclose(
        encoder.embed_audio(half, RATE), encoder.embed_audio(np.tile(half, 2), RATE), atol=1e-6
    )


def test_a_list_gives_the_rows_of_its_clips_whatever_the_batch(tiny_bundle: Path) -> None:
    clips = [clip(i, n) for i, n in enumerate((100, WINDOW, 3 * WINDOW, 9 * WINDOW + 1, 500))]
    expected = np.concatenate([Encoder(tiny_bundle).embed_audio(c, RATE) for c in clips])
    for batch_size in (1, 3, 64):
        many = Encoder(tiny_bundle, batch_size=batch_size).embed_audio(clips, RATE)
        np.testing.assert_allclose(many, expected, atol=1e-6)


def test_embed_clips_batches_and_keeps_places(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [1, 0, 2, 3, 0, 0, 9, 1]
    clips = [clip(i, n * WINDOW).reshape(n, WINDOW) for i, n in enumerate(counts)]
    given: list[int] = []
    real = OrtBackend.run

    def spy(self: OrtBackend, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given.append(len(inputs["waveform"]))
        return real(self, inputs)

    monkeypatch.setattr(OrtBackend, "run", spy)
    results = list(encoder.embed_clips(clips, 4))
    assert [len(r) for r in results] == counts
    assert max(given) <= 4
    assert sum(given) == sum(counts)
    for given_clip, rows in zip(clips, results, strict=True):
        for window, row in zip(given_clip, rows, strict=True):
            np.testing.assert_allclose(row, tinybundle.slow_audio_embedding(window), atol=1e-5)


@pytest.mark.parametrize("one_thread", [False, True])
def test_pieces_of_several_recordings_are_embedded_together(
    encoder: Encoder, one_thread: bool
) -> None:
    sounds = [clip(i, n) for i, n in enumerate((300, WINDOW, 5 * WINDOW + 7))]
    pieces = []
    for sound in sounds:
        with encoder.clip(sound, RATE) as opened:
            pieces += list(opened.pieces(2))
    found = encoder.embed_together(pieces, one_thread=one_thread)
    assert [len(rows) for rows, _ in found] == [len(piece) for piece in pieces]
    for piece, (rows, norms) in zip(pieces, found, strict=True):
        assert norms is not None
        for window, row, norm in zip(piece.rows, rows, norms, strict=True):
            raw = tinybundle.slow_raw_vector(window)
            np.testing.assert_allclose(norm, np.linalg.norm(raw), rtol=1e-5)
            np.testing.assert_allclose(row * norm, raw, atol=1e-4)


def test_an_older_bundle_gives_no_norms(tmp_path: Path) -> None:
    folder = tinybundle.build(tmp_path / "older", format_version=3)
    with Encoder(folder, threads=1) as encoder, encoder.clip(clip(1), RATE) as opened:
        ((rows, norms),) = encoder.embed_together(list(opened.pieces(1)))
        assert norms is None
        np.testing.assert_allclose(rows[0], tinybundle.slow_audio_embedding(clip(1)), atol=1e-5)


@pytest.mark.parametrize("windows", ["all", "spaced:9"])
def test_decoding_ends_when_it_is_told_to(encoder: Encoder, windows: str) -> None:
    class Told(Exception):
        pass

    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Told

    sound = tinybundle.wav(clip(2, 200 * WINDOW))  # some blocks
    with (
        Encoder(encoder._loaded.bundle, threads=1, windows=windows) as made,
        made.clip(sound, None, None, check) as opened,
        pytest.raises(Told),
    ):
        list(opened.pieces(1))
    assert asked == 4


def test_windows_of_16_bit_samples_are_those_over_full_scale(encoder: Encoder) -> None:
    integers = np.round(clip(5, 2 * WINDOW) * 32767).astype(np.int16).reshape(2, WINDOW)
    found = encoder.embed_windows(integers)
    np.testing.assert_array_equal(
        found, encoder.embed_windows(integers.astype(np.float32) / np.float32(32768))
    )
    with pytest.raises(ClapError, match="int32"):
        encoder.embed_windows(integers.astype(np.int32))


def test_texts(encoder: Encoder) -> None:
    texts = ["a dog barking", "rain", "sea", "the loud bell", "wind", "this is unheard"]
    result = encoder.embed_text(texts)
    assert result.shape == (6, DIM)
    assert result.dtype == np.float32
    expected = np.stack([tinybundle.slow_text_embedding(t) for t in texts])
    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_text("rain"), expected[1:2], atol=1e-5)


def test_texts_of_any_lengths_keep_their_order(tiny_bundle: Path) -> None:
    words = ["dog", "rain", "sea", "bell", "wind"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, rng.integers(1, 6))) for _ in range(53)]
    with Encoder(tiny_bundle, batch_size=4) as encoder:
        found = encoder.embed_text(texts)
        with pytest.raises(LabelError, match="text 51 is ' '"):
            encoder.embed_text([*texts[:51], " ", texts[52]])
    expected = np.stack([tinybundle.slow_text_embedding(t) for t in texts])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mean_embedding() -> None:
    result = mean_embedding(np.array([[1, 0], [0, 1]], np.float32))
    np.testing.assert_allclose(result, [np.sqrt(0.5)] * 2, atol=1e-7)
    assert mean_embedding(np.array([[1, 0], [-1, 0]], np.float32)).tolist() == [0, 0]


def test_each_graph_is_opened_once_and_only_when_needed(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = runtime.loaded.open_backend

    def spy(model: Path, *args: object) -> object:
        opened.append(model.name)
        return real(model, *args)

    monkeypatch.setattr(runtime.loaded, "open_backend", spy)
    with Encoder(tiny_bundle, threads=1) as encoder:
        assert opened == []
        workers = [
            threading.Thread(target=encoder.embed_audio, args=(clip(0), RATE)) for _ in range(8)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert opened == ["audio.onnx"]
        encoder.embed_text("rain")
        encoder.embed_text("dog")
        assert opened == ["audio.onnx", "text.onnx"]
        encoder.close_text()
        encoder.embed_text("dog")
        assert opened == ["audio.onnx", "text.onnx", "text.onnx"]


def test_manifest_and_opened_bundle(tiny_bundle: Path) -> None:
    assert Encoder(Bundle(tiny_bundle)).manifest.space_id == "tiny-space"


def test_the_hash_of_a_file_is_checked_when_it_is_loaded(tmp_path: Path) -> None:
    folder = tinybundle.build(tmp_path / "b")
    data = bytearray((folder / "text.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "text.onnx").write_bytes(data)
    encoder = Encoder(folder)
    assert encoder.embed_audio(clip(0), RATE).shape == (1, DIM)
    with pytest.raises(BundleError, match=r"'text\.onnx' does not have the recorded SHA-256"):
        encoder.embed_text("a")
    (folder / "audio.onnx").write_bytes(bytes((folder / "audio.onnx").stat().st_size))
    with pytest.raises(BundleError, match=r"'audio\.onnx' does not have the recorded SHA-256"):
        Encoder(folder).embed_audio(clip(0), RATE)
    with pytest.raises(BundleError, match=r"audio\.onnx' is not used: it is no ONNX model"):
        Encoder(folder, check_hashes=False).embed_audio(clip(0), RATE)


def test_refusals(encoder: Encoder, tiny_bundle: Path) -> None:
    with pytest.raises(ClapError, match="no recordings"):
        encoder.embed_audio([])
    with pytest.raises(ClapError, match="no texts"):
        encoder.embed_text([])
    with pytest.raises(ClapError, match="no windows"):
        encoder.embed_windows(np.zeros((0, WINDOW), np.float32))
    with pytest.raises(ClapError, match=r"\(2, 5\)"):
        encoder.embed_windows(np.zeros((2, 5), np.float32))
    with pytest.raises(ClapError, match="float64"):
        encoder.embed_windows(np.zeros((2, WINDOW)))
    with pytest.raises(LabelError, match="text 0"):
        encoder.embed_text("")
    with pytest.raises(AudioError, match="does not exist"):
        encoder.embed_audio("no.wav")
    with pytest.raises(ClapError, match="batch_size=0"):
        Encoder(tiny_bundle, batch_size=0)
    with pytest.raises(ClapError, match="max_seconds"):
        Encoder(tiny_bundle, max_seconds=0)
    with pytest.raises(AudioError, match="max_seconds"):
        Encoder(tiny_bundle, max_seconds=1).embed_audio(np.zeros(2 * RATE), RATE)


def test_a_graph_that_breaks_the_manifest_is_named(tmp_path: Path) -> None:
    wide = Encoder(tinybundle.build(tmp_path / "wide", embedding_dim=DIM + 1))
    with pytest.raises(BundleError, match=r"returned float32 \(1, 8\).*\(1, 9\)"):
        wide.embed_audio(clip(0), RATE)
    spec: TextSpec = dataclasses.replace(tinybundle.MANIFEST.text, inputs=("input_ids",))
    fewer = Encoder(tinybundle.build(tmp_path / "fewer", text=spec))
    with pytest.raises(BundleError, match=r"text\.onnx' has inputs"):
        fewer.embed_text("rain")


def test_embeddings_that_are_not_finite_are_refused(encoder: Encoder) -> None:
    with pytest.raises(BackendError, match="not finite"):
        encoder.embed_windows(np.full((1, WINDOW), np.nan, np.float32))
