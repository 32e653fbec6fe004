"""The type that a tower's products are taken in while it learns."""

from __future__ import annotations

import torch

AMP = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, amp: str) -> torch.autocast:
    """A context in which products are taken in a config's ``amp``, one of the keys of ``AMP``."""
    return torch.autocast(device.type, AMP[amp], enabled=amp != "off")
