"""``decode`` and ``resample``: from files and samples to mono at any rate."""

from __future__ import annotations

import numpy as np

from clap_export.conformance import signals, wavs
from clap_export.conformance.draft import Draft
from clap_export.conformance.kit import PRESENCE, Tolerance, absolute
from clap_export.conformance.limits import NOISE, QUIET, SAMPLES, SHORTEST
from clap_export.conformance.wavs import Kind

RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
KINDS = {
    "8-bit": Kind(8), "16-bit": Kind(16), "24-bit": Kind(24), "32-bit": Kind(32),
    "float32": Kind(32, is_float=True), "float64": Kind(64, is_float=True),
    "extensible-16-bit": Kind(16, extensible=True),
    "extensible-24-bit": Kind(24, extensible=True),
    "extensible-float32": Kind(32, is_float=True, extensible=True),
}  # fmt: skip
CHANNELS = (1, 2, 3, 6)
DECODED = {"samples": absolute(SAMPLES), "warning": PRESENCE}
FRAMES = 801  # odd, so that 8 and 24 bit end in a padded byte
LENGTHS = (1, 2, 3, 7, 100, 1_001, 12_345)
BELOW = 0.85  # of the lower Nyquist frequency
FLOAT = KINDS["float32"]


def channels_of(count: int, samples: int, rate: int) -> np.ndarray:
    """Sounds of their own in each channel, float32 ``[count, samples]``."""
    return np.stack([signals.banded(i, samples, rate, 0.4 * rate) for i in range(count)])


def decode(draft: Draft) -> None:
    """Files of every kind, with true and untrue headers."""
    stereo = channels_of(2, FRAMES, 22_050)
    for name, kind in KINDS.items():
        _file(draft, f"kind-{name}", wavs.wav(stereo[:1], 22_050, kind))
    for count in CHANNELS:
        kind = Kind(16, extensible=count > 2)
        sound = channels_of(count, FRAMES, 48_000)
        _file(draft, f"channels-{count}", wavs.wav(sound, 48_000, kind))
    for rate in RATES:
        _file(draft, f"rate-{rate}", wavs.wav(channels_of(1, 400, rate), rate, Kind(16)))
    pcm = Kind(16)
    note = wavs.chunk(b"LIST", b"INFOISFT" + b"\x05\0\0\0odd!\0\0" + b"x")
    size = stereo.size * 2
    odd = {
        "odd-chunk-before": {"before": note},
        "chunk-behind": {"behind": note},
        "unknown-chunk-before": {"before": wavs.chunk(b"junk", bytes(range(37)))},
        "length-all-ones": {"stated": wavs.UNKNOWN, "whole": wavs.UNKNOWN},
        "length-too-large": {"stated": size + 40_000, "whole": size + 40_036},
        "length-zero": {"stated": 0, "whole": 36},
        "riff-length-wrong": {"whole": 12},
    }
    for name, changes in odd.items():
        _file(draft, name, wavs.wav(stereo, 22_050, pcm, **changes))
    full = np.array([[1.0, -1.0, 0.0, 0.5, -0.5] * 40], np.float32)
    for name in ("8-bit", "16-bit", "24-bit", "32-bit"):
        _file(draft, f"full-scale-{name}", wavs.wav(full, 8_000, KINDS[name]))
    _file(draft, "beyond-full-scale", wavs.wav(3 * full, 8_000, FLOAT))
    _file(draft, "one-sample", wavs.wav(full[:, :1], 8_000, pcm))
    _file(draft, "cut-in-a-sample", wavs.wav(stereo, 22_050, pcm)[:-3])
    _file(draft, "joined", wavs.wav(stereo[:1], 22_050, pcm) + wavs.wav(stereo[1:], 22_050, pcm))


def broken(draft: Draft) -> None:
    """Files that are none, or hold nothing that can be heard."""
    full = np.zeros((1, 50), np.float32)
    nan = full.copy()
    nan[0, 17:20] = np.nan
    loud = full + 500
    files = {
        "no-samples": wavs.wav(full[:, :0], 8_000, Kind(16)),
        "text": b"This is no recording, but a note of one that somebody meant to make.\n" * 3,
        "empty": b"",
        "not-a-number": wavs.wav(nan, 8_000, FLOAT),
        "integers-as-floats": wavs.wav(loud, 8_000, FLOAT),
        "rate-too-low": wavs.wav(full, 44, Kind(16)),
        "rate-too-high": wavs.wav(full, 1_000_000, Kind(16)),
        "too-many-channels": wavs.wav(np.zeros((33, 10), np.float32), 8_000, Kind(16)),
    }
    for name, data in files.items():
        _file(draft, f"broken-{name}", data)
    # What is missing in it, each library says in words of its own.
    half = draft.file("wav/broken-half-a-header.wav", wavs.wav(full, 8_000, Kind(16))[:30])
    draft.ask("decode/broken-half-a-header", {"wav": half}, optional=True)
    draft.ask("decode/broken-missing", {"wav": "wav/not-there.wav"})


def _file(draft: Draft, name: str, data: bytes) -> None:
    draft.ask(f"decode/{name}", {"wav": draft.file(f"wav/{name}.wav", data)}, DECODED)


def resample(draft: Draft, rate: int) -> None:
    """Sounds of many rates and lengths to a model's.

    Args:
        draft: the kit.
        rate: the model's, in Hz.
    """
    pairs = [(own, rate) for own in RATES if own != rate] + [(rate, rate)]
    for own, to in [*pairs, (rate, 44_100 if rate != 44_100 else 48_000)]:
        low = min(own, to)
        sound = signals.banded(own, 2 * own // 5 + 13, own, BELOW * low / 2)
        _change(draft, f"{own}-to-{to}/sound", sound, own, to, QUIET)
        _change(draft, f"{own}-to-{to}/noise", signals.white(own, 6_001), own, to, NOISE)
    for own in (44_100, 16_000 if rate != 16_000 else 32_000):
        for n in LENGTHS:
            wave = signals.banded(n, n, own, BELOW * min(own, rate) / 2)
            limit = QUIET if n > 10_000 else NOISE if n > 50 else SHORTEST
            _change(draft, f"{own}-to-{rate}/{n}-samples", wave, own, rate, limit)


def _change(draft: Draft, name: str, samples: np.ndarray, own: int, to: int, limit: float) -> None:
    given = {"samples": draft.array(samples), "rate": own, "to": to}
    tolerance = Tolerance("exact") if own == to else Tolerance("relative_rms", limit)
    draft.ask(f"resample/{name}", given, {"samples": tolerance})
