"""A stream heard as it comes: chunks of any size to the segments of the whole recording."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from runtime import audio
from runtime.arguments import number, shown
from runtime.audio import faithful
from runtime.audio.arrays import ArrayBlocks
from runtime.audio.limit import Limit
from runtime.classifier import Segment
from runtime.clips.cutter import Cut, Cutter
from runtime.errors import AudioError, ClapError
from runtime.scores import Prediction, check_top_k

if TYPE_CHECKING:
    from runtime.clips.policy import Policy
    from runtime.manifest import Manifest

# Seconds by which a chunk's timestamp may differ from the clock: the clocks of callbacks jitter by
# the length of a chunk.
JITTER = 0.1


@dataclass(frozen=True)
class Counts:
    """What a listener has heard so far.

    Attributes:
        seconds: of samples that were fed.
        windows: given to the encoder.
        silent: windows that the loudness gate kept from it.
        bridged: seconds of short gaps, which were filled with silence.
        missing: seconds of longer gaps.
    """

    seconds: float
    windows: int
    silent: int
    bridged: float
    missing: float


class WindowEncoder(Protocol):
    """Embeds windows: a :class:`runtime.Encoder`, or what stands for one."""

    @property
    def policy(self) -> Policy:
        """How recordings become windows."""
        ...

    @property
    def batch_size(self) -> int:
        """Windows that are given to it at once."""
        ...

    def embed_windows(
        self, batch: NDArray[np.float32], /, *, finite: bool = True
    ) -> NDArray[np.float32]:
        """Windows ``[n, window_samples]`` to embeddings ``[n, dim]``."""
        ...


class WindowClassifier(Protocol):
    """Classifies windows: a :class:`runtime.Classifier`, or what stands for one."""

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        ...

    @property
    def encoder(self) -> WindowEncoder:
        """What embeds windows."""
        ...

    def rank(self, rows: NDArray[np.float32], top_k: int | None = None) -> list[Prediction]:
        """Predictions for embeddings ``[n, dim]``, pooled."""
        ...


class Listener:
    """Classifies a stream window by window, while it comes.

    However the samples are divided into chunks, the segments are those that
    :meth:`Classifier.timeline` finds in the whole recording with the same hop; the last one comes
    with :meth:`flush`. Memory does not grow. One thread at a time may feed it; others may go on
    using the classifier.

    A chunk that cannot be used is refused with one sentence and changes nothing: the stream may go
    on with the next chunk, best after a :meth:`gap` of the lost one's length. When an engine fails
    in the midst of a chunk, the segments before are returned by the next call.

    Args:
        classifier: whose labels are looked for.
        sample_rate: of the chunks, in Hz.
        hop: seconds between the starts of windows.
        gate: dBFS. A window is not given to the encoder when each stretch of a hop's length in it
            has a lower RMS: its segment has no predictions. Default: all are.
        top_k: most predictions of a segment; default the classifier's.

    Raises:
        AudioError: the sample rate is none, or soxr is needed and not installed.
        ClapError: another argument is out of range.
    """

    def __init__(
        self,
        classifier: WindowClassifier,
        sample_rate: int,
        *,
        hop: float = 0.5,
        gate: float | None = None,
        top_k: int | None = None,
    ) -> None:
        self._classifier = classifier
        self._rate = audio.check_rate(sample_rate, "the stream")
        self._spec = classifier.manifest.audio
        self._policy = classifier.encoder.policy.timeline(self._spec, hop)
        self._hop_samples = self._policy.hop_samples(self._spec)
        self._gate = None if gate is None else number("gate", gate, "a number of dBFS, or None")
        self._top_k = check_top_k(top_k)
        self._form: tuple[int, Any] | None = None  # channels and type of the first chunk
        self._samples = 0  # fed so far, bridged ones too
        self._start = 0.0  # of the clock: the first chunk's timestamp
        self._windows = self._silent = 0
        self._bridged = self._missing = 0.0
        self._owed = 0.0  # seconds of gaps, less than a sample, that are not bridged yet
        self._found: list[Segment] = []
        self._begin()

    @property
    def seconds(self) -> float:
        """The clock: when the next chunk's first sample is, in seconds; 0 at the first one's,
        unless that brought a timestamp. Counted in samples, it does not drift."""
        return self._start + self._samples / self._rate + self._missing + self._owed

    @property
    def counts(self) -> Counts:
        """What was heard so far."""
        fed = self._samples / self._rate - self._bridged
        return Counts(fed, self._windows, self._silent, self._bridged, self._missing)

    @property
    def classifier(self) -> WindowClassifier:
        """Whose labels are looked for now."""
        return self._classifier

    def exchange(self, classifier: WindowClassifier) -> None:
        """Look for other labels from the next window on, at any time and from any thread.

        ``Classifier(listener.classifier.encoder, labels)`` shares the engines.

        Raises:
            ClapError: it is a classifier of another model.
        """
        new, old = classifier.manifest, self._classifier.manifest
        same = classifier.encoder.policy.quirks == self._policy.quirks
        if new.space_id != old.space_id or new.audio != self._spec or not same:
            raise ClapError(
                f"the new classifier is one of '{new.name}', and the stream is heard with "
                f"'{old.name}': make it of the same bundle and policy, or a new Listener."
            )
        self._classifier = classifier

    def feed(
        self, chunk: NDArray[Any], sample_rate: int | None = None, *, at: float | None = None
    ) -> list[Segment]:
        """Hear the next samples.

        Args:
            chunk: ``(samples,)`` or ``(channels, samples)``, of any length and the same type and
                channels as the first: floats in [-1, 1], or int16, int32 or uint8 PCM.
            sample_rate: of this chunk in Hz, to be compared with that of the stream.
            at: when its first sample is, in seconds on a clock of the caller's. The first chunk's
                sets the listener's clock; later ones that are more than 0.1 s behind it mean a
                :meth:`gap`.

        Returns:
            segments that became complete, in order of time.

        Raises:
            AudioError: the chunk cannot be used.
            BackendError: the engine failed.
        """
        samples = self._checked(chunk, sample_rate)
        if at is not None:
            self._meet(number("at", at, "a time in seconds"))
        if len(samples):
            self._samples += len(samples)
            self._hear(samples)
        return self._taken()

    def gap(self, seconds: float) -> list[Segment]:
        """Tell that a stretch of the stream is missing; the clock goes on over it.

        One shorter than a hop is filled with silence. At a longer one the recording ends, as with
        :meth:`flush`, and another begins behind it.

        Args:
            seconds: that are missing.

        Returns:
            segments that became complete.

        Raises:
            ClapError: not a number of seconds, or a negative one.
            AudioError, BackendError: see :meth:`feed`.
        """
        if number("seconds", seconds, "a number of seconds") < 0:
            raise ClapError(f"seconds={shown(seconds)}: a gap has a positive length.")
        self._skip(float(seconds))
        return self._taken()

    def flush(self) -> list[Segment]:
        """End the recording: the window that is aligned to its end is heard too.

        The clock stays; what is fed later is a recording of its own that begins here.

        Returns:
            the last segments; none if nothing was fed since the last end.

        Raises:
            AudioError, BackendError: see :meth:`feed`.
        """
        self._end()
        return self._taken()

    def _checked(self, chunk: object, sample_rate: int | None) -> NDArray[np.float32]:
        """Mono samples of a chunk that fits the stream."""
        where = f"the chunk at {self.seconds:.3f} s of the stream"
        if not isinstance(chunk, np.ndarray):
            raise AudioError(
                f"{where} is a {type(chunk).__name__}: feed numpy arrays, (samples,) or (channels, "
                "samples)."
            )
        if sample_rate is not None and audio.check_rate(sample_rate, where) != self._rate:
            raise AudioError(
                f"{where} has a sample rate of {sample_rate} Hz, and the stream had {self._rate} "
                "Hz. Flush this listener, and feed a new one of that rate."
            )
        array = cast("NDArray[Any]", chunk)
        if not array.size:
            return np.empty(0, np.float32)
        form = (array.shape[0] if array.ndim == 2 else 1, array.dtype)
        if self._form is not None and array.ndim in (1, 2) and form != self._form:
            raise AudioError(
                f"{where} has {form[0]} channel(s) of {form[1]}, and the stream had "
                f"{self._form[0]} of {self._form[1]}. Feed chunks of one form: (samples,) or "
                "(channels, samples)."
            )
        if form[0] > 1 and self._policy.quirks.channels == "strung":
            raise AudioError(
                f"{where} has {form[0]} channels, which the policy '{self._policy.name}' strings "
                "one behind the other: of a stream that has no end. Feed one channel, or choose "
                "another policy."
            )
        try:
            blocks = list(ArrayBlocks(array, self._rate, Limit(where, math.inf)).blocks())
        except AudioError as error:
            raise AudioError(f"{where} cannot be used: {error}") from error
        self._form = form
        return np.concatenate(blocks)

    def _meet(self, at: float) -> None:
        """Bring the clock to a timestamp."""
        if not self._samples and not self._missing:
            self._start = at
            self._begin()
            return
        late = at - self.seconds
        if late < -JITTER:
            raise AudioError(
                f"the chunk's timestamp is {at:.3f} s, and the stream is at {self.seconds:.3f} s "
                "already: timestamps must not go back."
            )
        if late > JITTER:
            self._skip(late)

    def _skip(self, seconds: float) -> None:
        self._owed += seconds
        if seconds * self._spec.sample_rate < self._hop_samples:
            count = int(self._owed * self._rate)
            self._owed -= count / self._rate
            self._bridged += count / self._rate
            self._samples += count
            self._hear(np.zeros(count, np.float32))
            return
        try:
            self._end()
        finally:
            self._missing += self._owed
            self._owed = 0.0
            self._begin()

    def _begin(self) -> None:
        """Begin a recording."""
        self._base = self.seconds
        self._resampler = faithful.resampler(
            self._policy.quirks.resampler, self._rate, self._spec.sample_rate
        )
        self._cutter = Cutter(self._spec, self._policy.starts(self._spec), self._policy.tail)
        self._begun = False

    def _hear(self, samples: NDArray[np.float32]) -> None:
        self._begun = True
        self._embed(self._cutter.push(self._prepared(self._resampler.push(samples))))

    def _end(self) -> None:
        if not self._begun:
            return
        self._embed(self._cutter.push(self._prepared(self._resampler.finish())))
        self._embed(self._cutter.finish())
        self._begin()

    def _prepared(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return audio.round_trip_int16(samples) if self._spec.int16_round_trip else samples

    def _embed(self, cuts: Iterable[Cut]) -> None:
        """Classify windows, those that are ready at once in batches."""
        waiting = iter(cuts)
        try:
            while batch := list(itertools.islice(waiting, self._classifier.encoder.batch_size)):
                self._classify(batch)
        except Exception:
            self._begin()  # the rest of the chunk is lost
            raise

    def _classify(self, batch: list[Cut]) -> None:
        classifier, gate = self._classifier, self._gate
        loud = [
            gate is None or loudness(cut.row[: cut.end - cut.start], self._hop_samples) >= gate
            for cut in batch
        ]
        chosen = [cut.row for cut, is_loud in zip(batch, loud, strict=True) if is_loud]
        rows = None
        if chosen:
            rows = iter(classifier.encoder.embed_windows(np.stack(chosen), finite=False))
        for cut, is_loud in zip(batch, loud, strict=True):
            found = []
            if rows is not None and is_loud:
                found = classifier.rank(next(rows)[np.newaxis], self._top_k)
            rate = self._spec.sample_rate
            start, end = self._base + cut.start / rate, self._base + cut.end / rate
            self._found.append(Segment(start, end, found))
            self._windows += is_loud
            self._silent += not is_loud

    def _taken(self) -> list[Segment]:
        found, self._found = self._found, []
        return found


def loudness(samples: NDArray[np.float32], stretch: int) -> float:
    """Of the loudest stretch, in dBFS: 0 is the RMS of a square wave of full scale.

    Args:
        samples: float32 ``[n]``, n >= 1.
        stretch: samples over which the RMS is taken, one stretch behind the other; the last one is
            aligned to the end.

    Returns:
        minus infinity for samples that are all 0.
    """
    stretch = min(stretch, len(samples))
    whole = len(samples) // stretch * stretch
    stretches = np.reshape(samples[:whole], (-1, stretch))
    # Not by a matrix product; see `runtime.lookup.similarities`.
    power = float(np.einsum("ij,ij->i", stretches, stretches).max())
    if whole < len(samples):
        last = samples[-stretch:]
        power = max(power, float(np.einsum("i,i->", last, last)))
    return 10.0 * math.log10(power / stretch) if power > 0.0 else -math.inf
