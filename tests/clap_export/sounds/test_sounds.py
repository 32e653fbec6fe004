"""Generated sounds: what each promises is measured in its spectrum or its envelope."""

from __future__ import annotations

import time
import wave
from pathlib import Path

import numpy as np
import pytest

from clap_export.sounds import catalogue as sounds
from clap_export.sounds import synth
from runtime import audio
from runtime.errors import ClapError

RATE, SECONDS = 22_050, 5.0


def make(name: str, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    return sounds.SOUNDS[name](rate, seconds).astype(np.float64)


def spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and powers under a Hann window."""
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    return np.fft.rfftfreq(len(x), 1 / RATE), power


def band(x: np.ndarray, low: float, high: float) -> float:
    """Share of the power between two frequencies in Hz."""
    f, power = spectrum(x)
    return float(power[(f >= low) & (f < high)].sum() / power.sum())


def strongest(x: np.ndarray, low: float, high: float) -> float:
    """Frequency in Hz of the highest peak between two."""
    f, power = spectrum(x)
    inside = (f >= low) & (f <= high)
    return float(f[inside][power[inside].argmax()])


def envelope(x: np.ndarray, per_second: int = 200) -> np.ndarray:
    """RMS of each stretch of 1 / per_second seconds."""
    size = RATE // per_second
    n = len(x) // size
    return np.sqrt((x[: n * size].reshape(n, size) ** 2).mean(1))


def beat(x: np.ndarray, low: float, high: float) -> float:
    """Rate in Hz of the strongest periodicity of the envelope between two rates."""
    e = envelope(x, 210)
    e = (e - e.mean()) * np.hanning(len(e))
    power = np.abs(np.fft.rfft(e, 8 * len(e)))
    f = np.fft.rfftfreq(8 * len(e), 1 / (RATE / (RATE // 210)))
    inside = (f >= low) & (f <= high)
    return float(f[inside][power[inside].argmax()])


def bursts(x: np.ndarray, threshold: float, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths in seconds of the stretches louder than a share of the loudest 5 ms, those
    joined that are less than a gap in seconds apart."""
    step = (RATE // 200) / RATE
    loud = np.flatnonzero(envelope(x) > threshold * envelope(x).max())
    parts = np.split(loud, np.flatnonzero(np.diff(loud) * step > gap) + 1)
    starts = np.array([part[0] * step for part in parts])
    return starts, np.array([(part[-1] + 1) * step for part in parts]) - starts


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("name", sounds.SOUNDS)
def test_range_length_and_determinism(name: str, rate: int) -> None:
    x = sounds.SOUNDS[name](rate, 1.3)
    assert x.dtype == np.float32
    assert x.shape == (round(1.3 * rate),)
    assert np.isfinite(x).all()
    assert np.abs(x).max() == pytest.approx(0.9, abs=1e-6)
    assert abs(x[0]) < 1e-6
    assert abs(x[-1]) < 1e-6
    assert x.std() > 0.003
    np.testing.assert_array_equal(x, sounds.SOUNDS[name](rate, 1.3))


@pytest.mark.parametrize("name", sounds.SOUNDS)
@pytest.mark.parametrize("seconds", [0.5, 0.77])
def test_short_lengths(name: str, seconds: float) -> None:
    x = sounds.SOUNDS[name](16_000, seconds)
    assert len(x) == round(16_000 * seconds)
    assert np.isfinite(x).all()


def test_siren_wails_between_600_and_1500_hz_in_2_5_seconds() -> None:
    x = make("siren")
    size = RATE // 20
    pitches = [strongest(x[i : i + size], 500, 1700) for i in range(0, len(x) - size, size)]
    times = (np.arange(len(pitches)) + 0.5) / 20
    wanted = 600 * 2.5 ** (0.5 - 0.5 * np.cos(2 * np.pi * times / 2.5))
    # Bins are 20 Hz wide, and the echo drags behind.
    assert np.abs(np.array(pitches) - wanted).max() < 60
    assert min(pitches) < 640
    assert max(pitches) > 1450


def test_siren_has_harmonics() -> None:
    # At its top, where the pitch stands still.
    top = make("siren")[round(1.15 * RATE) : round(1.35 * RATE)]
    assert strongest(top, 2000, 3600) == pytest.approx(3000, abs=60)
    assert strongest(top, 3800, 5000) == pytest.approx(4500, abs=80)


def test_clock_ticks_twice_a_second_and_alternates() -> None:
    x = make("clock tick")
    assert beat(x, 1.2, 3.0) == pytest.approx(2.0, abs=0.05)
    starts, lengths = bursts(x, 0.3, 0.1)
    np.testing.assert_allclose(starts, 0.1 + 0.5 * np.arange(10), atol=0.011)
    assert lengths.max() < 0.05
    each = [x[round(s * RATE) : round((s + 0.1) * RATE)] for s in starts + 0.001]
    bright = [band(part, 2000, 6000) for part in each]
    assert min(bright[0::2]) > max(bright[1::2])


def test_bell_partials_are_there_and_high_ones_decay_faster() -> None:
    # The second bell is struck after 1.05 s.
    first = make("church bells")[round(0.08 * RATE) : RATE]
    f, power = spectrum(first)
    for ratio, _, _ in sounds.BELL_PARTIALS.values():
        tone = sounds.BELL_PRIME_HZ * ratio
        near = np.abs(f - tone) < 4
        around = (np.abs(f - tone) > 15) & (np.abs(f - tone) < 40)
        assert power[near].max() > 100 * np.median(power[around]), ratio
    early, late = first[: RATE // 3], first[-RATE // 3 :]
    assert band(late, 1700, 1820) < 0.5 * band(early, 1700, 1820)
    assert band(late, 200, 460) > 1.2 * band(early, 200, 460)


def test_rain_is_steady_and_broad() -> None:
    x = make("rain")
    e = envelope(x, 20)
    assert e.std() / e.mean() < 0.25
    f, power = spectrum(x)
    inside = (f > 100) & (f < 10_000)
    flatness = np.exp(np.log(power[inside] + 1e-20).mean()) / power[inside].mean()
    assert flatness > 0.2  # of a tone it is near 0; of white noise's periodogram e^-0.58 = 0.56
    assert band(x, 1000, 8000) > 0.5
    # Droplets make it more peaked than Gaussian noise, whose kurtosis is 3.
    assert (x**4).mean() / (x**2).mean() ** 2 > 3.3


def test_horn_has_two_tones_with_all_harmonics_and_two_honks() -> None:
    x = make("car horn")
    honk = x[round(0.9 * RATE) : round(1.9 * RATE)]
    for tone in sounds.HORN_HZ:
        for k in (1, 2, 3, 6):
            assert strongest(honk, k * tone - 15, k * tone + 15) == pytest.approx(k * tone, abs=2)
    starts, lengths = bursts(x, 0.3, 0.01)
    np.testing.assert_allclose(starts, [0.0, 0.75, 2.5, 3.25], atol=0.02)
    np.testing.assert_allclose(lengths, [0.5, 1.25, 0.5, 1.25], atol=0.1)


def test_dog_barks_in_short_bursts_whose_pitch_jumps_and_falls() -> None:
    x = make("dog")
    starts, lengths = bursts(x, 0.3, 0.12)
    assert 6 <= len(starts) <= 11
    assert lengths.max() < 0.25
    assert np.diff(starts).min() > 0.25
    for start in starts:
        top, end = (
            x[round((start + at) * RATE) : round((start + at + 0.045) * RATE)] for at in (0.02, 0.1)
        )
        # At the top the first harmonic is near 700 Hz, at the end near 350.
        assert band(end, 280, 450) > 3 * band(top, 280, 450)
    assert band(x, 300, 3500) > 0.85


def test_helicopter_blades_pass_11_times_a_second() -> None:
    x = make("helicopter")
    assert beat(x, 4, 20) == pytest.approx(11.0, abs=0.2)
    assert band(x, 0, 300) > 0.3


def test_fire_crackles_sparsely_over_a_rumble() -> None:
    x = make("crackling fire")
    assert np.abs(x).max() / x.std() > 10
    assert (x**4).mean() / (x**2).mean() ** 2 > 8  # Gaussian noise: 3
    assert band(x, 20, 250) > 0.1
    starts, lengths = bursts(np.diff(x), 0.2, 0.01)  # the difference drops the rumble
    assert 10 <= len(starts) <= 150
    assert np.median(lengths) < 0.02


def test_waves_swell_every_3_5_seconds_and_brighten() -> None:
    x = make("sea waves", 21.0)
    assert beat(x, 0.1, 2.0) == pytest.approx(1 / 3.5, abs=0.03)
    size = RATE // 4
    parts = [x[i : i + size] for i in range(0, len(x) - size, size)]
    level = np.array([part.std() for part in parts])
    bright = np.array([band(part, 1500, 9000) for part in parts])
    assert level.max() / level.min() > 4
    assert np.corrcoef(np.log(level), bright)[0, 1] > 0.5


def test_alarm_beeps_four_times_each_second_at_2048_hz() -> None:
    x = make("clock alarm")
    assert strongest(x, 100, 10_000) == pytest.approx(2048, abs=2)
    assert strongest(x, 5000, 7000) == pytest.approx(3 * 2048, abs=2)
    starts, lengths = bursts(x, 0.3, 0.01)
    wanted = [second + 0.125 * k for second in range(5) for k in range(4)]
    np.testing.assert_allclose(starts, wanted, atol=0.01)
    np.testing.assert_allclose(lengths, 0.06, atol=0.012)


def test_engine_fires_27_times_a_second_irregularly() -> None:
    x = make("engine")
    assert beat(x, 15, 45) == pytest.approx(27, abs=0.6)
    assert band(x, 20, 500) > 0.7
    # The attack of a firing is its loudest moment, and the next comes 37 ms later.
    e = envelope(x, 1000)
    peaks = np.flatnonzero((e[1:-1] > e[:-2]) & (e[1:-1] >= e[2:]) & (e[1:-1] > 0.5 * e.max()))
    gaps = np.diff(peaks)[np.diff(peaks) > 20] / 1000
    assert 0.005 < np.std(gaps[gaps < 0.055]) / np.mean(gaps[gaps < 0.055]) < 0.15


def test_vacuum_cleaner_hums_in_broad_steady_noise() -> None:
    x = make("vacuum cleaner")
    e = envelope(x, 20)
    assert e.std() / e.mean() < 0.15
    assert strongest(x, 60, 150) == pytest.approx(100, abs=1)
    assert strongest(x, 580, 700) == pytest.approx(640, abs=6)
    assert band(x, 1000, 8000) > 0.3


def test_written_files_hold_the_sounds(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    began = time.process_time()
    paths = sounds.write_demo_sounds(folder, seconds=1.0, sample_rate=16_000)
    assert time.process_time() - began < 5  # takes 0.1 s; a Python loop over samples would show
    assert [path.name for path in paths] == [f"{n.replace(' ', '_')}.wav" for n in sounds.SOUNDS]
    for path, sound in zip(paths, sounds.SOUNDS.values(), strict=True):
        with wave.open(str(path), "rb") as file:
            assert file.getparams()[:4] == (1, 2, 16_000, 16_000)
        read, rate = audio.decode(path)
        assert rate == 16_000
        # Half a step of rounding, and full scale is 32767 written but 32768 read.
        np.testing.assert_allclose(read, sound(16_000, 1.0), atol=1.5 / 32768)
    again = sounds.write_demo_sounds(folder, seconds=1.0, sample_rate=16_000)
    assert again == paths


@pytest.mark.parametrize(
    ("rate", "seconds", "said"),
    [(4000, 1.0, "sample_rate=4000"), (16_000, 0.0, "seconds=0.0"), (16_000, 1e9, "seconds=")],
)
def test_impossible_requests_say_what_is_possible(
    tmp_path: Path, rate: int, seconds: float, said: str
) -> None:
    with pytest.raises(ClapError, match=said):
        sounds.write_demo_sounds(tmp_path / "x", seconds, rate)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ClapError, match="cannot be written"):
        sounds.write_demo_sounds(tmp_path / "taken", 0.5, 8000)


def test_convolution_is_the_direct_sum() -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(50), rng.standard_normal(13)
    slow = [sum(x[i - j] * kernel[j] for j in range(13) if i >= j) for i in range(50)]
    np.testing.assert_allclose(synth.convolve(x, kernel), slow, atol=1e-12)


def test_harmonics_above_half_the_rate_are_left_out() -> None:
    x = synth.harmonics(np.full(RATE, 4000.0), RATE, [1, 1, 1, 1])  # the third would be at 12 kHz
    f, power = spectrum(x)
    peaks = f[power > 0.01 * power.max()]
    assert {round(p, -3) for p in peaks} == {4000, 8000}


def test_a_rising_harmonic_stops_at_half_the_rate() -> None:
    pitch = np.repeat([3000.0, 4000.0], RATE // 2)
    x = synth.harmonics(pitch, RATE, [0, 0, 1])
    assert x[: RATE // 2].std() > 0.7
    assert not x[RATE // 2 :].any()
