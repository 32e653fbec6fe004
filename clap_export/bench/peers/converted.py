"""What people make of transformers' audio encoder with the engines' own tools: subjects of the
benchmark. Features are transformers', or are made the way that code without torch has them."""

from __future__ import annotations

import logging
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clap_export.bench.candidate import Candidate, Plan
from clap_export.bench.peers.own import compiled_by_openvino
from clap_export.bench.peers.transformers import TransformersPeer
from runtime.errors import ClapError

OPSET = 17
POWER_FLOOR = 1e-10  # of a log-mel spectrogram, as transformers has it


class Encoder(torch.nn.Module):
    """From features to unit embeddings, as ``ClapModel`` has it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """From features ``[n, 1, frames, mels]`` to embeddings ``[n, dim]``."""
        longer = torch.zeros(features.shape[0], 1, dtype=torch.bool)
        found = self.model.get_audio_features(input_features=features, is_longer=longer)
        return torch.nn.functional.normalize(getattr(found, "pooler_output", found))


class _ConvertedPeer(TransformersPeer, ABC):
    """Its encoder is not run by torch."""

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        if self._extractor.truncation == "fusion":
            raise ClapError(
                f"--against {candidate.kind}: models with feature fusion are not converted."
            )
        silence = np.zeros(self._extractor.nb_max_samples, np.float32)
        example = self._features([silence])["input_features"]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._run = self._converted(Encoder(self._model).eval(), example, candidate.threads)

    @abstractmethod
    def _converted(
        self, encoder: Encoder, example: torch.Tensor, threads: int | None
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """What runs the encoder: from features to embeddings."""

    def _embed(self, clips: Sequence[NDArray[np.float32]]) -> torch.Tensor:
        features = self._features(clips)["input_features"]
        return torch.from_numpy(self._run(features.numpy()))


class OpenVinoPeer(_ConvertedPeer):
    """``openvino.convert_model`` and its default precision: bfloat16 where the CPU has it."""

    engine = "transformers and openvino"

    def _converted(
        self, encoder: Encoder, example: torch.Tensor, threads: int | None
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        run, precision = compiled_by_openvino(encoder, example, threads, "transformers-openvino")
        self.model = replace(self.model, audio_precision=precision)
        return run


class _OnnxPeer(_ConvertedPeer):
    """``torch.onnx.export``, and ONNX Runtime with the settings that it comes with."""

    def _converted(
        self, encoder: Encoder, example: torch.Tensor, threads: int | None
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        import onnxruntime

        axes = {"features": {0: "n"}, "embeddings": {0: "n"}}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        with tempfile.TemporaryDirectory(prefix="clap-bench-") as folder:
            path = Path(folder, "plain.onnx")
            torch.onnx.export(
                encoder, (example,), str(path), input_names=["features"], opset_version=OPSET,
                output_names=["embeddings"], dynamic_axes=axes, dynamo=False,
            )  # fmt: skip
            path = self._changed(path)
            self.model = replace(self.model, file_bytes={path.name: path.stat().st_size})
            session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

        def run(features: NDArray[np.float32]) -> NDArray[np.float32]:
            return session.run(None, {"features": features})[0]

        return run

    def _changed(self, path: Path) -> Path:
        return path


class Int8Peer(_OnnxPeer):
    """ONNX Runtime's dynamic quantisation: one call, no recordings."""

    engine = "transformers, exported"

    def _changed(self, path: Path) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        made = path.with_name("int8.onnx")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it recommends a shape inference, which adds nothing here
        try:
            quantize_dynamic(path, made, weight_type=QuantType.QInt8)
        finally:
            logging.disable(before)
        self.model = replace(self.model, audio_precision="int8")
        return made


class PlainPeer(_OnnxPeer):
    """How code without torch does it: a spectrogram by numpy, one window after the other. What it
    is made with (torch, transformers) stays in its memory, so its memory says nothing."""

    engine = "numpy mel and plain ONNX"

    def _embed(self, clips: Sequence[NDArray[np.float32]]) -> torch.Tensor:
        rows = [self._run(self._log_mel(clip)) for clip in clips]
        return torch.from_numpy(np.concatenate(rows))

    def _log_mel(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the first window, which short clips fill as the checkpoint asks for, ``[1, 1, frames,
        mels]``."""
        made = self._extractor
        size, length = made.fft_window_size, made.nb_max_samples
        whole = length // len(clip)
        times = {"repeat": whole + 1, "repeatpad": max(1, whole)}.get(made.padding, 1)
        clip = np.tile(clip, times)[:length]
        clip = np.pad(clip, (0, length - len(clip)))
        clip = np.pad(clip, size // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(clip, size)[:: made.hop_length]
        window = np.hanning(size + 1)[:-1].astype(np.float32)
        power = np.abs(np.fft.rfft(frames * window)) ** 2
        mel = power.astype(np.float32) @ made.mel_filters_slaney.astype(np.float32)
        return (10 * np.log10(np.maximum(mel, POWER_FLOOR)))[None, None].astype(np.float32)
