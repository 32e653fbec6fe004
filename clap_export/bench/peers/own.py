"""Our own model without our runtime: what one has after training. Files are decoded and resampled
as the runtime does it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clap_export.bench.candidate import Candidate, Plan
from clap_export.bench.peers.peer import TOP_K, Peer, labels, sizes
from clap_export.bench.report import Model
from clap_export.bench.rows import Row, batch_rows, loading_rows
from runtime import audio
from runtime.backends import quiet
from runtime.clips import windows
from runtime.clips.pooling import mean_embedding
from runtime.errors import ClapError


class TorchPeer(Peer):
    """Our own model in PyTorch, as one has it after training: ``torch.stft``, eager mode."""

    engine = "torch"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        from clap_export.checkpoints import load

        family: Any = candidate.family
        self._checkpoint = load(candidate.path, family, candidate.tokenizer)
        config = self._checkpoint.model.config
        self._spec, self._scale = config.audio, self._checkpoint.model.scale().item()
        self._labels = labels(config.embedding_dim, self.device)
        self.model = Model(
            name=config.name,
            family=self._checkpoint.source.family,
            space_id=self._checkpoint.space_id(),
            audio_precision="fp32",
            text_precision="fp32",
            sample_rate_hz=self._spec.sample_rate,
            window_seconds=self._spec.window_samples / self._spec.sample_rate,
            embedding_dim=config.embedding_dim,
            file_bytes=sizes(candidate.path),
            encoder_gflop=None,
        )

    @torch.inference_mode()
    def predict(self, path: Path) -> object:
        """Softmax over the labels."""
        return self._scores(self._clip(path))

    def stages(self) -> list[Row]:
        """Loading, and the frontend; the encoder is the rest of batch 1."""
        rows = loading_rows(self._plan.clips, self._spec.sample_rate)
        first = torch.from_numpy(self._windows()[:1])

        @torch.inference_mode()
        def frontend() -> object:
            return self._checkpoint.model.hear(first)

        return [*rows, Row("frontend", "torch.stft and mel, one window", (frontend,))]

    def batches(self) -> list[Row]:
        """Frontend and encoder."""

        def embed(batch: NDArray[np.float32]) -> object:
            with torch.inference_mode():
                return self._rows(batch)

        return batch_rows(embed, self._windows(), self._plan)

    def folder(self) -> tuple[int, int, list[Row]]:
        """On a CPU, all windows of a few files in a batch."""
        if self.device != "cpu":
            return super().folder()

        def embed(clips: Sequence[NDArray[np.float32]]) -> torch.Tensor:
            return self._rows(np.concatenate(clips))

        def scores(clips: Sequence[NDArray[np.float32]]) -> object:
            return [self._ranked(rows) for rows in embed(clips).split([len(x) for x in clips])]

        return self.in_batches(self._clip, scores, embed)

    def embed(self, path: Path) -> NDArray[np.float32]:
        """Mean of the windows' embeddings."""
        with torch.inference_mode():
            rows = self._rows(self._clip(path))
        return mean_embedding(rows.cpu().numpy())

    def _scores(self, batch: NDArray[np.float32]) -> object:
        return self._ranked(self._rows(batch))

    def _ranked(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embedding = torch.nn.functional.normalize(rows.mean(dim=0), dim=0)
        return (self._scale * self._labels @ embedding).softmax(dim=0).topk(TOP_K)

    def _rows(self, batch: NDArray[np.float32]) -> torch.Tensor:
        return self._checkpoint.model.embed_audio(torch.from_numpy(batch))

    def _clip(self, path: Path) -> NDArray[np.float32]:
        return windows.rows(audio.prepare(path, self._spec), self._spec)

    def _windows(self) -> NDArray[np.float32]:
        length = self._spec.window_samples
        return np.stack([row[:length] for path in self._plan.clips for row in self._clip(path)])


class OpenVinoPeer(TorchPeer):
    """OpenVINO on its own: its converter on the PyTorch encoder, its default precision (bfloat16
    where the CPU has it); the frontend in PyTorch."""

    engine = "torch and openvino"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        model = self._checkpoint.model
        if self._spec.long_clips == "fusion":
            raise ClapError("--against openvino: models with feature fusion are not converted.")

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
                return self.model.embed_log_mel(log_mel)

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log_mel = model.mel(torch.zeros(1, self._spec.window_samples))
            model.embed_log_mel(log_mel)  # HTSAT makes its stretch matrix in the first call
            self._run, chosen = compiled_by_openvino(
                Encoder().eval(), log_mel, candidate.threads, "openvino"
            )
        self.model = replace(self.model, audio_precision=chosen)

    def _rows(self, batch: NDArray[np.float32]) -> torch.Tensor:
        log_mel = self._checkpoint.model.mel(torch.from_numpy(batch))
        return torch.from_numpy(self._run(log_mel.numpy()))


def compiled_by_openvino(
    encoder: torch.nn.Module, example: torch.Tensor, threads: int | None, peer: str
) -> tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], str]:
    """OpenVINO's converter and its default precision.

    Args:
        encoder: of one input and one output, whose first axes are the batch.
        example: of its input.
        threads: of the CPU; None lets OpenVINO choose.
        peer: that needs it, for the message.

    Returns:
        what runs it, and the precision that OpenVINO chose.

    Raises:
        ClapError: OpenVINO is not installed.
    """
    try:
        ov = quiet.openvino()
    except ImportError as error:
        raise ClapError(
            f"--against {peer}: OpenVINO cannot be imported ({error}). "
            "Install it: pip install openvino"
        ) from error
    converted = ov.convert_model(encoder, example_input=example)
    converted.reshape([-1, *example.shape[1:]])
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = ov.Core().compile_model(converted, "CPU", settings)
    request = compiled.create_infer_request()

    def run(given: NDArray[np.float32]) -> NDArray[np.float32]:
        (found,) = request.infer([given]).values()
        return np.array(found)

    chosen = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    return run, {"f32": "fp32", "f16": "fp16"}.get(chosen, chosen)
