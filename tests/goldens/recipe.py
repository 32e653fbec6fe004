"""What a golden's recorder and its test must agree on, in numpy alone: weights, sounds, texts.

The originals' weights are not needed to prove that a loader is right: any weights do, if both sides
have the same. Each tensor is drawn from a generator that its own name seeds, at a scale that keeps
activations of every layer near 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# (seconds, kind) of the windows are the families' own; see `sound`.
TEXTS = (
    "a dog barking",
    "this is the sound of rain on a tin roof, far away",
    "siren",
    "Somebody shouts \"fire!\" while glass breaks; then silence.",
)  # fmt: skip

# One window of LAION's, more, and so much more that the runtime gathers what it needs.
FUSED_LENGTHS = (480_000, 700_001, 4_000_000)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a floating-point tensor of a state dict, float32."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    last = name.rsplit(".", 1)[-1]
    spectral = ".bn0." in f".{name}" or "batch_norm." in name  # decibels come in
    if last == "running_mean":
        return _normal(rng, shape, -30.0 if spectral else 0.0, 5.0 if spectral else 0.1)
    if last == "running_var":
        low, high = (200.0, 400.0) if spectral else (0.5, 1.5)
        return rng.uniform(low, high, shape).astype(np.float32)
    if name.startswith("logit_scale"):
        return np.full(shape, 3.2, np.float32)
    if (
        "embeddings.weight" in name
        or last == "relative_position_bias_table"
        or name.endswith(("wte.weight", "wpe.weight"))
    ):
        return _normal(rng, shape, 0.0, 0.5)
    if last == "bias":
        return _normal(rng, shape, 0.0, 0.1)
    if len(shape) < 2:
        return _normal(rng, shape, 1.0, 0.1)  # of a normalisation
    # GPT-2 keeps its matrices transposed: inputs first.
    fan_in = shape[0] if ".h." in name else int(np.prod(shape[1:]))
    gain = 2.0 if len(shape) == 4 else 1.0  # a ReLU behind a convolution halves the variance
    return _normal(rng, shape, 0.0, float(np.sqrt(gain / fan_in)))


def _normal(
    rng: np.random.Generator, shape: tuple[int, ...], mean: float, std: float
) -> np.ndarray:
    return (mean + std * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)


def torchlibrosa(n_fft: int) -> dict[str, np.ndarray]:
    """The windowed DFT that torchlibrosa stores: ``[bins, 1, n_fft]`` float32 each."""
    n, k = np.arange(n_fft), np.arange(n_fft // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft)  # periodic Hann
    wave = np.exp(-2j * np.pi * np.outer(k, n) / n_fft) * window
    return {
        "conv_real": wave.real[:, None].astype(np.float32),
        "conv_imag": wave.imag[:, None].astype(np.float32),
    }


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
        return _normal(rng, shape, 0.0, 0.1)
    inputs = np.prod(shape[:2]) if name == "depthwise_kernel" else np.prod(shape[:-1])
    return _normal(rng, shape, 0.0, float(np.sqrt(2.0 / inputs)))
