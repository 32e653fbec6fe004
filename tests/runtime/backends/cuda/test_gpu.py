"""The runtime on an NVIDIA GPU gives the CPU's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from clap_export.sounds.catalogue import SOUNDS, write_demo_sounds

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _cuda() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_embeddings_equal_those_of_the_cpu(
    mini_bundle: Path, tmp_path: Path, batch_size: int
) -> None:
    paths = write_demo_sounds(tmp_path)
    cpu = runtime.Encoder(mini_bundle)
    gpu = runtime.Encoder(mini_bundle, providers=("cuda", "cpu"), batch_size=batch_size)
    assert gpu.open_audio().provider == "cuda"
    for one, two in (
        (cpu.embed_audio(paths), gpu.embed_audio(paths)),
        (cpu.embed_text(list(SOUNDS)), gpu.embed_text(list(SOUNDS))),
    ):
        assert np.abs(one - two).max() < 1e-4
        assert (one * two).sum(1).min() > 0.99999
