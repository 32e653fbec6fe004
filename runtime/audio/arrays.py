"""Samples as recordings: whole arrays, and chunks that come one after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio import sources
from runtime.audio.levels import MAX_CHANNELS, Levels, unit_scale
from runtime.audio.limit import Limit
from runtime.audio.rates import check_rate
from runtime.errors import AudioError

if TYPE_CHECKING:
    from typing import TypeAlias

    from runtime.audio.faithful.strung import LaterChannels
    from runtime.audio.sources import File

    Samples: TypeAlias = NDArray[np.float32]
    Source: TypeAlias = "File | NDArray[Any] | Recording | Chunks"


@dataclass(frozen=True, eq=False)
class Recording:
    """Samples in memory: a source.

    Attributes:
        samples: float32 ``[n]``, mono.
        rate: in Hz.
        warning: a sentence that says what is wrong with the file, of which only a part could be
            read; or None.
    """

    samples: NDArray[np.float32]
    rate: int
    warning: str | None = None


@dataclass(frozen=True, eq=False)
class Chunks:
    """Samples that come bit by bit, of which nobody knows how many: a source.

    Attributes:
        chunks: arrays ``(samples,)`` or ``(channels, samples)``, of any sizes and one number of
            channels; read once, and only as far as it is needed. Types as of a whole array.
        rate: of the samples, in Hz.
    """

    chunks: Iterable[NDArray[Any]]
    rate: int


class ArrayBlocks:
    """A whole array, or chunks, as a decoder gives a file.

    Args:
        source: the array, or chunks.
        sample_rate: of an array, in Hz.
        limit: on its length.
        later: where all channels but the first go; default into the mean.

    Attributes:
        rate: in Hz.
        channels: of it; 0 until the first block.
        stated: None: an array states nothing.
        warnings: none.

    Raises:
        AudioError: the array cannot be used.
    """

    def __init__(
        self,
        source: NDArray[Any] | Chunks,
        sample_rate: int | None,
        limit: Limit,
        later: LaterChannels | None = None,
    ) -> None:
        self.warnings: list[str] = []
        self.channels = 0
        self.stated: float | None = None
        self._limit, self._later = limit, later
        self._all = not isinstance(source, Chunks)
        if isinstance(source, Chunks):
            self.rate = check_rate(source.rate)
            self._chunks, self._name = iter(source.chunks), "stream"
            return
        self._chunks, self._name = iter((source,)), sources.name(source)
        if sample_rate is None:
            raise AudioError(
                f"the {self._name} came without its sample rate: pass sample_rate (in Hz)."
            )
        self.rate = check_rate(sample_rate)

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """Mono float32 ``[n]``, in order.

        Raises:
            AudioError: an array that is no recording, or does not go on as the ones before it.
        """
        name = f"the {self._name}"
        levels = Levels(name, self._later)
        count = wanted = 0
        for array in self._chunks:
            channels = _channels(array, self._name)
            if not channels.size:
                continue
            wanted = self.channels = wanted or len(channels)
            if len(channels) != wanted:
                raise AudioError(
                    f"{name} has {len(channels)} channels after {count / self.rate:.1f} s, and had "
                    f"{wanted} before: give chunks of one shape."
                )
            count += channels.shape[1]
            self._limit.check(count, self.rate, so_far=not self._all)
            yield levels.mono(unit_scale(channels, self._name))
        levels.check()


def _channels(array: object, name: str) -> NDArray[Any]:
    """A view ``[channels, samples]`` of an array, with numbers as this machine has them."""
    if not isinstance(array, np.ndarray):
        raise AudioError(f"the {name} brought {type(array).__name__}: give numpy arrays.")
    given = cast("NDArray[Any]", array)
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise AudioError(f"the {name} has masked samples: fill or cut them out first.")
    plain: NDArray[Any] = np.asarray(given)  # np.matrix and others have rules of their own
    if plain.ndim not in (1, 2):
        raise AudioError(f"the {name} is no recording: pass (samples,) or (channels, samples).")
    channels = plain if plain.ndim == 2 else plain[np.newaxis]
    if plain.size and len(channels) > MAX_CHANNELS:
        raise AudioError(
            f"the {name} would have {len(channels)} channels (at most {MAX_CHANNELS} are taken). "
            "Channels come first: transpose it with array.T"
        )
    if not channels.dtype.isnative:
        native: Any = channels.dtype
        channels = channels.astype(native.newbyteorder("="))
    return channels
