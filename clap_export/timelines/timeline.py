"""The windows of one recording, as they come."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runtime import ClapError, Segment
from runtime.errors import AudioWarning, BackendError, BundleError


@dataclass(frozen=True)
class Band:
    """The frequencies that are listened to, in Hz."""

    low: float
    high: float


class Timeline:
    """Gives the windows of a recording once, and keeps what ended them.

    A recording that breaks off has its windows up to there; whether it did is known when they are
    out. Faults of the engine or of the bundle are raised: they are no fault of the file.

    Args:
        file: as it was typed.
        band: of the file.
        segments: classifies the file as it is read; it may raise.

    Attributes:
        error: why there are no windows, or no more; or None.
        warning: why only a part of the file was used, or None.
        end: of the last window, in seconds.
        count: of windows so far.
    """

    def __init__(self, file: str, band: Band, segments: Iterable[Segment]) -> None:
        self.file, self.band = file, band
        self.error: ClapError | None = None
        self.warning: str | None = None
        self.end, self.count = 0.0, 0
        self._segments = segments

    def __iter__(self) -> Iterator[Segment]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AudioWarning)
            try:
                for segment in self._segments:
                    self.end, self.count = segment.end, self.count + 1
                    yield segment
            except (BackendError, BundleError):
                raise
            except ClapError as error:
                self.error = error
            except Exception as error:  # whatever a file does, it does not lose the others' results
                reason = f"'{self.file}' cannot be used ({type(error).__name__}: {error})."
                self.error = ClapError(reason)
            said = [str(w.message) for w in caught if issubclass(w.category, AudioWarning)]
            self.warning = "; ".join(said) or None
