"""What people run without us, on the same weights: transformers and nothing else.

Labels are embedded once, but by its pipeline, which does that for every recording. Files are
decoded and resampled as the runtime does it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clap_export.bench.candidate import Candidate, Plan
from clap_export.bench.peers.peer import MOST_SHAPES, TOP_K, Peer, labels, sizes
from clap_export.bench.report import Model
from clap_export.bench.rows import Row, batch_rows, loading_rows
from runtime import audio
from runtime.errors import ClapError

NAMES = {torch.float32: "fp32", torch.float16: "fp16"}


class TransformersPeer(Peer):
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
        self._labels = labels(dim, self.device).to(self.dtype)
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
            file_bytes=sizes(candidate.path),
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
        return self.in_batches(self._load, self._top, self._embed)

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
