"""Signs that a checkpoint is not what its owner believes: named findings, kept in the manifest.

None of them stops an export: a model may be meant to be so. Weights that are not finite are no
finding but an error, at loading.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from clap_export.model.clap import LOGIT_SCALE_INIT, LOGIT_SCALE_MAX, ClapModel
from runtime.manifest import Finding, TextSpec
from runtime.tokenizer import TextTokenizer

COLLAPSED = 0.99  # mean cosine of unlike texts; about 0.999 was seen in published checkpoints
UNLIKE = (
    "a dog barking", "heavy rain", "an electric guitar solo", "a man speaking", "glass breaking",
    "a jet engine", "church bells ringing", "a baby crying",
)  # fmt: skip


def examine(model: ClapModel, spec: TextSpec, tokenizer: Path) -> tuple[Finding, ...]:
    """Everything found, in a fixed order.

    Args:
        model: in evaluation mode.
        spec: how the runtime prepares texts.
        tokenizer: the ``tokenizers`` JSON.
    """
    return (*_logit_scale(model), *_batch_norms(model), *_collapse(model, spec, tokenizer))


def _logit_scale(model: ClapModel) -> Iterator[Finding]:
    log_scale = model.logit_scale.item()
    if abs(log_scale - LOGIT_SCALE_INIT) < 1e-6:
        yield Finding(
            "untrained-logit-scale",
            f"the logit scale is {model.scale().item():.2f}, its value before training: softmax "
            "scores may be flatter than they should be",
        )
    if log_scale > LOGIT_SCALE_MAX + 1e-6:
        yield Finding(
            "clipped-logit-scale",
            f"the checkpoint's log scale {log_scale:.3f} stands for more than 100, the most that "
            "CLAP allows; the bundle uses 100",
        )


def _batch_norms(model: ClapModel) -> Iterator[Finding]:
    fresh = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        and module.running_mean is not None
        and module.running_var is not None
        and bool((module.running_mean == 0).all() and (module.running_var == 1).all())
    ]
    if fresh:
        yield Finding(
            "batch-norm-never-updated",
            f"the statistics of {', '.join(fresh[:5])}{' …' if len(fresh) > 5 else ''} are those "
            "of a new layer: the encoder was not trained, or was saved without its buffers",
        )


@torch.no_grad()
def _collapse(model: ClapModel, spec: TextSpec, tokenizer: Path) -> Iterator[Finding]:
    inputs = TextTokenizer(tokenizer, spec)(UNLIKE)
    found = model.embed_text(**{name: torch.from_numpy(a) for name, a in inputs.items()})
    pairs = torch.triu_indices(len(UNLIKE), len(UNLIKE), 1)
    mean = float((found @ found.T)[pairs[0], pairs[1]].mean())
    if mean > COLLAPSED:
        yield Finding(
            "text-embeddings-collapsed",
            f"unlike texts have a mean cosine of {mean:.4f}: this text encoder tells labels apart "
            "by very little",
        )
