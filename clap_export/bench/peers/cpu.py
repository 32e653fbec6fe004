"""What people run without us, on the same weights: subjects of the benchmark.

Labels are embedded once, but by transformers' pipeline, which does that for every recording; their
values do not change the work. Files are decoded and resampled as the runtime does it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clap_export.bench.candidate import LABELS, Candidate, Kind, Plan
from clap_export.bench.report import Model
from clap_export.bench.rows import Row, batch_rows, loading_rows
from runtime import audio
from runtime.backends import quiet
from runtime.clips import windows
from runtime.clips.pooling import mean_embedding
from runtime.errors import ClapError

TOP_K = 5
NAMES = {torch.float32: "fp32", torch.float16: "fp16"}


class _Peer:
    """What all peers have in common."""

    engine = ""
    model: Model
    device = "cpu"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        self._plan = plan
        torch.set_num_threads(candidate.threads or torch.get_num_threads())

    def setup(self) -> list[Row]:
        """Nothing: what happens once is timed of bundles only."""
        return []

    def folder(self) -> tuple[int, int, list[Row]]:
        """Nothing: they have no stream."""
        return 0, 0, []


class TorchPeer(_Peer):
    """Our own model in PyTorch, as one has it after training: ``torch.stft``, eager mode."""

    engine = "torch"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        from clap_export.checkpoints import load

        family: Any = candidate.family
        self._checkpoint = load(candidate.path, family, candidate.tokenizer)
        config = self._checkpoint.model.config
        self._spec, self._scale = config.audio, self._checkpoint.model.scale().item()
        self._labels = _labels(config.embedding_dim, self.device)
        self.model = Model(
            name=config.name,
            family=self._checkpoint.source.family,
            space_id=self._checkpoint.space_id(),
            audio_precision="fp32",
            text_precision="fp32",
            sample_rate_hz=self._spec.sample_rate,
            window_seconds=self._spec.window_samples / self._spec.sample_rate,
            embedding_dim=config.embedding_dim,
            file_bytes=_sizes(candidate.path),
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

    def embed(self, path: Path) -> NDArray[np.float32]:
        """Mean of the windows' embeddings."""
        with torch.inference_mode():
            rows = self._rows(self._clip(path))
        return mean_embedding(rows.cpu().numpy())

    def _scores(self, batch: NDArray[np.float32]) -> object:
        embedding = torch.nn.functional.normalize(self._rows(batch).mean(dim=0), dim=0)
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
        try:
            ov = quiet.openvino()
        except ImportError as error:
            raise ClapError(
                f"--against openvino: it cannot be imported ({error}). "
                "Install it: pip install openvino"
            ) from error
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
            converted = ov.convert_model(Encoder().eval(), example_input=log_mel)
        converted.reshape([-1, *log_mel.shape[1:]])
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if candidate.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = candidate.threads
        compiled = ov.Core().compile_model(converted, "CPU", settings)
        self._request = compiled.create_infer_request()
        chosen = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        chosen = {"f32": "fp32", "f16": "fp16"}.get(chosen, chosen)
        self.model = replace(self.model, audio_precision=chosen)

    def _rows(self, batch: NDArray[np.float32]) -> torch.Tensor:
        log_mel = self._checkpoint.model.mel(torch.from_numpy(batch))
        (found,) = self._request.infer([log_mel.numpy()]).values()
        return torch.from_numpy(np.array(found))


class TransformersPeer(_Peer):
    """transformers at its best: batches, labels embedded once."""

    engine = "transformers"
    dtype = torch.float32

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        from transformers import ClapFeatureExtractor, ClapModel

        source = str(candidate.path)
        try:
            self._extractor: Any = ClapFeatureExtractor.from_pretrained(source)
            model: Any = ClapModel.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ClapError(
                f"--against transformers: {source} is no ClapModel that it can load ({error}). "
                "Give --ckpt a folder or a hub id of transformers."
            ) from error
        self._model = model.eval().to(self.device, self.dtype)
        dim = self._model.config.projection_dim
        self._labels = _labels(dim, self.device).to(self.dtype)
        self._rate = int(self._extractor.sampling_rate)
        self.model = Model(
            name=candidate.path.name,
            family="transformers",
            space_id="",
            audio_precision=NAMES[self.dtype],
            text_precision=NAMES[self.dtype],
            sample_rate_hz=self._rate,
            window_seconds=float(self._extractor.max_length_s),
            embedding_dim=dim,
            file_bytes=_sizes(candidate.path),
            encoder_gflop=None,
        )

    def predict(self, path: Path) -> object:
        """Softmax over the labels."""
        with torch.inference_mode():
            embedding = self._embed([self._load(path)])
            scale = self._model.logit_scale_a.exp()
            return (scale * embedding @ self._labels.T).softmax(dim=1).topk(TOP_K)

    def stages(self) -> list[Row]:
        """Loading, and the feature extractor; the encoder is the rest of batch 1."""
        clip = self._load(self._plan.clips[0])
        return [
            *loading_rows(self._plan.clips, self._rate),
            Row("frontend", "ClapFeatureExtractor, one clip", (lambda: self._features([clip]),)),
        ]

    def batches(self) -> list[Row]:
        """Frontend and encoder."""

        def embed(batch: NDArray[np.float32]) -> object:
            with torch.inference_mode():
                return self._embed(list(batch))

        size = round(self.model.window_seconds * self._rate)
        clips = [np.resize(self._load(path), size) for path in self._plan.clips]
        return batch_rows(embed, np.stack(clips), self._plan)

    def embed(self, path: Path) -> NDArray[np.float32]:
        """The embedding of the whole recording."""
        with torch.inference_mode():
            return self._embed([self._load(path)])[0].float().cpu().numpy()

    def _load(self, path: Path) -> NDArray[np.float32]:
        return audio.resample(*audio.decode(path), self._rate)

    def _features(self, clips: list[NDArray[np.float32]]) -> Any:
        return self._extractor(clips, sampling_rate=self._rate, return_tensors="pt")

    def _embed(self, clips: list[NDArray[np.float32]]) -> torch.Tensor:
        # Of its outputs floats are cast, and is_longer is not.
        features = self._features(clips).to(self.device, self.dtype)
        found = self._model.get_audio_features(**features)
        return torch.nn.functional.normalize(getattr(found, "pooler_output", found))


class PipelinePeer(TransformersPeer):
    """transformers as its documentation shows it: ``zero-shot-audio-classification``."""

    engine = "transformers, its pipeline"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        from transformers import AutoTokenizer, ZeroShotAudioClassificationPipeline

        tokenizer: Any = AutoTokenizer.from_pretrained(str(candidate.path))
        self._pipeline: Any = ZeroShotAudioClassificationPipeline(
            model=self._model, feature_extractor=self._extractor, tokenizer=tokenizer
        )

    def predict(self, path: Path) -> object:
        """The pipeline on samples in memory: its own decoder needs ffmpeg."""
        return self._pipeline(self._load(path), candidate_labels=self._plan.names)

    def stages(self) -> list[Row]:
        """None: it is one call."""
        return []

    def batches(self) -> list[Row]:
        """None: one recording at a time."""
        return []


def _sizes(path: Path) -> dict[str, int]:
    """Of a checkpoint's files; none for a hub id."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.name: file.stat().st_size for file in files if file.is_file()}


def _labels(dim: int, device: str) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(LABELS, dim)).to(device)


KINDS: dict[Kind, type[TorchPeer | TransformersPeer]] = {
    "torch": TorchPeer,
    "openvino": OpenVinoPeer,
    "transformers": TransformersPeer,
    "pipeline": PipelinePeer,
}
