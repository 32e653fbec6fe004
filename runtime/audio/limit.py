"""The longest recording that a caller wants to hear."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.arguments import real, shown
from runtime.errors import AudioError, ClapError


class TooLong(AudioError):
    """A recording lasts longer than the caller allowed: none of it is used."""


@dataclass(frozen=True)
class Limit:
    """A length that a recording may not exceed.

    Attributes:
        name: of the recording, for sentences.
        seconds: allowed; infinity for any length.
    """

    name: str
    seconds: float

    def check(self, frames: float, rate: int, *, so_far: bool = False) -> None:
        """Look at a number of frames: all, or those that were decoded so far.

        Raises:
            TooLong: they are more than allowed.
        """
        if frames > self.seconds * rate:
            found = "longer" if so_far else f"{frames / rate:.0f} s, more"
            raise TooLong(
                f"{self.name} lasts {found} than the {self.seconds:g} s allowed. "
                "Cut it into shorter pieces, or raise `max_seconds`."
            )


def check_max_seconds(max_seconds: object) -> float:
    """A limit on the length of recordings, in seconds; infinity is none.

    Raises:
        ClapError: it is no positive number.
    """
    value = real(max_seconds)
    if value is None or not value > 0:
        raise ClapError(
            f"max_seconds={shown(max_seconds)}: pass a positive number of seconds, or infinity."
        )
    return value
