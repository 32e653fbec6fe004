"""The gradient of a large batch from parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from train.contrastive.optimiser import statistics_kept

# Encodes one part to ``[rows, dim]``; called again it gives the same numbers.
Encode = Callable[[], Tensor]


def backward(
    model: nn.Module,
    towers: Sequence[Sequence[Encode]],
    loss_of: Callable[..., Tensor],
    scaled: Callable[[Tensor], Tensor],
) -> Tensor:
    """Add the gradients of a contrastive loss, in which every row meets every other one.

    Summing the losses of parts would be another loss, with fewer negatives. Instead (Gao et al.
    2021, "GradCache", arXiv 2101.06983) all parts are encoded without gradients, the loss of all
    embeddings gives each embedding's gradient, and then every part is encoded once more to take
    its share of them to the weights. The result is that of one part, but for rounding and for
    BatchNorm, which in training normalises by the part.

    Args:
        model: whose BatchNorms would otherwise count every part twice.
        towers: for each tower the parts that make up its rows.
        loss_of: takes each tower's embeddings, ``[rows, dim]``.
        scaled: what of the loss to take gradients of.

    Returns:
        The loss, detached.
    """
    if all(len(parts) == 1 for parts in towers):
        loss = loss_of(*(encode() for (encode,) in towers))
        scaled(loss).backward()
        return loss.detach()
    with torch.no_grad(), statistics_kept(model):
        found = [torch.cat([encode() for encode in parts]) for parts in towers]
    for embeddings in found:
        embeddings.requires_grad_()
    loss = loss_of(*found)
    scaled(loss).backward()
    for parts, embeddings in zip(towers, found, strict=True):
        assert embeddings.grad is not None  # every embedding is in the loss
        start = 0
        for encode in parts:
            part = encode()
            part.backward(embeddings.grad[start : start + len(part)])
            start += len(part)
    return loss.detach()
