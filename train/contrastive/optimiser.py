"""What learns, how fast, and in which tower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from clap_export.model.clap import ClapModel
from train.config.contrastive import LoopConfig
from train.contrastive.lora import freeze_beside_adapters

Tower = Literal["audio", "text"]
TOWERS: tuple[Tower, ...] = ("audio", "text")
OTHERS = "others"  # projections and temperatures


def build(
    model: ClapModel, others: Iterable[nn.Parameter], loop: LoopConfig
) -> torch.optim.Optimizer:
    """Adam or AdamW with a group for each tower and the rest, and in each for what decays.

    Matrices decay; biases, norms and temperatures do not. Every group has its ``peak`` rate, and
    the ``tower`` whose rate it is.

    Args:
        model: parameters named ``audio_encoder.*`` and ``text_encoder.*`` have their towers' rates.
        others: parameters beside the model's.
        loop: rates, decay, betas and eps.
    """
    named = [*model.named_parameters(), *(("", parameter) for parameter in others)]
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        tower = name.partition("_encoder.")[0] if "_encoder." in name else OTHERS
        groups.setdefault((tower, parameter.ndim > 1), []).append(parameter)
    peaks = {tower: loop.peak(tower) for tower in TOWERS}
    kind = torch.optim.AdamW if loop.optimiser == "adamw" else torch.optim.Adam
    made: list[dict[str, Any]] = [
        {
            "params": parameters,
            "tower": tower,
            "peak": peaks.get(tower, loop.learning_rate),
            "weight_decay": loop.weight_decay if matrix else 0.0,
        }
        for (tower, matrix), parameters in groups.items()
    ]
    # Fused passes over the weights once: 92 M parameters in 0.13 s instead of 0.28 on two cores.
    return kind(made, loop.learning_rate, (loop.betas[0], loop.betas[1]), loop.eps, fused=True)


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Every group's peak times a factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def rates(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """The rate of each tower and of the rest, as it is now."""
    return {group["tower"]: group["lr"] for group in optimiser.param_groups}


def set_learning(model: ClapModel, epoch: int, loop: LoopConfig) -> None:
    """Training mode for what learns in this epoch; what is frozen is as in evaluation."""
    model.train()
    for tower, encoder in zip(TOWERS, (model.audio_encoder, model.text_encoder), strict=True):
        learns = epoch >= loop.starts(tower)
        encoder.requires_grad_(learns).train(learns)
        freeze_beside_adapters(encoder)
    if loop.freeze_statistics:
        for norm in _norms(model):
            norm.eval()


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Let a forward pass that is made twice move BatchNorm's running statistics only once."""
    norms = [norm for norm in _norms(model) if norm.training and norm.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]
