"""Fingerprints know a recording again after what happens to files, and no other recording."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from runtime import audio
from tests.places import SHARED_AUDIO
from train.data import fingerprint as fp
from train.data.fingerprint import SAME, Fingerprint, Gallery, fingerprint, of_samples


def recording(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Noise whose bands come and go, float32 at 16 kHz: no two seeds are alike."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(int(seconds * fp.RATE))
    swell = np.interp(np.arange(len(x)), np.linspace(0, len(x), 12), rng.uniform(0.2, 1, 12))
    return (0.1 * x * swell).astype(np.float32)


def reencoded(
    samples: np.ndarray, rate: int, rng: np.random.Generator, cut: float = 0.5
) -> Fingerprint:
    """Cut at the start, amplified, resampled to 24 kHz and through Opus at its lowest bit rates."""
    x = samples[int(rng.uniform(0, cut) * rate) :] * 10 ** (rng.uniform(-10, 3) / 20)
    x = soxr.resample(np.clip(x, -1, 1), rate, 24_000)
    file = io.BytesIO()
    soundfile.write(file, x, 24_000, format="OGG", subtype="OPUS", compression_level=0.9)
    return fingerprint(file.getvalue())


def score(one: Fingerprint, other: Fingerprint) -> float:
    return float(Gallery([other]).scores(one)[0])


def direct(one: Fingerprint, other: Fingerprint) -> float:
    """The definition of a score, offset by offset."""
    best = -np.inf
    a, b = one.bits, other.bits
    for offset in range(-len(a) + 1, len(b)):
        i = np.arange(max(0, -offset), min(len(a), len(b) - offset))
        x, y = a[i], b[i + offset]
        both = (x != 0).any(1) & (y != 0).any(1)
        if both.sum() >= fp.LEAST_FRAMES:
            n = both.sum() * a.shape[1]
            best = max(best, float((x * y).sum() / np.sqrt(n)))
    return best


def test_scores_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)

    def bits(frames: int) -> Fingerprint:
        found = rng.choice([-1.0, 1.0], (frames, fp.BANDS - 1)).astype(np.float32)
        found[rng.random(frames) < 0.2] = 0
        return Fingerprint(found)

    ones, others = [bits(n) for n in (9, 30, 40)], [bits(n) for n in (50, 12, 33, 3, 20)]
    for one in ones:
        want = [direct(one, other) for other in others]
        assert np.allclose(Gallery(others).scores(one), want, atol=1e-4)


def test_many_others_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [of_samples(recording(seed, 1.5 + seed % 3)) for seed in range(9)]
    whole = Gallery(prints).scores(prints[4])
    monkeypatch.setattr(fp, "BLOCK", 2)
    assert np.allclose(Gallery(prints).scores(prints[4]), whole)
    assert int(whole.argmax()) == 4


def test_a_copy_is_known_after_opus_gain_and_a_shift() -> None:
    rng = np.random.default_rng(1)
    for seed in range(6):
        x = recording(seed)
        assert score(of_samples(x), reencoded(x, fp.RATE, rng)) > SAME


def test_a_part_is_known_in_the_whole() -> None:
    x = recording(0, 12.0)
    whole = of_samples(x)
    for start in (0, 50_000, 123_457):
        assert score(of_samples(x[start : start + 2 * fp.RATE]), whole) > SAME


def test_other_recordings_and_common_silence_do_not_match() -> None:
    prints = [of_samples(recording(seed)) for seed in range(12)]
    for i, one in enumerate(prints):
        others = Gallery(prints[:i] + prints[i + 1 :]).scores(one)
        assert others.max() < SAME
    # Two clicks, each followed by the same digital silence, share nothing that is heard.
    quiet = np.zeros(4 * fp.RATE, np.float32)
    one, other = (quiet + np.pad(recording(s, 1.5), (0, len(quiet) - 24_000)) for s in (20, 21))
    assert score(of_samples(one), of_samples(other)) < SAME


def test_an_empty_gallery_has_no_scores() -> None:
    assert len(Gallery([]).scores(of_samples(recording(0)))) == 0


def test_too_little_sound_has_no_fingerprint() -> None:
    short, silent = of_samples(recording(0, 0.8)), of_samples(np.zeros(5 * fp.RATE, np.float32))
    assert not short.usable
    assert not silent.usable
    assert of_samples(recording(0, 1.0)).usable
    long = of_samples(recording(0))
    assert np.isneginf(Gallery([short, silent]).scores(long)).all()
    assert np.isneginf(Gallery([long]).scores(short)).all()
    assert not of_samples(np.zeros(0, np.float32)).usable


def test_a_file_is_brought_to_one_rate(tmp_path: Path) -> None:
    x = recording(3)
    soundfile.write(tmp_path / "a.wav", soxr.resample(x, fp.RATE, 48_000), 48_000)
    assert score(fingerprint(tmp_path / "a.wav"), of_samples(x)) > 2 * SAME


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_AUDIO.is_dir(), reason=f"no labelled audio at {SHARED_AUDIO}")
def test_rates_on_real_recordings() -> None:
    """The figures in the docstring of ``Gallery.scores``."""
    items: list[tuple[Path, str]] = []
    for name, every in (("esc50", 6), ("events", 18), ("urbansound8k", 24)):
        with (SHARED_AUDIO / name / "metadata.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[::every]
        items += [(SHARED_AUDIO / name / r["filename"], r["freesound_id"] or r["recording"])
                  for r in rows]  # fmt: skip

    def pair(number: int) -> tuple[Fingerprint, Fingerprint]:
        samples, rate = audio.decode(items[number][0])
        cut = 0.5 if len(samples) > 2 * rate else 0.05
        copy = reencoded(samples, rate, np.random.default_rng(number), cut)
        return of_samples(audio.resample(samples, rate, fp.RATE)), copy

    with ThreadPoolExecutor() as pool:
        prints, copies = zip(*pool.map(pair, range(len(items))), strict=True)
    gallery = Gallery(copies)
    known, usable, highest, pairs, wrong = 0, 0, 0.0, 0, 0
    for i, (_, source) in enumerate(items):
        if not (prints[i].usable and copies[i].usable):
            continue
        usable += 1
        found = gallery.scores(prints[i])
        known += found[i] >= SAME
        others = [j for j, (_, name) in enumerate(items) if name != source]
        pairs += int(np.isfinite(found[others]).sum())
        wrong += int((found[others] >= SAME).sum())
        highest = max(highest, float(found[others].max()))
    print(f"{len(items)} recordings, {usable} usable, {known} known again")
    print(f"{pairs} pairs of others, {wrong} taken for the same, highest {highest:.2f}")
    assert usable > 0.75 * len(items)
    assert known >= 0.97 * usable
    assert wrong == 0
