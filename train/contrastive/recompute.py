"""Less memory for more work: blocks that run again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clap_export.model.clap import ClapModel
from clap_export.model.cnn14 import ConvBlock
from clap_export.model.compact import Compact
from clap_export.model.swin import SwinBlock
from runtime.errors import ClapError
from train.contrastive.optimiser import statistics_kept


def recompute(model: ClapModel) -> None:
    """Keep no activations inside CNN14's and HTSAT's blocks, a timm backbone's, and the text's.

    Dropout draws the same numbers again, and BatchNorm's statistics move once. The change stays
    with this object: it is not in the weights, and a copy made before does not have it.

    Raises:
        ClapError: a timm backbone that is not made of ``blocks``.
    """
    for block in _blocks(model.audio_encoder):
        block.forward = _again(block)  # pyright: ignore[reportAttributeAccessIssue]
    text = model.text_encoder.transformer
    # Renamed in the course of transformers 5.
    older = text.gradient_checkpointing_enable
    getattr(text, "activation_checkpointing_enable", older)({"use_reentrant": False})


def _blocks(encoder: nn.Module) -> list[nn.Module]:
    if not isinstance(encoder, Compact):
        return [m for m in encoder.modules() if isinstance(m, ConvBlock | SwinBlock)]
    blocks = getattr(encoder.backbone, "blocks", None)
    if not isinstance(blocks, nn.Sequential):
        raise ClapError(
            f"loop.recompute: {type(encoder.backbone).__name__} of timm has no blocks to run again."
        )
    return list(blocks)


def _again(block: nn.Module) -> Callable[[Tensor], Tensor]:
    forward = block.forward

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), statistics_kept(block)

    def run(x: Tensor) -> Tensor:
        if not block.training:  # a frozen or an evaluated block has nothing to keep
            return forward(x)
        found: Any = checkpoint(forward, x, use_reentrant=False, context_fn=contexts)
        return found

    return run
