"""How the original packages bring a recording to a model's rate, so that vectors match theirs."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.audio.faithful.librosa import LibrosaResampler
from runtime.audio.faithful.torchaudio import TorchaudioResampler
from runtime.audio.rates import Resampler

Kind: TypeAlias = Literal["soxr", "torchaudio", "librosa"]
Channels: TypeAlias = Literal["mean", "strung"]


class Resampling(Protocol):
    """Changes the sample rate of blocks that follow each other."""

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after another block float32 ``[n]``."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """What was held back."""
        ...


def resampler(kind: Kind, rate: int, target: int) -> Resampling:
    """From one sample rate to another, in blocks.

    Args:
        kind: ``soxr`` is ours; ``torchaudio`` and ``librosa`` are what the originals use.
        rate: of the blocks, in Hz.
        target: wanted, in Hz. When the rates are equal, all of them change nothing.

    Raises:
        AudioError: soxr is wanted, and not installed.
    """
    if rate == target or kind == "soxr":
        return Resampler(rate, target)
    made = {"torchaudio": TorchaudioResampler, "librosa": LibrosaResampler}[kind]
    return made(rate, target)
