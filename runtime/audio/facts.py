"""What was found out about a recording on the way to its samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """A recording as it came, before it was mixed down and brought to another rate.

    Attributes:
        rate: in Hz.
        channels: of it.
        seconds: that it lasts: as decoded or, where its end was of no interest, as its header
            states; None where neither is known.
    """

    rate: int
    channels: int
    seconds: float | None
