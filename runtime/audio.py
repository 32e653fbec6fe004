"""Recordings of any kind to what the audio graph takes: float32, mono, at the bundle's rate.

Three stages, each callable alone so that they can be timed: :func:`decode` (or :func:`from_array`),
:func:`resample`, and the int16 round trip of :func:`prepare`.
"""

from __future__ import annotations

import io
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from runtime.errors import AudioError

if TYPE_CHECKING:
    from typing import TypeAlias

    from runtime.bundle import AudioSpec

    Samples: TypeAlias = NDArray[np.float32]
    Source: TypeAlias = (
        str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | NDArray[Any]
    )

MAX_SECONDS = 3600.0
MIN_RATE, MAX_RATE = 1_000, 768_000
MAX_CHANNELS = 32
# Floats should lie in [-1, 1]. A mix may overshoot a little; int16 values cast to float (up to
# 32767) are a mistake that would give confident nonsense.
MAX_PEAK = 100.0
# Formats without an exact length in the header state an estimate; a cut file misses far more.
MISSING_SHARE = 0.05
# libsndfile says so when a streamed file does not state its length.
UNKNOWN_FRAMES = 1 << 62

log = logging.getLogger(__name__)


def load(
    source: Source, sample_rate: int | None = None, *, max_seconds: float = MAX_SECONDS
) -> tuple[Samples, int]:
    """Read a recording and mix its channels down by their mean.

    Args:
        source: path, the bytes of an audio file, a file object opened for binary reading, or an
            array ``(samples,)`` or ``(channels, samples)``: floats in [-1, 1], or int16, int32 or
            uint8 PCM, which are scaled by their full scale.
        sample_rate: in Hz; required for arrays. Files state their own: a different one is refused.
        max_seconds: longer recordings are refused, files before they are decoded.

    Returns:
        float32 samples ``[n]``, and their sample rate in Hz.

    Raises:
        AudioError: missing, not a file, empty, corrupt, not finite, too long, or an array of a
            shape, type or rate that is no recording.
    """
    if isinstance(source, np.ndarray):
        return from_array(source, sample_rate, max_seconds=max_seconds)
    samples, rate = decode(source, max_seconds=max_seconds)
    if sample_rate is not None and check_rate(sample_rate) != rate:
        raise AudioError(
            f"{_name(source)} has a sample rate of {rate} Hz, but sample_rate={sample_rate} was "
            "given. Leave sample_rate out: it is for arrays; files state their own."
        )
    return samples, rate


def decode(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    max_seconds: float = MAX_SECONDS,
) -> tuple[Samples, int]:
    """Decode an audio file (whatever libsndfile reads) to mono float32 at its own rate.

    A WAV file that ends before its header says is read up to its end, as recorders that were
    switched off leave such files.

    Args:
        source: path, the file's bytes, or a file object opened for binary reading.
        max_seconds: files that state a longer duration are refused without decoding them.

    Returns:
        float32 samples ``[n]``, and their sample rate in Hz.

    Raises:
        AudioError: see :func:`load`.
    """
    try:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise AudioError(
            f"audio files need soundfile, which cannot be imported ({error}). "
            "Install it: pip install soundfile"
        ) from error
    sf = cast(Any, soundfile)
    name = _name(source)
    target = _openable(source, name)
    try:
        with sf.SoundFile(target) as file:
            rate, frames = int(file.samplerate), int(file.frames)
            limit = math.floor(max_seconds * rate)
            stated = frames < UNKNOWN_FRAMES
            if stated:
                _check_length(frames, rate, name, max_seconds)
            else:  # as in a FLAC from a pipe, where soundfile's seek after a read fails
                file.seekable = lambda: False
            # libsndfile's own way from 16 bits to float32 takes eight times as long.
            kind = "int16" if file.subtype == "PCM_16" else "float32"
            # One frame more than allowed shows that an unstated length is too long.
            data = file.read(-1 if stated else limit + 1, dtype=kind, always_2d=True)
            if kind == "int16":
                data = np.multiply(data, np.float32(2**-15), dtype=np.float32)
            data = cast("NDArray[np.float32]", data)
    except sf.LibsndfileError as error:
        raise AudioError(
            f"{name} cannot be decoded ({error.error_string}): it is corrupt, truncated or of an "
            "unsupported format. Check the file, or convert it to WAV or FLAC."
        ) from error
    except TypeError as error:  # soundfile asks for the parameters of headerless files so
        raise AudioError(
            f"{name} has no header that states its rate and type ({error}). "
            "Convert it to WAV, or pass its samples as an array."
        ) from error
    if stated and len(data) < frames * (1 - MISSING_SHARE):
        raise AudioError(
            f"{name} is truncated: it states {frames} frames, {len(data)} could be decoded. "
            "Get the whole file, or convert what is there to WAV."
        )
    _check_length(len(data), rate, name, max_seconds)
    check_rate(rate, name)
    return _mono(np.moveaxis(data, 1, 0), name), rate


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
        AudioError: see :func:`load`.
    """
    name = f"array of shape {array.shape}"
    if sample_rate is None:
        raise AudioError(f"the {name} came without its sample rate: pass sample_rate (in Hz).")
    rate = check_rate(sample_rate)
    if array.ndim not in (1, 2):
        raise AudioError(f"the {name} is no recording: pass (samples,) or (channels, samples).")
    channels = array if array.ndim == 2 else array[np.newaxis]
    if array.size and len(channels) > MAX_CHANNELS:
        raise AudioError(
            f"the {name} would have {len(channels)} channels (at most {MAX_CHANNELS} are taken). "
            "Channels come first: transpose it with array.T"
        )
    _check_length(channels.shape[1] if array.size else 0, rate, name, max_seconds)
    return _mono(_unit_scale(channels, name), name), rate


def resample(samples: Samples, rate: int, target: int) -> Samples:
    """Change the sample rate with soxr's high-quality filter (linear phase, -120 dB).

    Args:
        samples: float32 ``[n]``.
        rate: of the samples, in Hz.
        target: wanted, in Hz.

    Returns:
        float32 ``[round(n * target / rate)]``; the input itself when the rates are equal.

    Raises:
        AudioError: soxr is not installed, or the clip is shorter than one sample of the target.
    """
    if rate == target:
        return samples
    try:
        import soxr  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise AudioError(
            f"changing {rate} Hz to {target} Hz needs soxr, which cannot be imported ({error}). "
            "Install it: pip install soxr"
        ) from error
    result = np.asarray(cast(Any, soxr).resample(samples, rate, target, quality="HQ"), np.float32)
    if not len(result):
        raise AudioError(
            f"the recording is too short: {len(samples)} samples at {rate} Hz are less than one "
            f"at {target} Hz."
        )
    return result


def prepare(
    source: Source,
    spec: AudioSpec,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
) -> Samples:
    """Load a recording and bring it to the rate and sample values the audio graph was made for.

    Args:
        source: see :func:`load`.
        spec: the bundle's audio specification.
        sample_rate: of an array, in Hz.
        max_seconds: longer recordings are refused.

    Returns:
        float32 samples ``[n]`` at ``spec.sample_rate``, not yet cut into windows.

    Raises:
        AudioError: see :func:`load`.
    """
    samples, rate = load(source, sample_rate, max_seconds=max_seconds)
    samples = resample(samples, rate, spec.sample_rate)
    return round_trip_int16(samples) if spec.int16_round_trip else samples


def round_trip_int16(samples: Samples) -> Samples:
    """Clip to [-1, 1] and truncate to the int16 grid, as some families were trained."""
    scaled = np.minimum(np.maximum(samples, -1.0), 1.0) * np.float32(32767)
    return np.divide(scaled.astype(np.int16), np.float32(32767), dtype=np.float32)


def check_rate(rate: object, name: str = "the recording") -> int:
    """A sample rate as int.

    Raises:
        AudioError: not a whole number, or outside what recordings have.
    """
    whole = isinstance(rate, (int, np.integer)) or (isinstance(rate, float) and rate.is_integer())
    if isinstance(rate, bool) or not whole:
        raise AudioError(f"sample_rate is {rate!r}: pass a whole number of Hz, such as 44100.")
    value = int(cast(int, rate))
    if not MIN_RATE <= value <= MAX_RATE:
        raise AudioError(
            f"{name} has a sample rate of {value} Hz; {MIN_RATE} to {MAX_RATE} Hz are taken. "
            "Check the rate (it is in Hz, not kHz)."
        )
    return value


def _name(source: object) -> str:
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(cast('str | os.PathLike[str]', source))}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        size = len(cast(bytes, source))
        return f"the audio file in memory ({size} bytes)"
    return f"the audio file in {type(source).__name__}"


def _openable(source: object, name: str) -> str | io.BytesIO:
    """What soundfile shall open: a path (it then reads without the interpreter lock) or bytes."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(cast("str | os.PathLike[str]", source))
        try:
            if path.is_dir():
                raise AudioError(f"{name} is a folder, not an audio file.")
            if not path.exists():
                raise AudioError(f"{name} does not exist. Check the path.")
            if not path.is_file():
                raise AudioError(f"{name} is not a regular file: read it and pass its bytes.")
            if path.stat().st_size == 0:
                raise AudioError(f"{name} is empty (0 bytes).")
        except (OSError, ValueError) as error:
            raise AudioError(f"{name} cannot be read ({error}).") from error
        return str(path)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(cast(bytes, source))
    elif hasattr(source, "read"):
        content = cast(object, cast(BinaryIO, source).read())
        if not isinstance(content, bytes):
            raise AudioError(f"{name} is not open in binary mode: open it with mode 'rb'.")
        data = content
    else:
        raise AudioError(
            f"{type(source).__name__} is no recording: pass one path, the bytes of an audio file, "
            "a binary file object or a numpy array."
        )
    if not data:
        raise AudioError(f"{name} is empty (0 bytes).")
    return io.BytesIO(data)


def _check_length(frames: int, rate: int, name: str, max_seconds: float) -> None:
    if frames == 0:
        raise AudioError(f"{name} holds no audio: 0 samples. It may be truncated.")
    if frames > max_seconds * rate:
        raise AudioError(
            f"{name} lasts {frames / rate:.0f} s, more than the {max_seconds:g} s allowed. "
            "Cut it into shorter pieces, or raise `max_seconds`."
        )


def _unit_scale(channels: NDArray[Any], name: str) -> NDArray[np.float32]:
    """PCM of any accepted type to float32 with full scale 1."""
    kind = channels.dtype
    if kind == np.int16:
        return np.divide(channels, 1 << 15, dtype=np.float32)
    if kind == np.int32:
        return (channels / float(1 << 31)).astype(np.float32)
    if kind == np.uint8:
        return np.divide(channels.astype(np.int16) - 128, 128, dtype=np.float32)
    if not np.issubdtype(kind, np.floating):
        raise AudioError(
            f"the {name} has dtype {kind}: pass floats in [-1, 1], or int16, int32 or uint8 PCM."
        )
    peak = float(np.abs(channels).max())  # NaN compares false and is reported by _mono
    if MAX_PEAK < peak < math.inf:
        raise AudioError(
            f"the {name} of {kind} has a peak of {peak:g}: floats must lie in [-1, 1]. "
            "Divide it by its full scale (32768 for 16 bit), or pass the integers."
        )
    return channels.astype(np.float32)


def _mono(channels: NDArray[np.float32], name: str) -> Samples:
    """Mean over channels ``(channels, samples)``; refuses values that are not finite."""
    mono = channels[0].copy() if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)
    finite = np.isfinite(mono)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioError(
            f"{name} has {int(np.count_nonzero(~finite))} samples that are NaN or infinite, the "
            f"first at index {first}. Repair the recording."
        )
    return mono
