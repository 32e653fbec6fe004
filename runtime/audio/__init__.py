"""Any recording to float32 mono at the rate that a model takes.

:func:`read` gives a :class:`Recording`; :func:`load`, :func:`prepare` and :func:`decode` give its
samples alone. ``sources`` knows what may be given (``spool`` keeps what comes but once),
``structure`` (with ``chunks``, ``lengths``, ``flac``, ``mpeg`` and ``ogg``) what a file really
holds, ``decoder`` makes blocks of it: each part through ``sndfile`` or ``ffmpeg``, as ``decoding``
chooses. ``levels`` and ``rates`` bring them into shape; ``stretch`` seeks.
"""

from runtime.audio.arrays import Chunks, Recording
from runtime.audio.levels import MAX_CHANNELS, MAX_PEAK, round_trip_int16
from runtime.audio.limit import check_max_seconds
from runtime.audio.rates import MAX_RATE, MIN_RATE, check_rate, resample
from runtime.audio.recording import (
    MAX_SECONDS,
    decode,
    load,
    prepare,
    prepared,
    read,
    said,
    warn,
)
from runtime.audio.stream import Stream, boundary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.audio.arrays import Samples as Samples
    from runtime.audio.arrays import Source as Source

__all__ = [
    "MAX_CHANNELS",
    "MAX_PEAK",
    "MAX_RATE",
    "MAX_SECONDS",
    "MIN_RATE",
    "Chunks",
    "Recording",
    "Stream",
    "boundary",
    "check_max_seconds",
    "check_rate",
    "decode",
    "load",
    "prepare",
    "prepared",
    "read",
    "resample",
    "round_trip_int16",
    "said",
    "warn",
]
