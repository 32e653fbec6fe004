"""The contrastive run: one loop, top to bottom."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from clap_export.checkpoints import native
from clap_export.model.clap import ClapModel, normalise
from train.augment import MelAugment, mix, mixstyle
from train.captions import CaptionBank
from train.clips import ClipStore
from train.config import TrainConfig
from train.evaluate import Task
from train.losses import contrastive_loss
from train.progress import track
from train.schedule import cosine_factor
from train.texts import encode

log = logging.getLogger(__name__)

LAST = "last.pt"
METRICS = "metrics.jsonl"


def train(
    model: ClapModel, tokenizer: Tokenizer, store: ClipStore, tasks: list[Task],
    config: TrainConfig, device: torch.device,
) -> ClapModel:  # fmt: skip
    """Train ``model`` on ``store``; returns the model that was averaged (EMA) or the last one.

    Each epoch seeds its own generators from (seed, epoch), so that a run resumed after any epoch
    continues with the same numbers as one that was never stopped.
    """
    loop = config.loop
    model.to(device)
    # Measured 1.45 times quicker for convolutions, on the CPU as well.
    model.audio_encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(_groups(model, config), lr=loop.learning_rate)
    average = AveragedModel(model, multi_avg_fn=_warm_ema(loop.ema), use_buffers=True)
    augment = MelAugment(config.augment)
    bank = CaptionBank(store.clips, config.templates)
    label_of = np.array([bank.index[clip.label] for clip in store.clips])
    first = _resume(config.folder / LAST, model, average, optimiser, device)
    total = loop.epochs * loop.steps_per_epoch
    warmup = int(loop.warmup_epochs * loop.steps_per_epoch)
    for epoch in range(first, loop.epochs):
        began = time.monotonic()
        rng = np.random.default_rng((config.seed, epoch))
        torch.manual_seed(int(rng.integers(2**62)))
        train_text = epoch >= loop.text_from_epoch
        if train_text or bank.states is None:
            bank.refresh(model, tokenizer, device)
        model.train()
        if not train_text:
            model.text_encoder.eval()
        losses: list[float] = []
        for step in track(range(loop.steps_per_epoch), f"epoch {epoch + 1}/{loop.epochs}"):
            factor = cosine_factor(epoch * loop.steps_per_epoch + step, total, warmup)
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * factor
            drawn = store.draw(rng, loop.batch_size)
            windows = np.stack([store.window(i, rng, config.augment) for i in drawn])
            chosen, target = _candidates(label_of[drawn], bank, loop.text_negatives, rng)
            n_positive = len(set(label_of[drawn]))
            waveforms, target = mix(
                torch.from_numpy(windows).to(device), target.to(device), config.augment.mix, rng
            )
            with torch.no_grad():
                log_mel = model.mel(waveforms)
                if rng.random() < config.augment.mixstyle:
                    log_mel = mixstyle(log_mel, rng)
                log_mel = augment(log_mel)
            with torch.autocast(device.type, torch.bfloat16, enabled=loop.amp):
                audio = model.embed_log_mel(log_mel)
                states = _states(model, tokenizer, bank, chosen, n_positive, train_text, device)
                text = normalise(model.text_projection(states))
            loss = contrastive_loss(audio, text, model.scale(), target)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            average.update_parameters(model)
            losses.append(loss.item())
        record: dict[str, Any] = {
            "epoch": epoch + 1, "loss": float(np.mean(losses)), "scale": model.scale().item(),
            "lr": optimiser.param_groups[0]["lr"], "seconds": time.monotonic() - began,
        }  # fmt: skip
        if (epoch + 1) % loop.validate_every == 0 or epoch + 1 == loop.epochs:
            candidate = _averaged(model, average, loop.ema)
            record |= {task.name: task.run(candidate, tokenizer, device).accuracy for task in tasks}
        _save(config.folder, record, model, average, optimiser)
        native.save(
            config.folder / "model.safetensors",
            _averaged(model, average, loop.ema),
            tokenizer.to_str(),
        )
        log.info(" ".join(f"{k} {v:.4g}" for k, v in record.items()))
    return _averaged(model, average, loop.ema)


def _groups(model: ClapModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Decay for matrices only; the text tower has its own peak rate."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        key = (name.startswith("text_encoder."), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    loop = config.loop
    return [
        {
            "params": parameters,
            "peak": loop.text_learning_rate if text else loop.learning_rate,
            "weight_decay": loop.weight_decay if matrix else 0.0,
        }
        for (text, matrix), parameters in groups.items()
    ]


def _candidates(
    labels: np.ndarray, bank: CaptionBank, negatives: int, rng: np.random.Generator
) -> tuple[list[int], Tensor]:
    """One text for each label of the batch, then texts of other labels; and who fits whom.

    Returns:
        Text indices, those of the batch first, and ``[clips, texts]`` one-hot targets.
    """
    present, position = np.unique(labels, return_inverse=True)
    others = np.setdiff1d(np.arange(len(bank.labels)), present)
    others = rng.permutation(others)[:negatives]
    chosen = [bank.draw(int(label), rng) for label in (*present, *others)]
    target = torch.zeros(len(labels), len(chosen))
    target[torch.arange(len(labels)), torch.from_numpy(position)] = 1.0
    return chosen, target


def _states(
    model: ClapModel, tokenizer: Tokenizer, bank: CaptionBank, chosen: list[int],
    n_positive: int, train_text: bool, device: torch.device,
) -> Tensor:  # fmt: skip
    """Text states: from the cache, and computed anew with gradients for the batch's own texts."""
    assert bank.states is not None  # refreshed before the first step
    if not train_text:
        return bank.states[chosen]
    texts = [bank.texts[i] for i in chosen[:n_positive]]
    batch = encode(tokenizer, texts, model.config.text_encoder)
    fresh = model.text_encoder(**{name: t.to(device) for name, t in batch.items()})
    return torch.cat([fresh.float(), bank.states[chosen[n_positive:]]])


def _warm_ema(decay: float) -> Callable[[Any, Any, Any], None]:
    """An average whose memory grows with the run, so that it is of use in the first epochs too."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, count)

    return update


def _averaged(model: ClapModel, average: AveragedModel, decay: float) -> ClapModel:
    chosen = average.module if decay > 0 else model
    assert isinstance(chosen, ClapModel)
    return chosen.eval()


def _resume(
    path: Path, model: ClapModel, average: AveragedModel, optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> int:  # fmt: skip
    """Load the last state if there is one; returns the epoch to go on with."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    log.info("resumed after epoch %d", state["epoch"])
    return state["epoch"]


def _save(
    folder: Path, record: dict[str, Any], model: ClapModel, average: AveragedModel,
    optimiser: torch.optim.Optimizer,
) -> None:  # fmt: skip
    """Append the metrics and replace the resumable state, in one rename."""
    part = folder / f"{LAST}.part"
    torch.save(
        {
            "epoch": record["epoch"], "model": model.state_dict(),
            "average": average.state_dict(), "optimiser": optimiser.state_dict(),
        },
        part,
    )  # fmt: skip
    part.replace(folder / LAST)
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
