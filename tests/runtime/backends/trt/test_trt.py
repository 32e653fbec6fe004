"""Engines on a GPU give the graphs' numbers, whatever the order in which streams get on.

The driver and TensorRT are fakes (``fakecuda``, ``faketrt``); the truth is worked out by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.backends.cuda import driver
from runtime.backends.trt import TensorRtBackend, lane
from runtime.encoder import Encoder
from runtime.errors import BackendError, BundleError
from tests.fakes.cuda import FakeCuda
from tests.tiny import bundle as tinybundle
from tests.tiny import engines as trtbundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trtbundle.build(tmp_path_factory.mktemp("trt") / "bundle")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return trtbundle.install(monkeypatch, FakeCuda()).cuda


def windows(n: int, seed: int = 0) -> np.ndarray:
    return np.stack([tinybundle.clip(100 * seed + i) for i in range(n)])


def expected(batch: np.ndarray) -> np.ndarray:
    return np.stack([tinybundle.slow_audio_embedding(row) for row in batch])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("version", ["8.6.1", "10.16.1.11", "11.4.0.106"])
def test_batches_of_any_size_give_the_right_numbers_in_any_order_of_streams(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, seed: int
) -> None:
    folder = trtbundle.build(tmp_path / "bundle", version=version)
    cuda = FakeCuda(seed=seed, old=version.startswith("8."))
    trtbundle.install(monkeypatch, cuda, version)
    texts = ["dog", "loud rain", "bell of the wind sea", "the sea is loud"] * 3
    with Encoder(folder, batch_size=16) as encoder:
        for n, size in ((1, 1), (3, 2), (11, 3), (11, 16), (11, 16), (2, 1), (1, 1)):
            batch = windows(n, seed)
            found = encoder.embed_windows(batch, size)
            assert np.abs(found - expected(batch)).max() < 1e-5
        assert encoder.open_audio().provider == "tensorrt"
        wanted = np.stack([tinybundle.slow_text_embedding(text) for text in texts])
        assert np.abs(encoder.embed_text(texts) - wanted).max() < 1e-5
    assert set(cuda.live().values()) == {0}


def test_a_bundle_with_engines_runs_on_them_by_itself(folder: Path, cuda: FakeCuda) -> None:
    clip = tinybundle.clip(3, 3 * tinybundle.WINDOW)
    with runtime.Classifier(folder, tinybundle.LABELS) as gpu:
        found = gpu.predict(clip, sample_rate=tinybundle.RATE)
        assert gpu.encoder.providers == ("tensorrt",)
    with runtime.Classifier(folder, tinybundle.LABELS, providers=("cpu",)) as cpu:
        wanted = cpu.predict(clip, sample_rate=tinybundle.RATE)
    assert [p.label for p in found] == [p.label for p in wanted]
    assert np.allclose([p.score for p in found], [p.score for p in wanted], atol=1e-5)
    assert set(cuda.live().values()) == {0}


def test_many_files_stream_in_order_past_bad_ones(
    folder: Path, cuda: FakeCuda, tmp_path: Path
) -> None:
    clips = [tinybundle.clip(i, (1 + i % 3) * tinybundle.WINDOW) for i in range(9)]
    sources: list[bytes | Path] = [tinybundle.wav(clip) for clip in clips]
    sources.insert(4, tmp_path / "missing.wav")
    with runtime.Classifier(folder, tinybundle.LABELS, batch_size=3) as gpu:
        results = list(gpu.predict_many(sources))
    with runtime.Classifier(folder, tinybundle.LABELS, providers=("cpu",)) as cpu:
        wanted = [cpu.predict(clip, sample_rate=tinybundle.RATE) for clip in clips]
    assert results.pop(4).error is not None
    for result, predictions in zip(results, wanted, strict=True):
        assert [p.label for p in result.predictions] == [p.label for p in predictions]
        assert np.allclose(
            [p.similarity for p in result.predictions], [p.similarity for p in predictions],
            atol=1e-5,
        )  # fmt: skip


def test_the_next_batch_is_copied_before_the_one_before_is_waited_for(
    folder: Path, cuda: FakeCuda
) -> None:
    asked: list[int] = []

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for i in range(4):
            asked.append(i)
            yield {"waveform": windows(2, i)}

    with Encoder(folder) as encoder:
        given = encoder.open_audio().stream(feeds())
        first = next(given)["embedding"]
        assert asked == [0, 1, 2]  # two run, and the third had to wait for a slot
        assert np.abs(first - expected(windows(2, 0))).max() < 1e-5
        for i, outputs in enumerate(given, 1):
            assert np.abs(outputs["embedding"] - expected(windows(2, i))).max() < 1e-5


def test_a_graph_is_launched_from_the_second_run_of_a_shape_on(
    folder: Path, cuda: FakeCuda
) -> None:
    with Encoder(folder) as encoder:
        encoder.embed_windows(windows(4), 1)  # two runs in each of the two slots
        assert cuda.launched == 2
        encoder.embed_windows(windows(6), 1)
        assert cuda.launched == 8
        encoder.embed_windows(windows(6), 3)  # shapes never seen before
        assert cuda.launched == 8


def test_a_stream_that_cannot_be_captured_runs_without_graphs(
    folder: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cuda.cuStreamBeginCapture

    def invalid(stream: object, mode: object) -> object:
        status = original(stream, mode)
        stream.invalid = True  # type: ignore[attr-defined]
        return status

    monkeypatch.setattr(cuda, "cuStreamBeginCapture", invalid)
    with Encoder(folder) as encoder:
        batch = windows(7)
        assert np.abs(encoder.embed_windows(batch, 1) - expected(batch)).max() < 1e-5
        assert cuda.launched == 0


def test_contexts_of_many_shapes_stay_bounded(
    folder: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "MOST_SHAPES", 2)
    with Encoder(folder) as encoder:
        for turn in range(3):
            for n in (1, 2, 3, 4):
                batch = windows(n, turn)
                assert np.abs(encoder.embed_windows(batch, 16) - expected(batch)).max() < 1e-5
    assert set(cuda.live().values()) == {0}


def test_memory_is_reported_and_does_not_grow_with_use(folder: Path, cuda: FakeCuda) -> None:
    with Encoder(folder) as encoder:
        backend = encoder.open_audio()
        assert isinstance(backend, TensorRtBackend)
        encoder.embed_windows(windows(8), 4)
        before, blocks = backend.memory(), cuda.live()
        samples = 4 * tinybundle.WINDOW * 4
        assert before.pinned >= 2 * samples
        assert before.device >= before.pinned
        for _ in range(20):
            encoder.embed_windows(windows(8), 4)
        assert backend.memory() == before
        assert {k: v for k, v in cuda.live().items() if k != "graphs"} == {
            k: v for k, v in blocks.items() if k != "graphs"
        }


def test_threads_share_an_engine(folder: Path, cuda: FakeCuda) -> None:
    problems: list[str] = []

    def work(seed: int) -> None:
        batch = windows(5, seed)
        for size in (1, 2, 5):
            if np.abs(encoder.embed_windows(batch, size) - expected(batch)).max() > 1e-5:
                problems.append(f"{seed}: {size}")

    with Encoder(folder) as encoder:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems
    assert set(cuda.live().values()) == {0}


def test_a_stream_left_half_way_holds_nobody_up(folder: Path, cuda: FakeCuda) -> None:
    with Encoder(folder, batch_size=1) as encoder:
        paused = encoder.embed_clips(windows(1, i) for i in range(9))
        assert np.abs(next(paused) - expected(windows(1, 0))).max() < 1e-5
        other = windows(3, 20)
        assert np.abs(encoder.embed_windows(other) - expected(other)).max() < 1e-5
        assert np.abs(next(paused) - expected(windows(1, 1))).max() < 1e-5
        paused.close()
    assert set(cuda.live().values()) == {0}


def test_too_many_streams_are_an_error_not_a_deadlock(
    folder: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.backends.trt.PATIENCE", 0.05)
    with Encoder(folder, batch_size=1) as encoder:
        begun = [encoder.embed_clips(windows(1, i) for i in range(3)) for _ in range(4)]
        for stream in begun:
            next(stream)
        with pytest.raises(BackendError, match="all 4 lanes"):
            encoder.embed_windows(windows(1))
        with pytest.raises(BackendError, match="cannot be closed"):
            encoder.open_audio().close()
        for stream in begun:
            stream.close()
    assert set(cuda.live().values()) == {0}


def test_gpu_times_of_a_batch_are_told_apart(folder: Path, cuda: FakeCuda) -> None:
    with Encoder(folder) as encoder:
        backend = encoder.open_audio()
        assert isinstance(backend, TensorRtBackend)
        found = backend.milliseconds({"waveform": windows(2)})
    # What the fake's work takes: a copy in, a run, and a copy out for each of two outputs.
    assert np.allclose(found, (1, 5, 2), atol=0.1)


def test_a_closed_engine_says_so(folder: Path, cuda: FakeCuda) -> None:
    encoder = Encoder(folder)
    backend = encoder.open_audio()
    encoder.close()
    with pytest.raises(BackendError, match="was closed"):
        backend.run({"waveform": windows(1)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "10.3.0"}, "tensorrt 10.3.0, and 11.4.0.106 is installed"),
        ({"compute_capabilities": ("8.7",)}, "capability 8.7, and this one has 9.0"),
        ({"library": "tensorrt_rtx"}, "by tensorrt_rtx, and tensorrt is installed"),
    ],
)
def test_an_engine_of_another_machine_is_refused_with_both_values(
    tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, changes: dict, words: str
) -> None:
    folder = trtbundle.build(tmp_path / "bundle", **changes)
    if "library" in changes:
        found = trtbundle.Dialect(trtbundle.faketrt.module(cuda, trtbundle.VERSION), "tensorrt")
        monkeypatch.setattr("runtime.backends.trt.installed", lambda library: found)
    with pytest.raises(BackendError, match=words) as caught:
        Encoder(folder).open_audio()
    assert "clap-export build" in str(caught.value)
    assert set(cuda.live().values()) == {0}


def test_without_a_driver_a_gpu_or_bindings_the_reason_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    driver.bindings.cache_clear()
    monkeypatch.setattr(driver, "import_module", missing)
    with pytest.raises(BackendError, match="pip install cuda-bindings"):
        Encoder(folder).open_audio()
    monkeypatch.setattr(driver, "import_module", lambda name: FakeCuda(devices=0))
    with pytest.raises(BackendError, match="no NVIDIA GPU"):
        Encoder(folder).open_audio()

    class Broken(FakeCuda):
        def cuInit(self, flags: int) -> object:
            raise RuntimeError("libcuda.so.1 not found")

    monkeypatch.setattr(driver, "import_module", lambda name: Broken())
    with pytest.raises(BackendError, match="driver is not installed"):
        Encoder(folder).open_audio()
    driver.bindings.cache_clear()


def test_a_gpu_that_is_not_there_is_counted(folder: Path, cuda: FakeCuda) -> None:
    with pytest.raises(BackendError, match="GPU 3 was asked for, but this machine has 1"):
        Encoder(folder, device=3).open_audio()


def test_a_full_gpu_fails_in_a_sentence_and_leaks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = trtbundle.install(monkeypatch, FakeCuda(memory=100_000)).cuda
    encoder = Encoder(folder)
    with pytest.raises(BackendError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        encoder.embed_windows(windows(4), 4)
    one = windows(1)
    assert np.abs(encoder.embed_windows(one, 1) - expected(one)).max() < 1e-5
    encoder.close()
    assert set(cuda.live().values()) == {0}


def test_a_gpu_without_room_to_compute_leaks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = trtbundle.install(monkeypatch, FakeCuda(memory=1000)).cuda
    with Encoder(folder) as encoder, pytest.raises(BackendError, match="OUT_OF_MEMORY"):
        encoder.embed_windows(windows(1))
    assert set(cuda.live().values()) == {0}


def test_an_altered_engine_is_refused_before_it_is_run(tmp_path: Path, cuda: FakeCuda) -> None:
    folder = trtbundle.build(tmp_path / "bundle")
    path = folder / "audio.engine"
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(BundleError, match="SHA-256"):
        Encoder(folder).open_audio()


def test_tensorrt_needs_engines_and_stands_alone(tiny_bundle: Path, folder: Path) -> None:
    with pytest.raises(BackendError, match="holds no engines"):
        Encoder(tiny_bundle, providers=("tensorrt",))
    with pytest.raises(BackendError, match="alone"):
        Encoder(folder, providers=("tensorrt", "cpu"))
