"""Generated sounds to try a model on without any recording: numpy only, the same at every call.

Each function takes a sample rate in Hz and a length in seconds, and returns float32
``[round(seconds * sample_rate)]`` in [-1, 1], with a peak of 0.9 and 5 ms fades. They are sketches
of what makes a class recognisable, not recordings: no accuracy should be measured on them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_export.sounds import synth
from runtime.errors import ClapError
from runtime.files import writing

TICKS_PER_SECOND = 2.0
BLADES_PER_SECOND = 11.0
FIRINGS_PER_SECOND = 27.0
WAIL_LOW_HZ, WAIL_HIGH_HZ, WAIL_SECONDS = 600.0, 1500.0, 2.5
HORN_HZ = (415.0, 523.0)
ALARM_HZ = 2048.0
BELL_PRIME_HZ = 440.0
# A tuned bell's partials: ratio to the prime, level, seconds to fall to 1/e.
BELL_PARTIALS = {
    "hum": (0.5, 0.35, 4.0),
    "prime": (1.0, 0.7, 2.2),
    "tierce": (1.2, 1.0, 1.6),
    "quint": (1.5, 0.35, 0.9),
    "nominal": (2.0, 1.0, 0.9),
    "deciem": (2.5, 0.25, 0.4),
    "superquint": (3.0, 0.4, 0.4),
    "octave nominal": (4.0, 0.3, 0.25),
}

Sound = Callable[[int, float], NDArray[np.float32]]


def siren(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """A tone with harmonics that wails from 600 up to 1500 Hz and back in 2.5 s, echoing a bit."""
    t = synth.times(sample_rate, seconds)
    rise = 0.5 - 0.5 * np.cos(2 * np.pi * t / WAIL_SECONDS)
    pitch = WAIL_LOW_HZ * (WAIL_HIGH_HZ / WAIL_LOW_HZ) ** rise
    x = synth.harmonics(pitch, sample_rate, [1 / k**1.3 for k in range(1, 9)])
    return synth.finish(x + 0.15 * synth.echo(x, sample_rate), sample_rate)


def clock_tick(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Two filtered clicks 12 ms apart, twice a second: a bright tick, then a lower, softer tock."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(2)
    at = np.arange(0.1, seconds, 1 / TICKS_PER_SECOND)
    x = 0.01 * synth.noise(rng, len(t), sample_rate, 100, 4000)
    for first, level, tones in ((0, 1.0, (2600.0, 4300.0)), (1, 0.75, (1900.0, 3300.0))):
        clicks = synth.impulses(at[first::2], level, t, sample_rate)
        clicks += synth.impulses(at[first::2] + 0.012, 0.6 * level, t, sample_rate)
        ring = synth.ring(sample_rate, (*tones, 420.0), (0.004, 0.003, 0.01))
        x += synth.convolve(clicks, ring)
    return synth.finish(x, sample_rate)


def church_bells(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Two bells struck in turn, each a sum of inharmonic partials (hum, prime, minor tierce, quint,
    nominal and above) that beat slightly and decay faster the higher they are."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(3)
    x = np.zeros_like(t)
    for first, tuning in ((0.05, 1.0), (1.05, 0.89)):
        ratios, levels, decays = np.array(list(BELL_PARTIALS.values())).T
        tones = BELL_PRIME_HZ * tuning * ratios
        bell = synth.ring(sample_rate, tones, decays, levels, seconds)
        bell += synth.ring(sample_rate, 1.0012 * tones, decays, 0.3 * levels, seconds)  # beats
        strikes = synth.impulses(np.arange(first, seconds, 2.0), 1.0, t, sample_rate)
        clapper = rng.standard_normal(sample_rate // 100) * np.linspace(0.3, 0, sample_rate // 100)
        bell[: len(clapper)] += clapper
        x += synth.convolve(strikes, bell)
    return synth.finish(x, sample_rate)


def rain(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Steady noise that falls 3 dB an octave up to 9 kHz, under 1,500 random droplets a second of
    2 to 7 kHz that ring for a few milliseconds."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(4)
    x = synth.noise(rng, len(t), sample_rate, 200, 9000, slope_db=-3)
    for tone in (2200.0, 3700.0, 6500.0):
        at = rng.uniform(0, seconds, round(500 * seconds))
        drops = synth.impulses(at, rng.lognormal(-0.5, 0.8, len(at)), t, sample_rate)
        x += 0.5 * synth.convolve(
            drops, synth.ring(sample_rate, (tone, 1.3 * tone), (0.002, 0.001))
        )
    return synth.finish(x, sample_rate)


def car_horn(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Two sawtooth tones (415 and 523 Hz, a major third) blown together, half a second short, then
    long, with a resonance at 2.5 kHz and an echo."""
    t = synth.times(sample_rate, seconds)
    saw = [1 / k for k in range(1, 16)]
    chord = sum(synth.harmonics(np.full_like(t, tone), sample_rate, saw) for tone in HORN_HZ)
    x = synth.shape(np.asarray(chord), sample_rate, [(500, 300, 1.0), (2500, 900, 2.5)], 0.2)
    u = t % 2.5
    x *= np.clip(u / 0.02, 0, 1) * np.clip((0.5 - u) / 0.03, 0, 1) + (
        np.clip((u - 0.75) / 0.02, 0, 1) * np.clip((2.0 - u) / 0.03, 0, 1)
    )
    return synth.finish(x + 0.12 * synth.echo(x, sample_rate), sample_rate)


def dog(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Barks of 0.2 s, two or three in a row: harmonics of a pitch that jumps up and falls (about
    700 to 350 Hz) with breath noise, through formants at 750, 1400 and 2800 Hz, echoing."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(6)
    x = np.zeros_like(t)
    starts = np.cumsum(np.tile([0.38, 0.42, 0.85], int(seconds) + 1)) - 0.28
    starts = starts + rng.uniform(-0.04, 0.04, len(starts))
    for start in starts[starts < seconds - 0.05]:
        first = round(start * sample_rate)
        u = t[: min(round(0.2 * sample_rate), len(t) - first)]
        pitch = rng.uniform(0.9, 1.1) * (350 + 350 * np.exp(-(((u - 0.04) / 0.05) ** 2)))
        bark = synth.harmonics(pitch, sample_rate, [1 / k**0.7 for k in range(1, 13)])
        bark += 0.8 * rng.standard_normal(len(u))
        x[first : first + len(u)] += bark * np.clip(u / 0.012, 0, 1) * np.exp(-((u / 0.11) ** 3))
    x = synth.shape(x, sample_rate, [(750, 200, 1.0), (1400, 300, 0.7), (2800, 500, 0.3)], 0.03)
    return synth.finish(x + 0.06 * synth.echo(x, sample_rate), sample_rate)


def helicopter(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Blades that pass 11 times a second: each a thump below 200 Hz and a swell of noise up to
    3 kHz, over the steady noise of the turbine."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(7)
    turn = BLADES_PER_SECOND * t
    slap = (0.5 + 0.5 * np.cos(2 * np.pi * turn)) ** 3
    thump = np.sin(2 * np.pi * 80 * (turn % 1) / BLADES_PER_SECOND) * np.exp(-6 * (turn % 1))
    wash = synth.noise(rng, len(t), sample_rate, 80, 3000, slope_db=-4)
    steady = synth.noise(rng, len(t), sample_rate, 2500, 9000)
    return synth.finish(1.6 * thump + (0.15 + slap) * wash + 0.12 * steady, sample_rate)


def crackling_fire(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Some 25 random clicks a second of 1.5 to 6 kHz, a few of them far louder than the rest, over
    a low rumble and a faint hiss."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(8)
    x = 0.1 * synth.noise(rng, len(t), sample_rate, 40, 150)
    x += 0.02 * synth.noise(rng, len(t), sample_rate, 1000, 8000)
    for tone, per_second in ((1500.0, 10), (3200.0, 10), (6000.0, 5)):
        at = rng.uniform(0, seconds, max(1, round(per_second * seconds)))
        snaps = synth.impulses(at, np.minimum(0.1 * rng.pareto(1.2, len(at)), 0.8), t, sample_rate)
        hiss = rng.standard_normal(round(0.004 * sample_rate))
        ring = synth.ring(sample_rate, (tone,), (0.002,))[: len(hiss)]
        x += synth.convolve(snaps, ring + hiss * np.exp(-np.linspace(0, 5, len(hiss))))
    return synth.finish(x, sample_rate)


def sea_waves(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Noise that swells and ebbs every 3.5 s: a constant low roar, and foam up to 8 kHz that grows
    with the square of the swell as each wave breaks."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(9)
    u = (t / 3.5 + 0.2) % 1
    swell = np.where(u < 0.4, np.sin(np.pi * u / 0.8), np.cos(np.pi * (u - 0.4) / 1.2)) ** 2
    roar = synth.noise(rng, len(t), sample_rate, 60, 600, slope_db=-3)
    foam = synth.noise(rng, len(t), sample_rate, 500, 8000, slope_db=-2)
    return synth.finish((0.12 + 0.5 * swell) * roar + (0.05 + swell**2) * foam, sample_rate)


def clock_alarm(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Four beeps of 60 ms at 2048 Hz with odd harmonics, once a second, as a quartz clock does."""
    t = synth.times(sample_rate, seconds)
    x = synth.harmonics(np.full_like(t, ALARM_HZ), sample_rate, [1, 0, 0.3, 0, 0.15])
    u, second = t % 0.125, t % 1.0
    beep = np.clip(u / 0.002, 0, 1) * np.clip((0.06 - u) / 0.002, 0, 1) * (second < 0.5)
    return synth.finish(x * beep, sample_rate)


def engine(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """An engine idling: 27 firings a second, irregular by 3 % in time and 15 % in strength, each a
    damped ring of 55 to 420 Hz, with some mechanical noise."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(11)
    count = int(1.2 * FIRINGS_PER_SECOND * seconds) + 1
    at = np.cumsum(1 + 0.03 * rng.standard_normal(count)) / FIRINGS_PER_SECOND
    firings = synth.impulses(at, 1 + 0.15 * rng.standard_normal(count), t, sample_rate)
    tones, decays = (55.0, 110.0, 190.0, 420.0), (0.02, 0.015, 0.01, 0.006)
    x = synth.convolve(firings, synth.ring(sample_rate, tones, decays, (0.7, 1.0, 0.9, 0.8)))
    return synth.finish(
        x + 0.06 * synth.noise(rng, len(t), sample_rate, 300, 3000, -3), sample_rate
    )


def vacuum_cleaner(sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """The hum of a motor (100 Hz and its whine at 640 Hz, with harmonics) under the broad noise of
    the air from 200 to 6000 Hz."""
    t, rng = synth.times(sample_rate, seconds), np.random.default_rng(12)
    hum = synth.harmonics(np.full_like(t, 100.0), sample_rate, [1, 0.8, 0.3, 0.4, 0.2, 0.2])
    whine = synth.harmonics(640 + 4 * np.sin(2 * np.pi * 0.7 * t), sample_rate, [1, 0.5, 0.3, 0.2])
    air = synth.noise(rng, len(t), sample_rate, 200, 6000, slope_db=-2)
    return synth.finish(0.25 * hum + 0.35 * whine + air, sample_rate)


SOUNDS: dict[str, Sound] = {
    "siren": siren,
    "clock tick": clock_tick,
    "church bells": church_bells,
    "rain": rain,
    "car horn": car_horn,
    "dog": dog,
    "helicopter": helicopter,
    "crackling fire": crackling_fire,
    "sea waves": sea_waves,
    "clock alarm": clock_alarm,
    "engine": engine,
    "vacuum cleaner": vacuum_cleaner,
}


def write_demo_sounds(folder: Path, seconds: float = 5.0, sample_rate: int = 44_100) -> list[Path]:
    """Write all sounds as 16-bit WAV files such as ``clock_tick.wav``, over those that are there.

    Returns:
        the files' paths, in the order of :data:`SOUNDS`.

    Raises:
        ClapError: a length or rate out of range, or a folder that cannot be written to.
    """
    paths = [folder / f"{name.replace(' ', '_')}.wav" for name in SOUNDS]
    for path, sound in zip(paths, SOUNDS.values(), strict=True):
        samples = sound(sample_rate, seconds)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ClapError(f"'{folder}' cannot be written: {error.strerror}.") from error
        with writing(path) as part:
            synth.write_wav(part, samples, sample_rate)
    return paths
