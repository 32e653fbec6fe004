"""Recordings of any kind to what the audio graph takes: float32, mono, at the bundle's rate."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.arguments import real, shown
from runtime.audio import sources
from runtime.audio.decoder import Decoder
from runtime.audio.levels import MAX_CHANNELS, Levels, round_trip_int16, unit_scale
from runtime.audio.rates import Resampler, check_not_lost, check_rate, resample
from runtime.errors import AudioError, AudioWarning, ClapError

if TYPE_CHECKING:
    from typing import TypeAlias

    from runtime.audio.sources import File
    from runtime.manifest import AudioSpec

    Samples: TypeAlias = NDArray[np.float32]
    Source: TypeAlias = "File | NDArray[Any] | Recording"

MAX_SECONDS = 3600.0


@dataclass(frozen=True, eq=False)
class Recording:
    """Samples in memory; itself a source.

    Attributes:
        samples: float32 ``[n]``, mono.
        rate: in Hz.
        warning: a sentence that says what is wrong with the file, of which only a part could be
            read; or None.
    """

    samples: Samples
    rate: int
    warning: str | None = None


def read(
    source: Source,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
    rate: int | None = None,
) -> Recording:
    """Read a recording and mix its channels down by their mean.

    Lengths are found by decoding, not believed: a file that is shorter than its header says, whose
    header was never completed, or that several files were joined to, is read as far as it goes.

    Args:
        source: path, the bytes of an audio file, a file object opened for binary reading, or an
            array ``(samples,)`` or ``(channels, samples)``: floats in [-1, 1], or int16, int32 or
            uint8 PCM, which are scaled by their full scale; or a Recording.
        sample_rate: in Hz; required for arrays. Files state their own: a different one is refused.
        max_seconds: longer recordings are refused; infinity for no limit.
        rate: to bring it to, in Hz; default its own.

    Raises:
        AudioError: whatever is wrong with it: missing, not a file, empty, corrupt, not finite, too
            loud, too long, or an array of a shape, type or rate that is no recording.
        ClapError: ``max_seconds`` is no positive number.
    """
    check_max_seconds(max_seconds)
    with boundary(source):
        if isinstance(source, np.ndarray):
            samples, own = from_array(source, sample_rate, max_seconds=max_seconds)
            found = Recording(samples, own)
        elif isinstance(source, Recording):
            _check_length(len(source.samples), source.rate, "the recording", max_seconds)
            found = source
        else:
            return _from_file(source, sample_rate, max_seconds, rate)
        if rate is not None and rate != found.rate:
            found = replace(found, samples=resample(found.samples, found.rate, rate), rate=rate)
        return found


def load(
    source: Source, sample_rate: int | None = None, *, max_seconds: float = MAX_SECONDS
) -> tuple[Samples, int]:
    """:func:`read`, as a pair; a warning of it is issued as an :class:`AudioWarning`.

    Returns:
        float32 samples ``[n]``, and their sample rate in Hz.

    Raises:
        AudioError: see :func:`read`.
    """
    found = said(read(source, sample_rate, max_seconds=max_seconds))
    return found.samples, found.rate


def decode(source: File, *, max_seconds: float = MAX_SECONDS) -> tuple[Samples, int]:
    """Decode an audio file: the first stage of :func:`load`, to be timed alone.

    Raises:
        AudioError: see :func:`read`.
    """
    return load(source, max_seconds=max_seconds)


def prepared(
    source: Source,
    spec: AudioSpec,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
) -> Recording:
    """Read a recording and bring it to the rate and sample values the audio graph was made for.

    Args:
        source: see :func:`read`.
        spec: the bundle's audio specification.
        sample_rate: of an array, in Hz.
        max_seconds: longer recordings are refused.

    Returns:
        samples at ``spec.sample_rate``, not yet cut into windows.

    Raises:
        AudioError: see :func:`read`.
    """
    found = read(source, sample_rate, max_seconds=max_seconds, rate=spec.sample_rate)
    if spec.int16_round_trip:
        found = replace(found, samples=round_trip_int16(found.samples))
    return found


def prepare(
    source: Source,
    spec: AudioSpec,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
) -> Samples:
    """The samples of :func:`prepared`; a warning of it is issued as an :class:`AudioWarning`.

    Raises:
        AudioError: see :func:`read`.
    """
    return said(prepared(source, spec, sample_rate, max_seconds=max_seconds)).samples


def said(found: Recording) -> Recording:
    """Issue a recording's warning, if it has one, for callers who get its samples alone."""
    if found.warning is not None:
        warnings.warn(found.warning, AudioWarning, stacklevel=3)
    return found


@contextmanager
def boundary(source: object) -> Generator[None]:
    """Turn whatever a recording causes into an AudioError that names the type.

    Raises:
        AudioError: instead of any exception but KeyboardInterrupt and SystemExit.
    """
    try:
        yield
    except (AudioError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a file object may raise anything, GeneratorExit too
        try:
            reason = f"{type(error).__name__}: {error}"[:300]
        except Exception:
            reason = type(error).__name__
        raise AudioError(f"{_called(source)} cannot be read ({reason}).") from error


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


def from_array(
    array: NDArray[Any], sample_rate: int | None, *, max_seconds: float = MAX_SECONDS
) -> tuple[Samples, int]:
    """Check an array of samples, scale it to [-1, 1] and mix it down.

    Args:
        array: ``(samples,)`` or ``(channels, samples)`` of floats in [-1, 1] or int16, int32 or
            uint8 PCM.
        sample_rate: in Hz.
        max_seconds: longer arrays are refused.

    Returns:
        float32 samples ``[n]``, and the sample rate in Hz.

    Raises:
        AudioError: see :func:`read`.
    """
    name = sources.name(array)
    if sample_rate is None:
        raise AudioError(f"the {name} came without its sample rate: pass sample_rate (in Hz).")
    rate = check_rate(sample_rate)
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise AudioError(f"the {name} has masked samples: fill or cut them out first.")
    array = np.asarray(array)  # np.matrix and other kinds of array have rules of their own
    if array.ndim not in (1, 2):
        raise AudioError(f"the {name} is no recording: pass (samples,) or (channels, samples).")
    channels = array if array.ndim == 2 else array[np.newaxis]
    if array.size and len(channels) > MAX_CHANNELS:
        raise AudioError(
            f"the {name} would have {len(channels)} channels (at most {MAX_CHANNELS} are taken). "
            "Channels come first: transpose it with array.T"
        )
    _check_length(channels.shape[1] if array.size else 0, rate, f"the {name}", max_seconds)
    if not channels.dtype.isnative:
        native: Any = channels.dtype
        channels = channels.astype(native.newbyteorder("="))
    levels = Levels(f"the {name}")
    mono = levels.mono(unit_scale(channels, name))
    levels.check()
    return mono, rate


def _from_file(
    source: File, sample_rate: int | None, max_seconds: float, target: int | None
) -> Recording:
    name = sources.name(source)
    samples = _Growing()
    with sources.opened(source) as content:
        decoder = Decoder(content, name, max_seconds)
        resampler: Resampler | None = None
        count = 0
        for block in decoder.blocks():
            if resampler is None:
                if sample_rate is not None and check_rate(sample_rate) != decoder.rate:
                    raise AudioError(
                        f"{name} has a sample rate of {decoder.rate} Hz, but sample_rate="
                        f"{sample_rate} was given. Leave sample_rate out: it is for arrays; files "
                        "state their own."
                    )
                resampler = Resampler(decoder.rate, target or decoder.rate)
            count += len(block)
            samples.add(resampler.push(block))
        if resampler is not None:
            samples.add(resampler.finish())
    rate = target or decoder.rate
    warning = None
    if decoder.warnings:
        clauses = "; ".join(decoder.warnings)
        warning = (
            f"{name} may not be whole: {clauses}. {count / decoder.rate:.1f} s of it are used."
        )
    return Recording(check_not_lost(samples.done(), count, decoder.rate, rate), rate, warning)


class _Growing:
    """An array that grows: memory is asked for only when there is something to put in it."""

    def __init__(self) -> None:
        self._data: NDArray[np.float32] = np.empty(1 << 16, np.float32)
        self._count = 0

    def add(self, block: NDArray[np.float32]) -> None:
        end = self._count + len(block)
        if end > len(self._data):
            # In place where the system can: the pages are moved, not copied.
            self._data.resize(max(end, len(self._data) * 3 // 2), refcheck=False)
        self._data[self._count : end] = block
        self._count = end

    def done(self) -> NDArray[np.float32]:
        self._data.resize(self._count, refcheck=False)
        return self._data


def _called(source: object) -> str:
    try:
        return sources.name(source)
    except Exception:
        return f"the recording in {type(source).__name__}"


def _check_length(frames: int, rate: int, name: str, max_seconds: float) -> None:
    if frames == 0:
        raise AudioError(f"{name} holds no audio: 0 samples. It may be truncated.")
    if frames > max_seconds * rate:
        raise AudioError(
            f"{name} lasts {frames / rate:.0f} s, more than the {max_seconds:g} s allowed. "
            "Cut it into shorter pieces, or raise `max_seconds`."
        )
