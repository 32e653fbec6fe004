"""The log-mel frontend's forms on CUDA, and their share of the FP16 encoder's time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from clap_export.bench.ceilings import check_cuda, gpu_seconds
from clap_export.bench.peers.cuda import halve
from clap_export.checkpoints import load
from clap_export.model.mel import LogMel

WARMUPS, RUNS = 5, 30
LOUD_DB = 60.0  # below the peak of a clip: what errors are looked for in


class Frontend:
    """One model on the GPU."""

    def __init__(self, ckpt: Path) -> None:
        check_cuda()
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        self._model = load(ckpt).model
        halve(self._model.cuda())
        self._graph = LogMel(self._model.mel.config)
        self._graph.load_state_dict(self._model.mel.state_dict())
        self._graph.use_graph()
        self._graph.cuda()

    @torch.inference_mode()
    def measure(self, batches: tuple[int, ...]) -> dict[str, Any]:
        """Milliseconds on the GPU by form and batch, launched one by one and as a CUDA graph."""
        model, spec = self._model, self._model.config.audio
        found: dict[str, Any] = {}
        for size in batches:
            x = 0.1 * torch.randn(size, spec.window_samples, device="cuda")
            log_mel = model.mel(x)
            calls: dict[str, Callable[[], Tensor]] = {
                "torch.stft and mel": lambda x=x: stft(model.mel, x),
                "torch.fft.rfft of frames and mel": lambda x=x: model.mel(x),
                "in the graph: two-stage DFT": lambda x=x: self._graph(x),
                "encoder, FP16": lambda m=log_mel: model.embed_log_mel(m),
            }
            times = {name: (_ms(call), _graphed(call)) for name, call in calls.items()}
            encoder = times["encoder, FP16"][0]
            found[str(size)] = {
                name: {"ms": ms, "graph_ms": graphed, "share_of_encoder": ms / encoder}
                for name, (ms, graphed) in times.items()
            }
        want = stft(model.mel.double(), x[:1].double())
        model.mel.float()
        loud = want > want.amax() - LOUD_DB
        errors = {
            name: (call()[:1] - want).abs()[loud].max().item()
            for name, call in calls.items()
            if not name.startswith("encoder")
        }
        return {"batches": found, "error_db": errors}


def stft(mel: LogMel, x: Tensor) -> Tensor:
    """Log-mel by ``torch.stft``, ``[batch, frames, n_mels]`` decibels."""
    config = mel.config
    found = torch.stft(
        x, config.n_fft, config.hop_length, window=mel.window, return_complex=True,
        pad_mode="reflect",
    )  # fmt: skip
    power = found.real.square() + found.imag.square()
    decibels = torch.log((mel.filterbank.T @ power).clamp(min=config.amin))
    return 10 / math.log(10) * decibels.transpose(1, 2)


def _ms(call: Callable[[], object]) -> float:
    for _ in range(WARMUPS):
        call()
    return 1000 * median(gpu_seconds(call) for _ in range(RUNS))


def _graphed(call: Callable[[], object]) -> float | None:
    """As a CUDA graph, so that launches cost nothing; None if it cannot be captured."""
    try:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:
        return None
    return _ms(graph.replay)
