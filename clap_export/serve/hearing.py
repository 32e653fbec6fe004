"""A recording through the scheduler: windows as its policy takes them, each with its vector."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime import audio
from runtime.clips.clip import Clip, Piece
from runtime.errors import AudioError, BundleError

if TYPE_CHECKING:
    from typing import TypeAlias

    from clap_export.serve.scheduler import Job
    from runtime import Encoder
    from runtime.audio import Source
    from runtime.clips.policy import Policy

    Embedded: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32] | None]
    AudioJob: TypeAlias = Job[Piece, Embedded]


class Hearing:
    """Hears one recording, in the thread that iterates.

    Args:
        encoder: of the bundle.
        job: that its windows are run by.
        source: of the recording.
        policy: which windows are wanted, and how they will be pooled.

    Attributes:
        windows: heard so far.
        seconds: of the recording that they reach to.
        warning: why only a part of it could be used; known at the end.
    """

    def __init__(self, encoder: Encoder, job: AudioJob, source: Source, policy: Policy) -> None:
        self._encoder, self._job, self._source, self._policy = encoder, job, source, policy
        self.windows, self.seconds = 0, 0.0
        self.warning: str | None = None

    def __iter__(self) -> Generator[tuple[Piece, NDArray[np.float32]]]:
        """Windows one by one, in order, each with its vector float32 ``[1, dim]``: as the policy
        pools them, of unit norm or as the encoder gave it.

        Raises:
            AudioError: the recording cannot be used.
            Cancelled, Late: the work has ended.
        """
        rate = self._encoder.manifest.audio.sample_rate
        raw = self._policy.pooling == "raw_mean"
        with audio.boundary(self._source):
            clip = self._encoder.clip(self._source, None, self._policy, self._job.check)
        with clip, closing(self._pieces(clip)) as pieces:
            for piece, (rows, norms) in self._job.results(pieces):
                self.windows += 1
                self.seconds = max(self.seconds, piece.ends[-1] / rate)
                if raw and norms is None:
                    raise BundleError("this bundle gives no norms. Export it again.")
                yield piece, rows * norms[:, np.newaxis] if raw and norms is not None else rows
            self.warning = clip.warning

    def _pieces(self, clip: Clip) -> Generator[Piece]:
        with closing(clip.pieces(1)) as pieces:
            last = False
            while not last:
                try:
                    with audio.boundary(self._source):
                        piece = next(pieces)
                except AudioError:
                    self._job.check()  # it may be its end that ended the decoding
                    raise
                last = piece.last
                yield piece
