"""Engines: what was asked for is what runs, or an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from runtime.backends import open_backend
from runtime.errors import BackendError
from tests.places import ROOT
from tests.tiny import bundle as tinybundle

NO_CUDA = "CUDAExecutionProvider" not in onnxruntime.get_available_providers()


def window(seed: int, n: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, tinybundle.WINDOW)).astype(np.float32)


def test_runs_a_path_and_bytes_alike(tiny_bundle: Path) -> None:
    path = tiny_bundle / "audio.onnx"
    batch = window(0, 3)
    expected = np.stack([tinybundle.slow_audio_embedding(w) for w in batch])
    for model in (path, path.read_bytes()):
        backend = open_backend(model, ("cpu",), 1)
        assert backend.provider == "cpu"
        assert backend.input_names == ("waveform",)
        assert backend.output_names == ("embedding", "norm")
        result = backend.run({"waveform": batch})["embedding"]
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, atol=1e-5)
        norms = [np.linalg.norm(tinybundle.slow_raw_vector(w)) for w in batch]
        np.testing.assert_allclose(backend.run({"waveform": batch})["norm"], norms, rtol=1e-5)


def test_closed(tiny_bundle: Path) -> None:
    backend = open_backend(tiny_bundle / "audio.onnx")
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run({"waveform": window(0)})


def test_wrong_input_is_a_backend_error_with_its_shape(tiny_bundle: Path) -> None:
    backend = open_backend(tiny_bundle / "audio.onnx")
    with pytest.raises(BackendError, match=r"\(1, 5\)"):
        backend.run({"waveform": np.zeros((1, 5), np.float32)})


@pytest.mark.skipif(not NO_CUDA, reason="this machine has CUDA")
@pytest.mark.parametrize("providers", [("cuda",), ("cuda", "cpu")])
def test_cuda_that_is_not_there(tiny_bundle: Path, providers: tuple[str, ...]) -> None:
    with pytest.raises(
        BackendError, match=r"'cuda'.*offers.*CPUExecutionProvider.*onnxruntime-gpu"
    ):
        open_backend(tiny_bundle / "audio.onnx", providers)


@pytest.mark.skipif(not NO_CUDA, reason="this machine has CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_is_compiled_in_but_does_not_start(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    with pytest.raises(BackendError, match="could start only CPUExecutionProvider"):
        open_backend(tiny_bundle / "audio.onnx", ("cuda", "cpu"))


SAYS = """
import sys
from pathlib import Path
import onnxruntime
from runtime.backends import open_backend
from runtime.errors import BackendError
try:
    open_backend(Path(sys.argv[1]), ("cuda", "cpu"))
except BackendError as error:
    print(error)
open_backend(Path(sys.argv[1]), ("cpu",))
"""


@pytest.mark.skipif(NO_CUDA, reason="this onnxruntime has no CUDA provider to start")
def test_a_cuda_that_does_not_start_is_one_sentence_of_ours(tiny_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYS, str(tiny_bundle / "audio.onnx")],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    assert "could start only CPUExecutionProvider" in done.stdout
    assert done.stderr == ""


def test_the_librarys_own_log_is_off_only_while_a_gpu_is_tried(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    severities: list[object] = []
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", severities.append)
    make = onnxruntime.InferenceSession

    def session(*arguments: object, **options: object) -> object:
        severities.append("made")
        return make(*arguments, **{**options, "providers": ["CPUExecutionProvider"]})

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    with pytest.raises(BackendError, match="could start only"):
        open_backend(tiny_bundle / "audio.onnx", ("cuda", "cpu"))
    assert severities == [4, "made", 2]
    open_backend(tiny_bundle / "audio.onnx", ("cpu",))
    assert severities == [4, "made", 2, "made"]


def test_the_second_provider_may_be_missing(tiny_bundle: Path) -> None:
    assert open_backend(tiny_bundle / "audio.onnx", ("cpu", "cuda")).provider == "cpu"


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_threads_that_are_none(tiny_bundle: Path, threads: object) -> None:
    with pytest.raises(BackendError, match="threads="):
        open_backend(tiny_bundle / "audio.onnx", ("cpu",), threads)


@pytest.mark.parametrize("providers", [(), "cuda", ("tpu",)])
def test_ill_formed_providers(tiny_bundle: Path, providers: object) -> None:
    with pytest.raises(BackendError, match="provider"):
        open_backend(tiny_bundle / "audio.onnx", providers)


def test_threads_below_one(tiny_bundle: Path) -> None:
    with pytest.raises(BackendError, match="threads=0"):
        open_backend(tiny_bundle / "audio.onnx", threads=0)


def test_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="model in memory"):
        open_backend(b"not an onnx file")
    with pytest.raises(BackendError, match=r"nothing\.onnx"):
        open_backend(tmp_path / "nothing.onnx")


def test_library_missing(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install 'onnxruntime'"):
        open_backend(tiny_bundle / "audio.onnx")
    with pytest.raises(BackendError, match="pip install 'onnxruntime-gpu"):
        open_backend(tiny_bundle / "audio.onnx", ("cuda",))
    with pytest.raises(BackendError, match=r"clap-export\[cpu\].*clap-export\[openvino\]"):
        open_backend(tiny_bundle / "audio.onnx")


def test_what_is_left_of_two_packages(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing one of onnxruntime and onnxruntime-gpu leaves a folder that still imports."""
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(BackendError, match="pip uninstall onnxruntime onnxruntime-gpu; pip inst"):
        open_backend(tiny_bundle / "audio.onnx")


IMPORT = """
import sys
import numpy
before = set(sys.modules)
import runtime
for name in runtime.__all__:
    getattr(runtime, name)
heavy = {"onnxruntime", "tokenizers", "soundfile", "soxr", "torch", "torchaudio", "transformers",
         "onnx", "clap_export", "train", "asyncio", "email", "http", "multiprocessing",
         "subprocess", "unittest", "urllib"} & (set(sys.modules) - before)
print(sum(not m.startswith("runtime") for m in set(sys.modules) - before), ",".join(sorted(heavy)))
"""


def test_import_is_light() -> None:
    out = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.rstrip("\n")
    modules, heavy = out.split(" ")
    assert heavy == ""
    # With every public name loaded. A count, as times of an import are the machine's.
    assert int(modules) < 70


def test_unknown_public_name() -> None:
    import runtime

    assert set(runtime.__all__) <= set(dir(runtime))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = runtime.nonsense
