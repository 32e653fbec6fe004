"""A training step of one model, in a process of its own: see benchmarks/training.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from clap_export.bench.ceilings import gpu_seconds
from clap_export.bench.timing import OwnSeconds, interleave
from clap_export.checkpoints import load
from train.losses import softmax_loss
from train.machine.device import channels_last
from train.machine.heap import keep_freed_memory

Kind = Literal["ours", "transformers"]
AMP = {"off": torch.float32, "bf16": torch.bfloat16}
TOKENS = 16
RATE = 48_000


class Ours:
    """This package's model, loss and steps, as its loop puts them together; waveforms in."""

    def __init__(self, folder: Path, waveforms: np.ndarray, device: torch.device) -> None:
        self.model = load(folder).model.to(device)
        channels_last(self.model.audio_encoder)
        self._waveforms = torch.from_numpy(waveforms).to(device)

    def loss(self, ids: Tensor, amp: str) -> Tensor:
        """Symmetric cross-entropy of clips and their texts."""
        device = self._waveforms.device
        with torch.no_grad():
            log_mel = self.model.mel(self._waveforms)
        with torch.autocast(device.type, AMP[amp], enabled=amp != "off"):
            audio = self.model.embed_log_mel(log_mel)
            text = self.model.embed_text(ids, torch.ones_like(ids))
        target = torch.eye(len(audio), device=device)
        return softmax_loss(audio, text, self.model.scale(), target)


class Theirs:
    """transformers' ClapModel; spectrograms in, as its feature extractor makes them."""

    def __init__(self, folder: Path, waveforms: np.ndarray, device: torch.device) -> None:
        from transformers import ClapFeatureExtractor, ClapModel

        self.model = ClapModel.from_pretrained(folder).to(device)
        self._extract = ClapFeatureExtractor.from_pretrained(folder)
        self._clips = list(waveforms)
        self._features = self.features().to(device)

    def features(self) -> Tensor:
        """What a data loader would have to make of the waveforms."""
        made = self._extract(self._clips, sampling_rate=RATE, return_tensors="pt")
        return made["input_features"]

    def loss(self, ids: Tensor, amp: str) -> Tensor:
        """Both directions, of its logits: its own loss (5.23) takes that of the texts twice."""
        device = self._features.device
        with torch.autocast(device.type, AMP[amp], enabled=amp != "off"):
            found = self.model(
                input_features=self._features, input_ids=ids, attention_mask=torch.ones_like(ids)
            )
        both = (found.logits_per_audio, found.logits_per_text)
        right = torch.arange(len(both[0]), device=device)
        return sum(cross_entropy(logits.float(), right) for logits in both) / 2


class Step:
    """What :class:`clap_export.bench.process.Process` is asked for.

    Args:
        kind: whose model.
        folder: of its checkpoint, as transformers has it.
        batch: clips of 10 s; all models are given the same ones and the same texts.
        device: ``cpu`` or ``cuda``.
        kept: freed memory is kept, as ``python -m train`` does.
    """

    def __init__(self, kind: Kind, folder: Path, batch: int, device: str, kept: bool) -> None:
        if kept and not keep_freed_memory():
            raise RuntimeError("this C library cannot be told to keep memory")
        self._device = torch.device(device)
        rng = np.random.default_rng(0)
        waveforms = (0.1 * rng.standard_normal((batch, 10 * RATE))).astype(np.float32)
        ids = rng.integers(4, 1000, (batch, TOKENS))
        ids[:, 0], ids[:, -1] = 0, 2  # <s> and </s>
        self._ids = torch.from_numpy(ids).to(self._device)
        self._one: Any = {"ours": Ours, "transformers": Theirs}[kind](
            folder, waveforms, self._device
        )

    def loss(self) -> float:
        """Of the batch, in float32 and without dropout."""
        self._one.model.eval()
        with torch.no_grad():
            return float(self._one.loss(self._ids, "off"))

    def flop(self) -> int:
        """Operations of a step's products, forward and backward."""
        self._one.model.train()
        with FlopCounterMode(display=False) as counter:
            self._one.loss(self._ids, "off").backward()
        return counter.get_total_flops()

    def begin(self, amp: str) -> None:
        """Prepare steps in a type, with a fresh optimiser."""
        model = self._one.model.train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

        def step() -> None:
            optimiser.zero_grad()
            self._one.loss(self._ids, amp).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()

        self._step: Callable[[], object] = self._timed(step)

    def steps(self, runs: int, warmups: int) -> list[float]:
        """Seconds of each."""
        (times,) = interleave([self._step], runs, warmups)
        return times

    def features(self, runs: int) -> list[float]:
        """Seconds that transformers' feature extractor takes for the batch."""
        (times,) = interleave([self._one.features], runs, 1)
        return times

    def matmul_tflops(self, amp: str) -> float:
        """The best rate of one large product: what a step could reach at most."""
        size = 2048 if self._device.type == "cpu" else 8192
        a, b = (torch.randn(size, size, device=self._device, dtype=AMP[amp]) for _ in range(2))
        (times,) = interleave([self._timed(lambda: a @ b)], 10, 3)
        return 2 * size**3 / min(times) / 1e12

    def _timed(self, task: Callable[[], object]) -> Callable[[], object]:
        if self._device.type == "cpu":
            return task
        return lambda: OwnSeconds(gpu_seconds(task))
