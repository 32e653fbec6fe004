"""A training step beside transformers' ClapModel, and how quickly the data loads.

    python benchmarks/training.py OUT.json [--device cuda --amp off,bf16 --batch 64]

One architecture (HTSAT-tiny and RoBERTa-base, the shape of laion/clap-htsat-unfused) with the same
generated weights in both, whose losses must agree in float32 before anything is timed. A step is
forward, symmetric cross-entropy, backward, clipping and AdamW. open_clip's releases (3.3.0) hold no
CLAP, so it cannot be a candidate. The candidates take turns of several steps: in a run one step
follows the other, and behind another model's its weights would have gone cold. Loading is measured
with nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.generated.checkpoints import clap_model  # noqa: E402 - it need not be installed
from clap_export.bench.ceilings import gpu_seconds  # noqa: E402
from clap_export.bench.gpu import Meter  # noqa: E402
from clap_export.bench.machine import machine  # noqa: E402
from clap_export.bench.timing import OwnSeconds, interleave, latency  # noqa: E402
from clap_export.checkpoints import load  # noqa: E402
from runtime import schema  # noqa: E402
from runtime.cores import usable_cores  # noqa: E402
from runtime.files import writing  # noqa: E402
from train.config.contrastive import load as read_recipe  # noqa: E402
from train.config.data import ListingConfig  # noqa: E402
from train.data.throughput import measure  # noqa: E402
from train.losses import softmax_loss  # noqa: E402
from train.machine.device import channels_last  # noqa: E402

AMP = {"off": torch.float32, "bf16": torch.bfloat16}
TOKENS = 16
SAME_LOSS = 1e-4
RATE = 48_000
ROUNDS = 3
CLIPS = 256  # of 5 s at 44.1 kHz, for the loading


class Ours:
    """This package's model, loss and steps, as its loop puts them together; waveforms in."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.model = load(folder).model.to(device)
        channels_last(self.model.audio_encoder)
        self._device = device

    def loss(self, batch: dict[str, Tensor], amp: str) -> Tensor:
        """Symmetric cross-entropy of clips and their texts."""
        with torch.no_grad():
            log_mel = self.model.mel(batch["waveforms"])
        with torch.autocast(self._device.type, AMP[amp], enabled=amp != "off"):
            audio = self.model.embed_log_mel(log_mel)
            text = self.model.embed_text(batch["input_ids"], batch["attention_mask"])
        target = torch.eye(len(audio), device=self._device)
        return softmax_loss(audio, text, self.model.scale(), target)


class Theirs:
    """transformers' ClapModel; spectrograms in, as its feature extractor makes them."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import ClapFeatureExtractor, ClapModel

        self.model = ClapModel.from_pretrained(folder).to(device)
        self._extract = ClapFeatureExtractor.from_pretrained(folder)
        self._device = device

    def features(self, waveforms: np.ndarray) -> Tensor:
        """What a data loader would have to make of them."""
        made = self._extract(list(waveforms), sampling_rate=RATE, return_tensors="pt")
        return made["input_features"]

    def loss(self, batch: dict[str, Tensor], amp: str) -> Tensor:
        """Both directions, of its logits: its own loss (5.23) takes that of the texts twice."""
        names = ("input_features", "input_ids", "attention_mask")
        with torch.autocast(self._device.type, AMP[amp], enabled=amp != "off"):
            found = self.model(**{name: batch[name] for name in names})
        both = (found.logits_per_audio, found.logits_per_text)
        right = torch.arange(len(both[0]), device=self._device)
        return sum(cross_entropy(logits.float(), right) for logits in both) / 2


def stepper(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One step of training."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()

    return step


def steps(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Times of a step in each type, and what it computes."""
    device = torch.device(given.device)
    clap_model(folder, fused=False)
    ours, theirs = Ours(folder, device), Theirs(folder, device)
    rng = np.random.default_rng(0)
    waveforms = (0.1 * rng.standard_normal((given.batch, 10 * RATE))).astype(np.float32)
    ids = rng.integers(4, 1000, (given.batch, TOKENS))
    ids[:, 0], ids[:, -1] = 0, 2  # <s> and </s>
    batch = {
        "waveforms": torch.from_numpy(waveforms), "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.ones(given.batch, TOKENS, dtype=torch.int64),
        "input_features": theirs.features(waveforms),
    }  # fmt: skip
    batch = {name: value.to(device) for name, value in batch.items()}
    with torch.no_grad():
        losses = [float(one.loss(batch, "off")) for one in (_evaluating(ours), _evaluating(theirs))]
    if abs(losses[0] - losses[1]) > SAME_LOSS:
        raise SystemExit(f"the two losses differ, so the steps do not compare: {losses}")
    ours.model.train()
    theirs.model.train()
    with FlopCounterMode(display=False) as counter:
        ours.loss(batch, "off").backward()
    flop = counter.get_total_flops()
    shape = {
        "architecture": "HTSAT-tiny, RoBERTa-base", "batch": given.batch, "window_seconds": 10,
        "tokens": TOKENS, "losses": losses, "gflop": flop / 1e9,
    }  # fmt: skip
    return [
        {**shape, "amp": amp, **timed(given, amp, (ours, theirs), batch, flop)} for amp in given.amp
    ]


def timed(
    given: argparse.Namespace, amp: str, both: tuple[Ours, Theirs], batch: dict[str, Tensor],
    flop: int,
) -> dict[str, Any]:  # fmt: skip
    """Times of a step in one type."""
    device, (ours, theirs) = torch.device(given.device), both
    waveforms = batch["waveforms"].cpu().numpy()
    candidates: dict[str, Callable[[], object]] = {
        "ours, waveforms in": stepper(ours.model, lambda: ours.loss(batch, amp)),
        "transformers, spectrograms in": stepper(theirs.model, lambda: theirs.loss(batch, amp)),
    }
    if device.type == "cuda":
        candidates = {k: _on_gpu(task) for k, task in candidates.items()}
    if amp == given.amp[0]:  # it knows no types
        candidates["transformers' feature extractor, one core"] = lambda: theirs.features(waveforms)
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, task in candidates.items():
            (times,) = interleave([task], -(-given.runs // ROUNDS), 2)
            found[name] += times
    tflops = _matmul_tflops(device, AMP[amp])
    return {
        "matmul_tflops": tflops,
        "candidates": {
            name: {
                **schema.to_plain(latency(times)),
                "samples_per_second": given.batch / float(np.median(times)),
                **({} if "extractor" in name else
                   {"matmul_share": flop / float(np.median(times)) / 1e12 / tflops}),
            }
            for name, times in found.items()
        },
    }  # fmt: skip


def loading(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Windows a second of clap-mini's recipe, of made clips, in memory and decoded when drawn."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(CLIPS):
        (folder / f"class{i % 8}").mkdir(exist_ok=True)
        sound = (0.1 * rng.standard_normal(5 * 44_100)).astype(np.float32)
        soundfile.write(folder / f"class{i % 8}" / f"{i}.flac", sound, 44_100)
    recipe = read_recipe(ROOT / "train" / "recipes" / "clap-mini.toml")
    config = replace(recipe, listings=(ListingConfig(str(folder), kind="folders"),))
    cores = usable_cores()
    return [
        schema.to_plain(one)
        for streamed in (False, True)
        for one in measure(config, cores, seconds, streamed)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--amp", default="off,bf16", type=_types, help="of off and bf16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each loading")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        found = {
            "machine": _machine(given.device),
            "loading": loading(Path(work) / "clips", given.seconds),
            "steps": steps(given, Path(work) / "checkpoint"),
        }
    with writing(given.out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _types(text: str) -> list[str]:
    """Names of types; argparse makes a sentence of what is not one."""
    names = text.split(",")
    if not set(names) <= AMP.keys():
        raise argparse.ArgumentTypeError(f"{text}: choose from {', '.join(AMP)}")
    return names


def _evaluating(one: Any) -> Any:
    one.model.eval()
    return one


def _on_gpu(task: Callable[[], object]) -> Callable[[], OwnSeconds]:
    return lambda: OwnSeconds(gpu_seconds(task))


def _matmul_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """The best rate of one large product: what a step could reach at most."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    task: Callable[[], object] = lambda: a @ b  # noqa: E731
    (times,) = interleave([_on_gpu(task) if device.type == "cuda" else task], 10, 3)
    return 2 * size**3 / min(times) / 1e12


def _machine(device: str) -> dict[str, Any]:
    meter = Meter() if device == "cuda" else None
    return schema.to_plain(machine(meter.gpu() if meter is not None else None))


if __name__ == "__main__":
    main()
