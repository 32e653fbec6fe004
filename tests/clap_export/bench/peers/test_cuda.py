"""PyTorch on a GPU beside our bundles, as far as it goes without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clap_export import bench
from clap_export.bench import ceilings
from clap_export.bench.candidate import Candidate, Plan
from clap_export.bench.peers import cuda as cuda_peers
from runtime.errors import BackendError
from tests import tiny
from tests.tiny import bundle as tinybundle


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(tinybundle.wav(tinybundle.clip(3, tinybundle.WINDOW), tinybundle.RATE))
    return path


def test_operations_are_counted() -> None:
    linear, x = torch.nn.Linear(100, 50), torch.ones(7, 100)
    assert ceilings.gflop(lambda: linear(x)) == pytest.approx(2 * 7 * 100 * 50 / 1e9)
    convolution = torch.nn.Conv1d(3, 5, 4)
    x = torch.ones(2, 3, 13)  # gives 10 frames
    assert ceilings.gflop(lambda: convolution(x)) == pytest.approx(2 * 2 * 5 * 10 * 3 * 4 / 1e9)


@pytest.mark.parametrize("audio", tiny.AUDIO)
def test_a_halved_encoder_gives_the_same_embeddings(audio: str) -> None:
    model, waveforms = tiny.model(tiny.config(audio)), tiny.waveforms(3)
    with torch.inference_mode():
        want = model.embed_audio(waveforms)
        cuda_peers.halve(model)
        found = model.embed_audio(waveforms)
    assert (want * found).sum(dim=1).min() > 0.9995
    assert (want - found).abs().max() > 0  # it is another computation
    assert next(model.audio_projection.parameters()).dtype == torch.float16
    assert model.mel.filterbank.dtype == torch.float32


@pytest.mark.parametrize("kind", ["torch", "torch-compile"])
def test_rows_of_torch_peers(
    kind: Any, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU: what is a GPU's is replaced, all else runs."""

    def timed(call: Callable[[], object]) -> float:
        call()
        return 0.125

    def compiled(call: Callable[..., object], **given: object) -> Callable[..., object]:
        assert given == {"mode": "max-autotune", "dynamic": False, "fullgraph": True}
        return call

    monkeypatch.setattr(cuda_peers, "check_cuda", lambda: None)
    monkeypatch.setattr(cuda_peers, "gpu_seconds", timed)
    monkeypatch.setattr(cuda_peers.CudaTorchPeer, "device", "cpu")
    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    ckpt = tiny.save(tmp_path / "m.safetensors", "htsat")
    subject = cuda_peers.KINDS[kind](Candidate(kind, ckpt, device="cuda"), Plan((clip,), (1, 4)))
    assert subject.model.audio_precision == "fp16"
    assert subject.model.encoder_gflop
    names = [row.name for row in subject.stages()]
    parts = ["copy in", "frontend", "encoder"]
    assert names == ["decode", "resample", "scores", *parts, *parts]
    for row in subject.stages():
        found = row.tasks[0]()
        assert not row.detail.endswith("GPU time") or found == 0.125
    _, many = [row.tasks[0]() for row in subject.batches()]
    assert isinstance(many, torch.Tensor)
    assert many.shape == (4, tiny.DIM)
    assert torch.allclose(many[0], many[1], atol=1e-3)  # one clip, four times
    assert subject.embed(clip) @ many[0].numpy() == pytest.approx(1, abs=1e-3)
    subject.predict(clip)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_torch_without_cuda_is_refused(tmp_path: Path) -> None:
    ckpt = tiny.save(tmp_path / "m.safetensors")
    with pytest.raises(BackendError, match=r"torch .* cannot use the GPU: install a build"):
        cuda_peers.CudaTorchPeer(Candidate("torch", ckpt, device="cuda"), Plan((), (1,)))


# -- on a GPU --


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_peers_on_the_gpu_give_the_embeddings_of_the_cpu(
    exported_bundle: Path, tmp_path: Path
) -> None:
    ckpt = tiny.save(tmp_path / "m.safetensors")
    request = bench.Request(
        (exported_bundle,), ("cpu",), peers=bench.Peers(("torch", "torch-compile"), ckpt),
        device="cuda", batches=(1, 4), runs=3,
    )  # fmt: skip
    report = bench.bench(request)
    _, *peers = report.candidates
    for one in peers:
        assert one.cosine == pytest.approx(1, abs=5e-4)
        assert one.memory.gpu_mib is not None
        assert one.memory.gpu_mib > 0
    assert report.machine.gpu is not None
    limits = report.ceilings
    assert limits is not None
    assert limits.fp16_tflops > limits.fp32_tflops > 1
    assert limits.host_to_device_gb_s > 1
