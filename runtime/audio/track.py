"""One part of a file as a decoder gives it: frames of all channels, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.audio.levels import MAX_CHANNELS
from runtime.errors import AudioError

BLOCK = 1 << 16  # values that are decoded at once, of all channels together
# Decoders differ by a frame or two of their own at the ends; a file that was cut misses more.
MISSING_SECONDS = 0.2


UNSUPPORTED = (
    "it is corrupt, truncated or of an unsupported format. Check the file, or convert it to WAV or "
    "FLAC."
)


class Undecodable(Exception):
    """A decoder can make nothing of a part.

    Args:
        reason: why, a clause.
        remedy: what that means for the file, and what to do.
    """

    def __init__(self, reason: str, remedy: str = UNSUPPORTED) -> None:
        super().__init__(reason)
        self.remedy = remedy


class Track(Protocol):
    """A part that is being decoded.

    Attributes:
        rate: in Hz; 0 until the first block, which may be empty.
        stated: frames that it should have, by its header; None where that is not known.
        integers: the blocks were integers, whose values need no look.
        trouble: why the blocks are not all of it, a clause; known when they are exhausted.
    """

    rate: int
    stated: int | None
    integers: bool
    trouble: str | None

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """float32 ``[frames, channels]``, in order; only what is asked for is decoded.

        Raises:
            Undecodable: nothing can be made of it.
            AudioError: it is decoded, but no recording that is taken.
        """
        ...


def check_channels(channels: int, name: str) -> int:
    """The number of channels of a file.

    Raises:
        AudioError: there are more than are taken.
    """
    if channels > MAX_CHANNELS:
        raise AudioError(
            f"{name} has {channels} channels; at most {MAX_CHANNELS} are taken. "
            "Mix it down, or pass the channels that are wanted as an array."
        )
    return channels


def shortfall(frames: int, stated: int | None, rate: int) -> str | None:
    """What is said of fewer frames than were stated."""
    if stated is None or frames + MISSING_SECONDS * rate >= stated:
        return None
    return f"it states {stated / rate:.1f} s, and {frames / rate:.1f} s could be decoded"
