"""How both sides are timed: in one environment or the other, so it imports numpy alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

LABELS = [f"this is the sound of thing number {i}" for i in range(50)]


def timed(call: Callable[[], Any], runs: int = 5) -> tuple[Any, float]:
    """What a call gives, and the median of its seconds after one warm-up."""
    found, seconds = call(), []
    for _ in range(runs):
        began = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - began)
    return found, float(np.median(seconds))
