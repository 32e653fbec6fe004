"""What a golden's recorder and its test must agree on, in numpy alone: weights, sounds, texts.

The originals' weights are not needed to prove that a loader is right: any weights do, if both sides
have the same. :mod:`benchmarks.generated.weights` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.generated.weights import normal, torchlibrosa, weight

__all__ = ["FUSED_LENGTHS", "TEXTS", "clips", "sound", "torchlibrosa", "weight", "yamnet"]

# (seconds, kind) of the windows are the families' own; see `sound`.
TEXTS = (
    "a dog barking",
    "this is the sound of rain on a tin roof, far away",
    "siren",
    "Somebody shouts \"fire!\" while glass breaks; then silence.",
)  # fmt: skip

# One window of LAION's, more, and so much more that the runtime gathers what it needs.
FUSED_LENGTHS = (480_000, 700_001, 4_000_000)


def sound(samples: int, sample_rate: int) -> np.ndarray:
    """Three clips ``[3, samples]`` float32: a siren, bursts of noise, clicks with a hum."""
    t = np.arange(samples) / sample_rate
    rng = np.random.default_rng(2206)
    siren = 0.5 * np.sin(2 * np.pi * (900 * t + 60 * np.sin(2 * np.pi * 0.7 * t)))
    bursts = 0.3 * rng.standard_normal(samples) * (np.sin(2 * np.pi * 1.3 * t) > 0)
    clicks = np.exp(-((t % 0.31) * 400)) + 0.05 * np.sin(2 * np.pi * 50 * t)
    clips = np.stack([siren, bursts, 0.6 * clicks]) + 1e-4 * rng.standard_normal((3, samples))
    return np.clip(clips, -1, 1).astype(np.float32)


def clips(lengths: Sequence[int], sample_rate: int) -> list[np.ndarray]:
    """The three clips of :func:`sound`, each of its own length."""
    return [sound(n, sample_rate)[i] for i, n in enumerate(lengths)]


def yamnet(layer: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A variable of a YAMNet as Keras holds it, float32; layers are those that have weights."""
    rng = np.random.default_rng((521, layer, sum(name.encode())))
    if name == "moving_variance":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name in ("beta", "moving_mean", "bias"):
        return normal(rng, shape, 0.0, 0.1)
    inputs = np.prod(shape[:2]) if name == "depthwise_kernel" else np.prod(shape[:-1])
    return normal(rng, shape, 0.0, float(np.sqrt(2.0 / inputs)))
