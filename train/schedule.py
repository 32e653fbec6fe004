"""Learning-rate schedule."""

from __future__ import annotations

import math


def cosine_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up from 0, then half a cosine down to 0 at ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
