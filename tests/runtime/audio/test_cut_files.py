"""Files of rarer formats that were cut: what is there is used, and said to be cut."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from runtime import audio
from runtime.audio import ffmpeg
from runtime.errors import AudioError
from tests.runtime.audio.encoded import RATE, sound, wav

MONO = (sound(1)[:, 0] / 32768).astype(np.float32)
BLOCK = 60  # most samples of a block that was cut, of formats that have them
FORMATS = [
    ("AVR", "PCM_16"), ("AVR", "PCM_S8"), ("CAF", "PCM_16"), ("CAF", "PCM_24"), ("CAF", "FLOAT"),
    ("CAF", "ULAW"), ("MAT4", "PCM_16"), ("MAT4", "DOUBLE"), ("MAT5", "PCM_16"), ("MAT5", "FLOAT"),
    ("MPC2K", "PCM_16"), ("NIST", "PCM_16"), ("NIST", "PCM_24"), ("NIST", "ULAW"),
    ("SDS", "PCM_16"), ("SDS", "PCM_24"), ("VOC", "PCM_16"), ("VOC", "ULAW"), ("WVE", "ALAW"),
    ("PAF", "PCM_24"),
]  # fmt: skip


def made(kind: str, subtype: str) -> bytes:
    return wav(MONO, 8_000 if kind == "WVE" else RATE, format=kind, subtype=subtype)


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_it_is_used_as_far_as_it_goes_and_said(kind: str, subtype: str) -> None:
    data = made(kind, subtype)
    whole, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    found = audio.read(data)
    assert found.warning is None
    assert np.array_equal(found.samples, whole)
    cut = audio.read(data[: len(data) * 6 // 10])
    assert 0.55 * len(whole) < len(cut.samples) < 0.61 * len(whole)
    end = len(cut.samples) - (BLOCK if kind in ("PAF", "SDS") else 0)
    assert np.array_equal(cut.samples[:end], whole[:end])
    assert "may not be whole" in (cut.warning or "")


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_caf_of_unknown_length_and_one_with_chunks_behind(subtype: str) -> None:
    data = made("CAF", subtype)
    whole = audio.read(data).samples
    place = data.index(b"data") + 4
    unknown = audio.read(data[:place] + b"\xff" * 8 + data[place + 8 :])
    assert np.array_equal(unknown.samples, whole)
    assert unknown.warning is None
    behind = audio.read(data + b"free" + (200_000).to_bytes(8, "big") + bytes(200_000))
    assert np.array_equal(behind.samples, whole)
    assert behind.warning is None


@pytest.mark.parametrize("kind", ["NIST", "VOC", "CAF"])
def test_headers_of_nonsense_do_no_harm(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "program", lambda: None)
    data = made(kind, "PCM_16")
    rng = np.random.default_rng(5)
    for _ in range(40):
        damaged = bytearray(data[:3000])
        for place in rng.integers(0, 120, 4):
            damaged[place] = rng.integers(0, 256)
        try:
            found = audio.read(bytes(damaged), max_seconds=60)
        except AudioError:
            continue
        assert len(found.samples) <= 3000 * 40
