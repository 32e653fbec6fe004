"""Awkward recordings on which a bundle is compared with its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.audio_spec import AudioSpec


@dataclass(frozen=True)
class MadeClip:
    """A recording ``[samples]`` or ``[channels, samples]`` float32, and its rate in Hz."""

    name: str
    samples: np.ndarray
    sample_rate: int


def awkward_clips(spec: AudioSpec, seed: int = 0) -> list[MadeClip]:
    """Made clips: signals, lengths, channels and rates at which implementations go wrong.

    Levels matter because power of a full-scale sine overflows half precision and silence is its
    zero; lengths because of fill rules and windows; rates because of resampling.
    """
    rng = np.random.default_rng(seed)
    rate, window = spec.sample_rate, spec.window_samples

    def scene(n: int, at: int = rate) -> np.ndarray:
        """A falling chirp with an echo of noise bursts: something with structure everywhere."""
        t = np.arange(n) / at
        sweep = np.sin(2 * np.pi * (0.2 * at * t - 0.01 * at * t**2) * np.exp(-0.1 * t))
        bursts = rng.standard_normal(n) * (np.sin(2 * np.pi * 1.7 * t) > 0.6)
        return (0.3 * sweep + 0.1 * bursts).astype(np.float32)

    one = np.arange(rate) / rate
    sine = np.sin(2 * np.pi * 440 * one).astype(np.float32)
    # Beside a tone or a large DC the other mel bins would hold nothing but each side's rounding.
    faint = 3e-3 * rng.standard_normal(rate, dtype=np.float32)
    tail = np.concatenate([scene(rate // 2), np.zeros(window - rate // 2, np.float32)])
    clips = [
        MadeClip("silence", np.zeros(rate, np.float32), rate),
        MadeClip("zero tail", tail, rate),
        MadeClip("full-scale sine", np.clip(sine + faint, -1, 1), rate),
        MadeClip("DC", 0.5 + faint, rate),
        MadeClip("clipped square", np.where(sine >= 0, 1.0, -1.0).astype(np.float32), rate),
        MadeClip("one sample", np.full(1, 0.01, np.float32), rate),
        MadeClip("0.3 s", scene(int(0.3 * rate)), rate),
        MadeClip("one window", scene(window), rate),
        MadeClip("a sample over one window", scene(window + 1), rate),
        MadeClip("3.7 windows", scene(int(3.7 * window)), rate),
        MadeClip("stereo", np.stack([scene(2 * rate), scene(2 * rate)]), rate),
    ]
    if spec.long_clips == "fusion":  # so long that its samples are gathered, and just a frame more
        clips += [
            MadeClip("9 windows", scene(9 * window + 77), rate),
            MadeClip("a frame over one window", scene(window + spec.mel.hop_length), rate),
        ]
    clips += [
        MadeClip(f"{r} Hz", scene(3 * r, r), r) for r in (8000, 16000, 22050, 44100, 48000, 96000)
    ]
    return clips


VERIFY_LABELS = (
    "dog bark", "rain", "sea waves", "crying baby", "clock tick", "person sneezing", "helicopter",
    "chainsaw", "rooster", "crackling fire", "siren", "car horn", "church bells", "engine idling",
    "violin", "speech", "footsteps on gravel", "applause", "silence",
    "two people talk while a train passes and a bird sings in the distance",
)  # fmt: skip
