"""One of several processes that compute a loss together; started by test_train_distributed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from train.losses import sigmoid_loss, softmax_loss
from train.machine.distributed import Ranks, processes

CLIPS, TEXTS, DIM = 6, 5, 4


def gradients(ranks: Ranks, loss: str) -> dict[str, torch.Tensor]:
    """Loss and mean gradients of two linear towers, on this process' rows of one batch.

    The texts do not divide evenly, two clips share one, and one clip has two.
    """
    torch.manual_seed(3)
    towers = torch.nn.ModuleDict({
        "audio": torch.nn.Linear(7, DIM), "text": torch.nn.Linear(3, DIM),
        "unused": torch.nn.Linear(2, 2),
    })  # fmt: skip
    scale, bias = torch.nn.Parameter(torch.tensor(5.0)), torch.nn.Parameter(torch.tensor(-3.0))
    clips, texts = torch.randn(CLIPS, 7), torch.randn(TEXTS, 3)
    target = torch.zeros(CLIPS, TEXTS)
    target[torch.arange(CLIPS), torch.tensor([0, 0, 1, 2, 3, 3])] = 1.0
    target[2] = torch.tensor([0, 0.5, 0, 0, 0.5])
    audio = ranks.join(_unit(towers["audio"](ranks.own(clips))), CLIPS)
    text = ranks.join(_unit(towers["text"](texts[ranks.places(TEXTS)])), TEXTS)
    if loss == "softmax":
        share = softmax_loss(audio, text, scale, target, ranks) + 0 * bias
    else:
        share = sigmoid_loss(audio, text, scale, bias, target, ranks)
    share.backward()
    named = {**dict(towers.named_parameters()), "scale": scale, "bias": bias}
    ranks.mean_gradients(named.values())
    found = {n: p.grad for n, p in named.items() if p.grad is not None}
    return {**found, "loss": ranks.mean(share)}


def _unit(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with processes(torch.device("cpu")) as here:
        result = {loss: gradients(here, loss) for loss in ("softmax", "sigmoid")}
        torch.save(result, Path(sys.argv[1]) / f"{here.rank}.pt")
