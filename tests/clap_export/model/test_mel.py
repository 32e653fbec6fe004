"""The log-mel frontend against a slow float64 reference, torchaudio and closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torchaudio

from clap_export.model.dft import split
from clap_export.model.mel import LogMel, mel_filterbank
from runtime.audio_spec import Mel
from tests import tiny

BANKS = [("slaney", "slaney"), ("slaney", None), ("htk", "slaney"), ("htk", None)]
# Decibels of error allowed down to so many decibels below the clip's peak; measured 4.2e-5 on these
# clips. Rounding in float32 is relative to the loud bins of a frame: under a pure tone, bins 80 dB
# below it are off by up to 6e-4.
TOLERANCE_DB = {40: 1e-4, 80: 1e-3}
TORCHAUDIO_DB = {40: 2e-4, 80: 4e-3}  # computed in float32 itself, filterbank included


def frontend(config: Mel, dft: str) -> LogMel:
    mel = LogMel(config)
    if dft == "graph":
        mel.use_graph()
    return mel


def slow_hz_to_mel(hz: float, scale: str) -> float:
    """Slaney: 66.7 Hz a mel up to 1 kHz, then a factor of 6.4 in 27 mel. HTK: O'Shaughnessy."""
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hz / 700.0)
    return hz * 3 / 200 if hz < 1000 else 15.0 + 27.0 * math.log(hz / 1000.0, 6.4)


def slow_mel_to_hz(mel: float, scale: str) -> float:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return mel * 200 / 3 if mel < 15 else 1000.0 * 6.4 ** ((mel - 15.0) / 27.0)


def slow_filterbank(config: Mel) -> np.ndarray:
    """A triangle at a time, a bin at a time, ``[n_fft / 2 + 1, n_mels]`` float64."""
    low, high = (slow_hz_to_mel(f, config.scale) for f in (config.f_min, config.f_max))
    step = (high - low) / (config.n_mels + 1)
    corners = [slow_mel_to_hz(low + i * step, config.scale) for i in range(config.n_mels + 2)]
    bank = np.zeros((config.n_fft // 2 + 1, config.n_mels))
    for m in range(config.n_mels):
        left, centre, right = corners[m : m + 3]
        for k in range(len(bank)):
            hz = k * config.sample_rate / config.n_fft
            if left < hz <= centre:
                bank[k, m] = (hz - left) / (centre - left)
            elif centre < hz < right:
                bank[k, m] = (right - hz) / (right - centre)
        if config.norm == "slaney":
            bank[:, m] *= 2 / (right - left)
    return bank


def slow_log_mel(waveform: np.ndarray, config: Mel) -> np.ndarray:
    """One clip, frame by frame by the definition of the DFT, ``[frames, n_mels]`` float64."""
    size, hop = config.n_fft, config.hop_length
    n = np.arange(size)
    window = np.sin(np.pi * n / size) ** 2  # periodic Hann
    basis = np.exp(-2j * np.pi * np.outer(n, np.arange(size // 2 + 1)) / size)
    bank = slow_filterbank(config)
    x = waveform.astype(np.float64)
    # Mirrored at both ends, the end sample itself not doubled.
    padded = np.concatenate([x[size // 2 : 0 : -1], x, x[-2 : -size // 2 - 2 : -1]])
    rows = []
    for start in range(0, len(padded) - size + 1, hop):
        spectrum = (padded[start : start + size] * window) @ basis
        rows.append(10 * np.log10(np.maximum(np.abs(spectrum) ** 2 @ bank, config.amin)))
    return np.array(rows)


def assert_close(
    got: np.ndarray, want: np.ndarray, tolerance: dict[int, float] = TOLERANCE_DB
) -> None:
    """Equal as far below the clip's peak as the tolerance goes, which is most of the clip."""
    assert got.shape == want.shape
    assert (want > want.max() - 80).mean() > 0.8
    for depth, limit in tolerance.items():
        assert np.abs(got - want)[want > want.max() - depth].max() < limit


@pytest.mark.parametrize("dft", ["fft", "graph"])
@pytest.mark.parametrize(("n_fft", "hop"), [(256, 97), (256, 64), (256, 300), (512, 160), (290, 7)])
@pytest.mark.parametrize(("scale", "norm"), [("slaney", "slaney"), ("htk", None)])
def test_matches_the_slow_reference(dft: str, n_fft: int, hop: int, scale, norm) -> None:
    config = dataclasses.replace(tiny.MEL, n_fft=n_fft, hop_length=hop, scale=scale, norm=norm)
    waveforms = tiny.waveforms(3, 3001)
    got = frontend(config, dft)(waveforms)
    assert got.dtype == torch.float32
    for row, waveform in zip(got.numpy(), waveforms.numpy(), strict=True):
        assert_close(row, slow_log_mel(waveform, config))


@pytest.mark.parametrize(("scale", "norm"), BANKS)
@pytest.mark.parametrize("f_min", [0.0, 50.0])
def test_filterbank_matches_the_slow_reference_and_torchaudio(scale, norm, f_min: float) -> None:
    config = Mel(48_000, 1024, 480, 64, f_min, 14_000.0, scale, norm, 1e-10)
    got = mel_filterbank(config)
    slow = slow_filterbank(config)
    assert (got.sum(axis=0) > 0).all()
    assert np.abs(got - slow).max() < 1e-6 * slow.max()
    theirs = torchaudio.functional.melscale_fbanks(
        513, f_min, 14_000.0, 64, 48_000, norm=norm, mel_scale=scale
    ).numpy()
    assert np.abs(got - theirs).max() < 2e-5 * slow.max()  # theirs is computed in float32


@pytest.mark.parametrize("dft", ["fft", "graph"])
@pytest.mark.parametrize(("scale", "norm"), BANKS)
def test_values_match_torchaudio(dft: str, scale, norm) -> None:
    config = Mel(16_000, 512, 160, 40, 50.0, 7600.0, scale, norm, 1e-10)
    waveforms = tiny.waveforms(3, 16_000)
    transform = torchaudio.transforms.MelSpectrogram(
        16_000, 512, hop_length=160, f_min=50.0, f_max=7600.0, n_mels=40, power=2.0, center=True,
        pad_mode="reflect", norm=norm, mel_scale=scale,
    )  # fmt: skip
    want = 10 * torch.log10(transform(waveforms).clamp(min=1e-10)).transpose(1, 2)
    got = frontend(config, dft)(waveforms)
    for row, expected in zip(got.numpy(), want.numpy(), strict=True):
        assert_close(row, expected, TORCHAUDIO_DB)


@pytest.mark.parametrize("dft", ["fft", "graph"])
@pytest.mark.parametrize("samples", [129, 193, 194, 255, 256, 257, 970, 1000, 1067, 8000])
def test_one_frame_for_each_hop_that_starts_inside(dft: str, samples: int) -> None:
    waveform = tiny.waveforms(2, samples)
    got = frontend(tiny.MEL, dft)(waveform)
    # A frame is centred on each multiple of the hop from 0 to `samples`.
    centres = [i for i in range(samples + 1) if i % tiny.MEL.hop_length == 0]
    stft = torch.stft(waveform, 256, 97, window=torch.hann_window(256), return_complex=True)
    assert got.shape == (2, len(centres), 32) == (2, stft.shape[2], 32)
    assert_close(got[0].numpy(), slow_log_mel(waveform[0].numpy(), tiny.MEL))


@pytest.mark.parametrize("dft", ["fft", "graph"])
@pytest.mark.parametrize("amin", [1e-10, 1e-5])
def test_silence_is_the_floor(dft: str, amin: float) -> None:
    config = dataclasses.replace(tiny.MEL, amin=amin)
    got = frontend(config, dft)(torch.zeros(2, 1000))
    assert (got - 10 * math.log10(amin)).abs().max() < 1e-5


@pytest.mark.parametrize("dft", ["fft", "graph"])
def test_full_scale_sine_in_closed_form(dft: str) -> None:
    # A Hann window has the transform N/2, -N/4, -N/4 at bins 0, +1, -1 and zero elsewhere. So a
    # sine of amplitude A at bin k has |X| = A N/4 at k and A N/8 on both sides.
    size, k = 1024, 100
    config = Mel(32_000, size, 320, 64, 50.0, 14_000.0, "slaney", "slaney", 1e-10)
    t = torch.arange(16 * size, dtype=torch.float64)
    sine = torch.sin(2 * math.pi * k * t / size).float()[None]
    mel = frontend(config, dft)
    bank = slow_filterbank(config)
    assert (size / 4) ** 2 == 65536  # more than half precision can hold: why this stays float32
    power = bank[k] * (size / 4) ** 2 + (bank[k - 1] + bank[k + 1]) * (size / 8) ** 2
    touched = power > 0
    assert touched.sum() >= 2
    inner = mel(sine)[0, 5:-5]  # frames that the mirrored ends do not reach
    want = torch.from_numpy(10 * np.log10(power[touched]))
    assert (inner[:, touched] - want).abs().max() < 1e-3
    assert (inner[:, ~touched] < want.max() - 80).all()


@pytest.mark.parametrize("dft", ["fft", "graph"])
def test_scaling_the_signal_moves_decibels(dft: str) -> None:
    mel, waveform = frontend(tiny.MEL, dft), tiny.waveforms(1)
    # A tenth of the amplitude is 20 dB less; both stay far above the floor of -100 dB.
    assert_close(mel(waveform / 10)[0].numpy() + 20, mel(waveform)[0].numpy())


@pytest.mark.parametrize("dft", ["fft", "graph"])
def test_uses_the_filterbank_and_window_of_the_checkpoint(dft: str) -> None:
    state = LogMel(tiny.MEL).state_dict()
    assert sorted(state) == ["filterbank", "window"]
    waveform = tiny.waveforms(2)
    plain = frontend(tiny.MEL, dft)(waveform)
    mel = LogMel(tiny.MEL)
    bank = 4 * state["filterbank"].flip(1)
    mel.load_state_dict({"filterbank": bank, "window": state["window"] / 2})
    if dft == "graph":
        mel.use_graph()
    # Power times 4 by the bank, and by 1/4 by the window; mel bins in reverse.
    assert_close(mel(waveform).flip(2).numpy(), plain.numpy())


def test_bins_above_the_filterbank_are_left_out_and_change_nothing() -> None:
    whole, config = frontend(tiny.MEL, "graph"), dataclasses.replace(tiny.MEL, f_max=2000.0)
    mel = frontend(config, "graph")
    assert mel.two_stage is not None
    assert whole.two_stage is not None
    assert mel.two_stage.second.numel() < whole.two_stage.second.numel()
    waveform = tiny.waveforms(1, 3001)
    assert_close(mel(waveform)[0].numpy(), slow_log_mel(waveform[0].numpy(), config))


@pytest.mark.parametrize(
    ("n_fft", "columns"), [(1024, 32), (256, 16), (400, 20), (512, 16), (64, 8), (1102, 29)]
)
def test_the_dft_is_split_near_its_square_root(n_fft: int, columns: int) -> None:
    assert split(n_fft) == columns


def test_any_window_will_do() -> None:
    mel, waveform = LogMel(tiny.MEL), tiny.waveforms(2)
    mel.window.copy_(torch.rand(256, generator=torch.Generator().manual_seed(0)))
    plain = mel(waveform)
    mel.use_graph()
    assert_close(mel(waveform).numpy(), plain.numpy())


@pytest.mark.parametrize("dft", ["fft", "graph"])
def test_autocast_and_half_precision_input_do_not_lower_the_precision(dft: str) -> None:
    mel, waveform = frontend(tiny.MEL, dft), tiny.waveforms(2)
    plain = mel(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        probe = waveform @ waveform.T
        assert probe.dtype == torch.bfloat16  # autocast is on
        assert torch.equal(mel(waveform), plain)
    halved = mel(waveform.half())
    assert halved.dtype == torch.float32
    assert torch.equal(halved, mel(waveform.half().float()))
