"""Augmentation changes what it says and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.config.data import AugmentConfig
from train.data.augment import MelAugment, mix, mixstyle, partners

SAMPLES = 800


def orthogonal(count: int) -> torch.Tensor:
    """Sines of whole periods: their products sum to zero, so energies add. Levels 0.1, 0.2, …"""
    t = torch.arange(SAMPLES) / SAMPLES
    sines = [torch.sin(2 * torch.pi * (3 + 7 * i) * t) for i in range(count)]
    return torch.stack([0.1 * (i + 1) * sine for i, sine in enumerate(sines)])


def shares(waveforms: torch.Tensor, mixed: torch.Tensor) -> np.ndarray:
    """Amplitude of each sine in each mixed clip, relative to the sine's own level."""
    dots = (mixed.double() @ waveforms.double().T).numpy()
    return dots / (waveforms.double().square().sum(1).numpy())


def test_mix_keeps_the_clips_energy_and_the_targets_sum() -> None:
    clips, target = orthogonal(8), torch.eye(8)
    mixed, weights = mix(clips, target, 1.0, np.random.default_rng(0))
    assert mixed.shape == clips.shape
    assert (weights.sum(1) - 1).abs().max() < 1e-6
    assert (weights.diagonal() < 1).all()
    ratio = mixed.square().mean(1) / clips.square().mean(1)
    assert (ratio - 1).abs().max() < 1e-4
    assert (weights >= 0).all()
    assert (weights.diagonal() >= 0.5).all()  # the clip itself stays the louder one


def test_mix_is_between_class_learning() -> None:
    """Amplitudes are p : 1 - p of clips brought to one level, and p is the target."""
    clips, target = orthogonal(8), torch.eye(8)
    mixed, weights = mix(clips, target, 1.0, np.random.default_rng(1))
    level = clips.square().mean(1).sqrt().numpy()
    found = shares(clips, mixed) * level[None, :]  # level of each sine in each mixed clip
    assert ((weights > 0).sum(1) == 2).all()
    for row in range(8):
        p = weights[row].double().numpy()
        want = p / np.sqrt((p**2).sum()) * level[row]
        assert np.abs(found[row] - want).max() < 1e-5


def test_unmixed_clips_are_unchanged() -> None:
    clips, target = orthogonal(200), torch.eye(200)
    none, same = mix(clips, target, 0.0, np.random.default_rng(0))
    assert torch.equal(none, clips)
    assert torch.equal(same, target)
    some, weights = mix(clips, target, 0.5, np.random.default_rng(0))
    untouched = weights.diagonal() == 1
    assert 60 < untouched.sum() < 140
    assert torch.equal(some[untouched], clips[untouched])
    assert not any(torch.equal(some[i], clips[i]) for i in torch.nonzero(~untouched)[:, 0])


def test_mix_with_silence_is_finite() -> None:
    clips = torch.cat([orthogonal(2), torch.zeros(2, SAMPLES)])
    mixed, _ = mix(clips, torch.eye(4), 1.0, np.random.default_rng(0))
    assert torch.isfinite(mixed).all()
    assert mixed.abs().max() < 1


def test_partners_are_a_ring_of_others() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        found = partners(5, rng)
        at, visited = 0, []
        for _ in range(5):
            at = int(found[at])
            visited.append(at)
        assert sorted(visited) == list(range(5))  # one ring through all, back at the start
        seen.add(tuple(found))
    assert len(seen) == 24  # every ring of five occurs
    assert partners(1, rng).tolist() == [0]


def test_mixstyle_moves_spectra_between_two_clips_and_keeps_what_happens_in_time() -> None:
    before = decibels(16)
    after = mixstyle(before, np.random.default_rng(0))
    assert after.shape == before.shape
    ring = partners(16, np.random.default_rng(0))
    for clip in range(16):
        own, other = before[clip], before[ring[clip]]
        # One share moves every bin's mean and deviation from the clip's own towards its partner's.
        for statistic in (lambda x: x.mean(0), lambda x: x.std(0)):
            way = statistic(other) - statistic(own)
            step = statistic(after[clip]) - statistic(own)
            share = float(step @ way / (way @ way))
            assert -1e-3 <= share <= 1 + 1e-3
            assert (step - share * way).abs().max() < 0.02
        joint = torch.stack([own, after[clip]]).permute(2, 0, 1)
        correlation = torch.stack([torch.corrcoef(pair)[0, 1] for pair in joint])
        assert (correlation - 1).abs().max() < 1e-4  # in each bin, time goes on as it was


def test_mixstyle_of_silence_is_finite() -> None:
    quiet = torch.full((3, 20, 8), -100.0)
    assert torch.isfinite(mixstyle(quiet, np.random.default_rng(0))).all()


def decibels(batch: int, frames: int = 60, bins: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return -40 + 20 * torch.randn(batch, frames, bins, generator=generator)


@pytest.mark.parametrize("axis", ["time", "frequency"])
def test_masks_touch_only_two_runs_of_one_axis(axis: str) -> None:
    widest = 7
    augment = MelAugment(AugmentConfig(**{f"{axis}_mask": widest}))
    log_mel = decibels(40)
    torch.manual_seed(0)
    got = augment(log_mel)
    assert got.shape == log_mel.shape
    level = log_mel.mean(dim=(1, 2))
    widths = []
    for before, after, mean in zip(log_mel, got, level, strict=True):
        changed = (before - after).abs() > 1e-4
        other = 1 if axis == "time" else 0
        assert torch.equal(changed.all(dim=other), changed.any(dim=other))  # whole rows
        assert ((after - mean).abs() < 1e-4)[changed].all()
        rows = changed.all(dim=other).int()
        begins = int((rows.diff(prepend=torch.zeros(1, dtype=torch.int)) == 1).sum())
        assert begins <= 2
        assert rows.sum() <= 2 * widest
        widths.append(int(rows.sum()))
    assert max(widths) > widest  # two masks
    assert len(set(widths)) > 4  # drawn for each clip


def test_filter_is_smooth_bounded_and_the_same_for_all_frames_of_a_clip() -> None:
    augment = MelAugment(AugmentConfig(filter_db=6.0))
    log_mel = decibels(200)
    torch.manual_seed(0)
    curve = augment(log_mel) - log_mel
    assert (curve - curve[:, :1]).abs().max() < 1e-4  # over time
    curve = curve[:, 0]
    assert curve.abs().max() <= 6.0 + 1e-4
    assert curve.abs().max() > 5.5
    # Straight lines between 6 points over 32 bins: at most 12 dB in 31 / 5 bins.
    assert curve.diff(dim=1).abs().max() < 12 / (31 / 5) + 1e-3
    bends = curve.diff(n=2, dim=1).abs() > 1e-3
    assert bends.sum(1).max() <= 8  # each of the 4 inner points bends at most two steps
    assert curve.std(dim=0).min() > 1  # clips differ


def test_nothing_asked_nothing_changed() -> None:
    log_mel = decibels(3)
    assert torch.equal(MelAugment(AugmentConfig(gain_db=3, mix=0.5))(log_mel), log_mel)
