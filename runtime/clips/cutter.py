"""Windows cut as the samples come: the same as of the whole clip, at a fixed memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.clips.windows import fill

if TYPE_CHECKING:
    from runtime.audio_spec import AudioSpec, Fill
    from runtime.clips.policy import Tail

NEVER = 1 << 62  # samples: no recording has so many


@dataclass(frozen=True, eq=False)
class Cut:
    """A window of a recording.

    Attributes:
        start: of the window, in samples.
        end: of what it holds of the recording: of the window, or the recording's where that is
            earlier.
        row: float32 ``[window_samples]``, its own memory; with feature fusion, of a longer clip,
            see :mod:`runtime.clips.fusion`.
    """

    start: int
    end: int
    row: NDArray[np.float32]


class Cutter:
    """Cuts a clip that comes in blocks of any size.

    Args:
        spec: length of a window, and how a clip that is shorter is filled.
        starts: of the windows in samples, ascending; may be endless.
        tail: of what is behind the last window that fits. ``aligned``: one more window ends with
            the clip. ``filled``: the next window takes what is left, and is filled like a short
            clip. ``dropped``: it is not heard, but in a clip that is shorter than a window.
    """

    def __init__(self, spec: AudioSpec, starts: Iterable[int], tail: Tail) -> None:
        self._window, self._tail = spec.window_samples, tail
        self._fill: Fill = spec.fill
        self._starts = iter(starts)
        self._next = next(self._starts, NEVER)
        self._data: NDArray[np.float32] = np.empty(3 * self._window, np.float32)
        self._from = self._total = 0  # of the clip: where the data begin and end
        self._heard = 0  # end of the last window

    @property
    def done(self) -> bool:
        """Whether no window is left that more samples could be wanted for."""
        return self._next == NEVER

    def push(self, block: NDArray[np.float32]) -> Iterator[Cut]:
        """The windows that are complete after another block float32 ``[n]``.

        They must be taken before the next block is given.
        """
        for at in range(0, len(block), self._window):
            if self.done:
                return
            self._keep(block[at : at + self._window])
            while self._next + self._window <= self._total:
                yield self._cut(self._next, self._next + self._window)
                self._next = next(self._starts, NEVER)

    def finish(self) -> Iterator[Cut]:
        """The windows at the clip's end, if it has any more."""
        end = self._total
        if self.done or end <= self._heard:
            return
        if end < self._window:
            yield self._cut(0, end)
        elif self._tail == "aligned":
            yield self._cut(end - self._window, end)
        elif self._tail == "filled" and self._next < end:
            yield self._cut(self._next, end)

    def _keep(self, block: NDArray[np.float32]) -> None:
        """Add at most a window of samples, and forget those that no window can need any more."""
        used = self._total - self._from
        if used + len(block) > len(self._data):
            # An aligned window may still begin a window before the end, wherever the next one does.
            kept = min(used, max(self._window, self._total - self._next))
            self._data[:kept] = self._data[used - kept : used]
            self._from, used = self._total - kept, kept
        self._data[used : used + len(block)] = block
        self._total += len(block)

    def _cut(self, start: int, end: int) -> Cut:
        self._heard = end
        samples: NDArray[np.float32] = self._data[start - self._from : end - self._from]
        if len(samples) < self._window:
            return Cut(start, end, fill(samples, self._window, self._fill))
        return Cut(start, end, np.array(samples))
