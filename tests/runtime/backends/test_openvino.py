"""The OpenVINO engine gives what ONNX Runtime gives, under the same protocol."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, Encoder, pipeline
from runtime.backends import open_backend
from runtime.backends.openvino import OpenVinoBackend
from runtime.cores import usable_cores
from runtime.errors import BackendError
from tests.places import ROOT
from tests.tiny import bundle as tinybundle

pytest.importorskip("openvino", reason="OpenVINO is optional: pip install clap-export[openvino]")
OPENVINO = ("openvino",)


def windows(count: int, seed: int = 0) -> np.ndarray:
    shape = (count, tinybundle.WINDOW)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_gives_what_the_slow_twin_gives(tiny_bundle: Path, count: int) -> None:
    backend = open_backend(tiny_bundle / "audio.onnx", OPENVINO)
    assert backend.provider == "openvino"
    assert (backend.input_names, backend.output_names) == (("waveform",), ("embedding", "norm"))
    batch = windows(count, count)
    found = backend.run({"waveform": batch})["embedding"]
    assert found.dtype == np.float32
    norms = [np.linalg.norm(tinybundle.slow_raw_vector(window)) for window in batch]
    assert np.allclose(backend.run({"waveform": batch})["norm"], norms, rtol=1e-5)
    want = np.stack([tinybundle.slow_audio_embedding(window) for window in batch])
    assert np.abs(found - want).max() < 1e-5


def test_results_are_not_overwritten_by_the_next_run(tiny_bundle: Path) -> None:
    backend = open_backend((tiny_bundle / "audio.onnx").read_bytes(), OPENVINO, 1)
    first = backend.run({"waveform": windows(2, 1)})["embedding"]
    kept = first.copy()
    backend.run({"waveform": windows(2, 2)})
    assert np.array_equal(first, kept)


def test_a_whole_exported_bundle(exported_bundle: Path) -> None:
    from tests.tiny import RATE, waveforms

    clips = list(waveforms(3, 20_000).numpy())
    with Encoder(exported_bundle) as one, Encoder(exported_bundle, providers=OPENVINO) as two:
        assert np.abs(one.embed_audio(clips, RATE) - two.embed_audio(clips, RATE)).max() < 1e-4
        texts = ["rain", "a siren at the end of the street"]
        assert np.abs(one.embed_text(texts) - two.embed_text(texts)).max() < 1e-5


def test_threads_share_a_classifier(tiny_bundle: Path) -> None:
    clips = [windows(1, seed)[0] for seed in range(8)]
    with Classifier(tiny_bundle, ["dog", "rain"], providers=OPENVINO) as classifier:
        alone = [classifier.predict(clip, tinybundle.RATE) for clip in clips]
        together: list[object] = [None] * len(clips)

        def work(i: int) -> None:
            together[i] = classifier.predict(clips[i], tinybundle.RATE)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(len(clips))]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
    assert together == alone


def streams(encoder: Encoder, *, one_thread: bool) -> tuple[int, int]:
    """Of the compiled model itself: runs at a time, and threads for all of them."""
    loaded: Any = encoder._loaded
    backend = (loaded.single if one_thread else loaded.audio).get()
    (compiled,) = backend._compiled
    names = ("NUM_STREAMS", "INFERENCE_NUM_THREADS")
    return tuple(int(compiled.get_property(name)) for name in names)


def test_each_core_has_a_recording_of_many(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.loaded.usable_cores", lambda: 2)
    # However busy the machine is, a window takes less than the one and more than the other.
    monkeypatch.setattr(OpenVinoBackend, "one_thread_each_from", 60.0)
    with Encoder(tiny_bundle, providers=OPENVINO) as encoder:
        assert encoder.many_at_once == 1
    monkeypatch.setattr(OpenVinoBackend, "one_thread_each_from", 1e-9)
    with Encoder(tiny_bundle, providers=OPENVINO) as encoder:
        assert encoder.many_at_once == usable_cores()
        loaded: Any = encoder._loaded
        loaded.single.get()  # in place of the other, which was timed and had no other use
        assert loaded.audio._current is None
        assert streams(encoder, one_thread=False)[0] == 1
        assert streams(encoder, one_thread=True) == (2, 2)
    with Encoder(tiny_bundle, providers=OPENVINO, threads=1) as encoder:
        assert encoder.many_at_once == 1
        assert streams(encoder, one_thread=True) == (1, 1)


def test_many_recordings_are_each_as_if_alone(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoBackend, "one_thread_each_from", 0.0)
    clips = [windows(1, seed)[0] for seed in range(23)]
    with Classifier(tiny_bundle, ["dog", "rain"], providers=OPENVINO) as classifier:
        cores = usable_cores()
        assert pipeline.at_once(classifier.encoder, 100 * cores) == 1  # not worth another engine
        assert pipeline.at_once(classifier.encoder, 100 * cores + 1) == cores
        monkeypatch.setattr(pipeline, "MANY_ON", {})
        alone = [classifier.predict(clip, tinybundle.RATE) for clip in clips]
        for _ in range(2):
            found = classifier.predict_many(clips, tinybundle.RATE)
            assert [r.predictions for r in found] == [pytest.approx(each) for each in alone]


def test_wrong_use_is_said(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tiny_bundle / "audio.onnx"
    with pytest.raises(BackendError, match="runs a graph alone"):
        open_backend(path, ("openvino", "cpu"))
    with pytest.raises(BackendError, match="threads=0"):
        open_backend(path, OPENVINO, 0)
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match="OpenVINO cannot load"):
        open_backend(tmp_path / "no.onnx", OPENVINO)
    backend = open_backend(path, OPENVINO)
    with pytest.raises(BackendError, match=r"failed on inputs.*\(1, 5\)"):
        backend.run({"waveform": np.zeros((1, 5), np.float32)})
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run({"waveform": windows(1)})


def test_without_the_package_it_says_what_to_install(tiny_bundle: Path) -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from pathlib import Path; from runtime.backends import open_backend\n"
        f"open_backend(Path({str(tiny_bundle / 'audio.onnx')!r}), ('openvino',))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert "pip install openvino" in done.stderr
