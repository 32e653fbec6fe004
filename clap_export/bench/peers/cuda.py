"""The peers on a GPU, tuned for speed: the mel frontend in FP32, the
encoder in FP16, inputs by way of pinned memory. Every call ends with its result on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clap_export.bench.candidate import Candidate, Kind, Plan
from clap_export.bench.ceilings import check_cuda, gflop, gpu_seconds
from clap_export.bench.peers.own import TorchPeer
from clap_export.bench.peers.peer import MOST_SHAPES, TOP_K
from clap_export.bench.peers.transformers import TransformersPeer
from clap_export.bench.rows import Row, batch_rows
from clap_export.bench.timing import OwnSeconds
from clap_export.model.clap import ClapModel
from runtime.errors import ClapError


class CudaTorchPeer(TorchPeer):
    """Our own model in PyTorch, eager."""

    device = "cuda"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        check_cuda()
        torch.set_float32_matmul_precision("highest")  # of the frontend
        super().__init__(candidate, plan)
        if self._spec.long_clips == "fusion":
            raise ClapError("--against torch on --device cuda: feature fusion is not measured.")
        model = self._checkpoint.model
        with torch.no_grad():
            log_mel = model.mel(torch.zeros(1, self._spec.window_samples))
        counted = gflop(lambda: model.embed_log_mel(log_mel))
        halve(model.cuda())
        self.model = replace(self.model, audio_precision="fp16", encoder_gflop=counted)
        self._pinned = torch.empty(0)

    def stages(self) -> list[Row]:
        """What CPU peers have but the frontend; and by the GPU's events each part of a batch."""
        window = self._windows()[:1]

        @torch.inference_mode()
        def scores() -> object:
            return self._scores(window)

        return [
            *super().stages()[:-1],
            Row("scores", f"a window in memory to the top {TOP_K} labels", (scores,)),
            *(row for size in self._plan.batches for row in self._parts(size)),
        ]

    def batches(self) -> list[Row]:
        """Frontend and encoder, from the host's memory to the host's memory."""

        def embed(batch: NDArray[np.float32]) -> object:
            with torch.inference_mode():
                return self._rows(batch).cpu()

        return batch_rows(embed, self._windows(), self._plan)

    def _scores(self, batch: NDArray[np.float32]) -> object:
        found: Any = super()._scores(batch)
        return [tensor.cpu() for tensor in found]  # waits for the GPU

    def _rows(self, batch: NDArray[np.float32]) -> torch.Tensor:
        return self._encode(self._checkpoint.model.mel(self._sent(batch)))

    def _encode(self, log_mel: torch.Tensor) -> torch.Tensor:
        return self._checkpoint.model.embed_log_mel(log_mel)

    def _sent(self, batch: NDArray[np.float32]) -> torch.Tensor:
        """A batch on the GPU, by way of pinned memory that is kept."""
        if self._pinned.shape[1:] != batch.shape[1:] or len(self._pinned) < len(batch):
            self._pinned = torch.empty(batch.shape).pin_memory()
        pinned = self._pinned[: len(batch)]
        pinned.copy_(torch.from_numpy(batch))
        return pinned.to(self.device, non_blocking=True)

    def _parts(self, size: int) -> list[Row]:
        windows = self._windows()
        batch = windows[np.arange(size) % len(windows)]
        model = self._checkpoint.model
        with torch.inference_mode():
            there = self._sent(batch)
            log_mel = model.mel(there)
        calls: dict[str, Callable[[], object]] = {
            "copy in": lambda: there.copy_(self._pinned[:size], non_blocking=True),
            "frontend": lambda: model.mel(there),
            "encoder": lambda: self._encode(log_mel),
        }

        def timed(call: Callable[[], object]) -> Callable[[], object]:
            @torch.inference_mode()
            def run() -> object:
                return OwnSeconds(gpu_seconds(call))

            return run

        detail = f"batch {size}, GPU time"
        return [Row(name, detail, (timed(call),)) for name, call in calls.items()]


class CudaCompiledPeer(CudaTorchPeer):
    """The same through ``torch.compile(mode="max-autotune")``, which captures CUDA graphs too. For
    each size of batch it compiles anew, in the first warm-up."""

    engine = "torch.compile"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        dynamo: Any = torch._dynamo
        dynamo.config.recompile_limit = MOST_SHAPES
        model = self._checkpoint.model
        with torch.inference_mode():  # makes what is kept by shape, such as HTSAT's stretch
            log_mel = model.mel(torch.zeros(1, self._spec.window_samples, device=self.device))
            model.embed_log_mel(log_mel)
        # Without its frontend, whose complex FFT the compiler leaves as it is.
        self._compiled: Any = torch.compile(
            model.embed_log_mel, mode="max-autotune", dynamic=False, fullgraph=True
        )

    def _encode(self, log_mel: torch.Tensor) -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return self._compiled(log_mel)


class CudaTransformersPeer(TransformersPeer):
    """transformers at its best: all of it in FP16; its feature extractor runs on the host."""

    device = "cuda"
    dtype = torch.float16

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        check_cuda()
        super().__init__(candidate, plan)

    def predict(self, path: Path) -> object:
        """Softmax over the labels."""
        found: Any = super().predict(path)
        return [tensor.cpu() for tensor in found]  # waits for the GPU

    def batches(self) -> list[Row]:
        """Feature extractor and encoder."""

        def waited(row: Row) -> Row:
            (task,) = row.tasks

            def run() -> object:
                found: Any = task()
                return found.cpu()

            return replace(row, tasks=(run,))

        return [waited(row) for row in super().batches()]


def halve(model: ClapModel) -> None:
    """Put the audio encoder behind its first normalisation into FP16, which reads decibels: those
    stay in FP32, as in our FP16 bundles."""
    encoder: Any = model.audio_encoder
    encoder.half()
    encoder.bn0.float()
    if hasattr(encoder, "backbone"):  # the others cast by themselves
        encoder.backbone.register_forward_pre_hook(lambda _, given: (given[0].half(),))
    model.audio_projection.half()


KINDS: dict[Kind, type[CudaTorchPeer | CudaTransformersPeer]] = {
    "torch": CudaTorchPeer,
    "torch-compile": CudaCompiledPeer,
    "transformers": CudaTransformersPeer,
}
