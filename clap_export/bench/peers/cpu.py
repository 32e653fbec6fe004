"""What people run without us, on the same weights: subjects of the benchmark.

Labels are embedded once, but by transformers' pipeline, which does that for every recording; their
values do not change the work. Files are decoded and resampled as the runtime does it.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from clap_export.bench.candidate import FOLDER_BATCH, LABELS, Candidate, Plan
from clap_export.bench.report import Model
from clap_export.bench.rows import Row, batch_rows, loading_rows
from runtime import audio
from runtime.backends import quiet
from runtime.clips import windows
from runtime.clips.pooling import mean_embedding
from runtime.errors import ClapError

TOP_K = 5
MOST_SHAPES = 64  # that torch.compile may compile for
NAMES = {torch.float32: "fp32", torch.float16: "fp16"}

C = TypeVar("C")


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
        """Nothing: a peer on a GPU is measured by its batches."""
        return 0, 0, []

    def _in_batches(
        self,
        load: Callable[[Path], C],
        scores: Callable[[Sequence[C]], object],
        embed: Callable[[Sequence[C]], object],
    ) -> tuple[int, int, list[Row]]:
        """Batches of files, one after the other: such code has no threads of its own.

        Args:
            load: what the encoder is given of a file.
            scores: a batch's files to their scores.
            embed: a batch's files to their embeddings.
        """
        files, size = self._plan.files, FOLDER_BATCH["cpu"]
        loaded = {path: load(path) for path in self._plan.clips}
        paths = list(islice(cycle(loaded), files))
        batches = [paths[i : i + size] for i in range(0, files, size)]

        @torch.inference_mode()
        def stream() -> None:
            for batch in batches:
                scores([load(path) for path in batch])

        @torch.inference_mode()
        def encode() -> None:
            for batch in batches:
                embed([loaded[path] for path in batch])

        return files, size, [
            Row("folder", "batches of files", (stream,)), Row("encoder", "", (encode,))
        ]  # fmt: skip


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

    def folder(self) -> tuple[int, int, list[Row]]:
        """On a CPU, all windows of a few files in a batch."""
        if self.device != "cpu":
            return super().folder()

        def embed(clips: Sequence[NDArray[np.float32]]) -> torch.Tensor:
            return self._rows(np.concatenate(clips))

        def scores(clips: Sequence[NDArray[np.float32]]) -> object:
            return [self._ranked(rows) for rows in embed(clips).split([len(x) for x in clips])]

        return self._in_batches(self._clip, scores, embed)

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
            return self._top([self._load(path)])

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

    def folder(self) -> tuple[int, int, list[Row]]:
        """On a CPU, a few files in a batch."""
        if self.device != "cpu":
            return super().folder()
        return self._in_batches(self._load, self._top, self._embed)

    def embed(self, path: Path) -> NDArray[np.float32]:
        """The embedding of the whole recording."""
        with torch.inference_mode():
            return self._embed([self._load(path)])[0].float().cpu().numpy()

    def _top(self, clips: Sequence[NDArray[np.float32]]) -> object:
        scale = self._model.logit_scale_a.exp()
        return (scale * self._embed(clips) @ self._labels.T).softmax(dim=1).topk(TOP_K)

    def _load(self, path: Path) -> NDArray[np.float32]:
        return audio.resample(*audio.decode(path), self._rate)

    def _features(self, clips: Sequence[NDArray[np.float32]]) -> Any:
        return self._extractor(list(clips), sampling_rate=self._rate, return_tensors="pt")

    def _embed(self, clips: Sequence[NDArray[np.float32]]) -> torch.Tensor:
        # Of its outputs floats are cast, and is_longer is not.
        features = self._features(clips).to(self.device, self.dtype)
        found = self._model.get_audio_features(**features)
        return torch.nn.functional.normalize(getattr(found, "pooler_output", found))


class AutocastPeer(TransformersPeer):
    """The same in bfloat16 where the CPU has it: one line more."""

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(candidate, plan)
        self._bfloat16 = _has_bfloat16()
        if self._bfloat16:
            self.model = replace(self.model, audio_precision="bf16", text_precision="bf16")

    def _embed(self, clips: Sequence[NDArray[np.float32]]) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            return super()._embed(clips).float()


class CompiledPeer(AutocastPeer):
    """And its audio encoder through ``torch.compile``: for each size of batch it compiles anew, in
    the first warm-up."""

    engine = "transformers, torch.compile"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise ClapError(
                f"--against {candidate.kind}: torch.compile needs a C++ compiler, and there is no "
                f"{compiler}. Install g++, or name another one in CXX."
            )
        super().__init__(candidate, plan)
        dynamo: Any = torch._dynamo
        dynamo.config.recompile_limit = MOST_SHAPES
        self._model.audio_model.compile(dynamic=False)


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

    def folder(self) -> tuple[int, int, list[Row]]:
        """None: a folder takes it as long as its files."""
        return 0, 0, []


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies in it; where it is emulated, autocast is slower than FP32."""
    cpu: Any = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


def _sizes(path: Path) -> dict[str, int]:
    """Of a checkpoint's files; none for a hub id."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.name: file.stat().st_size for file in files if file.is_file()}


def _labels(dim: int, device: str) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(LABELS, dim)).to(device)
