"""Low-rank adapters of PEFT in the towers, and models with the adapters worked into their weights.

Source: Hu et al. 2021, "LoRA" (arXiv 2106.09685): a frozen matrix W becomes W + (alpha / rank) B A,
where A and B have ``rank`` rows and columns and alone learn.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config.contrastive import LoraConfig
from train.machine.random_streams import seed_torch

ADAPTER = "lora_"  # in the name of every parameter of one


def inject(model: ClapModel, config: LoraConfig, seed: int) -> None:
    """Put adapters beside every matrix and every ungrouped convolution of the towers.

    At first they add nothing: B is zero.

    Raises:
        ClapError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig as Options
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise ClapError("[lora] needs PEFT: pip install 'clap-export[lora]'.") from error
    seed_torch(seed, "lora")
    for tower in config.towers:
        encoder = getattr(model, f"{tower}_encoder")
        found = {name: m for name, m in encoder.named_modules() if _adaptable(m)}
        options = Options(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,
            target_modules=list(found), fan_in_fan_out=any(map(_transposed, found.values())),
        )  # fmt: skip
        inject_adapter_in_model(options, encoder)


def freeze_beside_adapters(encoder: nn.Module) -> None:
    """In a tower with adapters, nothing else learns; another one is left as it is."""
    named = list(encoder.named_parameters())
    if any(ADAPTER in name for name, _ in named):
        for name, parameter in named:
            if ADAPTER not in name:
                parameter.requires_grad_(False)


def merged(model: ClapModel) -> ClapModel:
    """The model itself, or one without adapters that gives the same embeddings."""
    if not any(ADAPTER in name for name, _ in model.named_parameters()):
        return model
    plain = copy.deepcopy(model)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "get_base_layer"):
                layer: Any = child  # PEFT's, which is imported only where it is used
                layer.merge()
                setattr(parent, name, layer.get_base_layer())
    return plain


def _adaptable(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear) or _transposed(module)


def _transposed(module: nn.Module) -> bool:
    """A matrix of GPT-2."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)
