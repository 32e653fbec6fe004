"""Weights made by name, in numpy alone: the same on every machine and beside every library.

A model's speed does not depend on its weights, and a loader is proven by any weights that both
sides have. Each tensor is drawn from a generator that its own name seeds, at a scale that keeps
activations of every layer near 1.
"""

from __future__ import annotations

import hashlib

import numpy as np


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a floating-point tensor of a state dict, float32."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    last = name.rsplit(".", 1)[-1]
    spectral = ".bn0." in f".{name}" or "batch_norm." in name  # decibels come in
    if last == "running_mean":
        return normal(rng, shape, -30.0 if spectral else 0.0, 5.0 if spectral else 0.1)
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
        return normal(rng, shape, 0.0, 0.5)
    if last == "bias":
        return normal(rng, shape, 0.0, 0.1)
    if len(shape) < 2:
        return normal(rng, shape, 1.0, 0.1)  # of a normalisation
    # GPT-2 keeps its matrices transposed: inputs first.
    fan_in = shape[0] if ".h." in name else int(np.prod(shape[1:]))
    gain = 2.0 if len(shape) == 4 else 1.0  # a ReLU behind a convolution halves the variance
    return normal(rng, shape, 0.0, float(np.sqrt(gain / fan_in)))


def normal(rng: np.random.Generator, shape: tuple[int, ...], mean: float, std: float) -> np.ndarray:
    """Normally distributed values, float32."""
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
