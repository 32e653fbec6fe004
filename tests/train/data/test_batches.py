"""Batches depend on seed, epoch, step and row, and on nothing else."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from runtime.errors import AudioError, ClapError
from tests import tiny
from train.config.data import AugmentConfig
from train.data.clips import ClipStore, Draws
from train.data.listing import Clip
from train.data.prefetch import AHEAD, Batch
from train.machine.distributed import ALONE, Ranks

SPEC = dataclasses.replace(tiny.config().audio, window_samples=1000, hop_samples=1000)
VARIED = AugmentConfig(gain_db=6.0, speed=0.1)


def clips(folder: Path, count: int = 8) -> list[Clip]:
    """Longer, equal and shorter than a window, at several rates, of different weights."""
    found = []
    for i in range(count):
        rate, n = (SPEC.sample_rate, 44_100, 22_050)[i % 3], (400, 1000, 5000, 30_000)[i % 4]
        path = folder / f"{i}.wav"
        x = 0.2 * np.random.default_rng(i).standard_normal(n)
        soundfile.write(path, x, rate, subtype="FLOAT" if i % 2 else "PCM_16")
        found.append(Clip(path, ("x",), (), "x", 1.0 + i % 2))
    return found


def draws(seed: int = 0, epoch: int = 0, augment: AugmentConfig = VARIED) -> Draws:
    return Draws(seed, epoch, 12, augment)


def taken(store: ClipStore, steps: range, ranks: Ranks = ALONE) -> list[Batch]:
    return list(store.batches(draws(3, 1), steps, ranks))


def same(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.indices, other.indices) and torch.equal(one.windows, other.windows)


def test_the_same_batches_for_any_number_of_threads(tmp_path: Path) -> None:
    found = clips(tmp_path)
    one, three = (taken(ClipStore(found, SPEC, threads), range(5)) for threads in (1, 3))
    assert len(one) == len(three) == 5
    assert all(itertools.starmap(same, zip(one, three, strict=True)))
    assert one[0].windows.shape == (12, 1000)
    assert one[0].windows.dtype == torch.float32
    assert one[0].indices.dtype == np.int64


def test_a_resumed_run_gets_the_steps_that_are_left(tmp_path: Path) -> None:
    store = ClipStore(clips(tmp_path), SPEC)
    whole, rest = taken(store, range(6)), taken(store, range(4, 6))
    assert all(itertools.starmap(same, zip(whole[4:], rest, strict=True)))


@pytest.mark.parametrize("world", [2, 5])
def test_the_ranks_share_the_rows_of_the_joint_batch(tmp_path: Path, world: int) -> None:
    store = ClipStore(clips(tmp_path), SPEC)
    for rank in range(world):
        for part, joint in zip(
            taken(store, range(3), Ranks(rank, world)), taken(store, range(3)), strict=True
        ):
            assert same(part, Batch(joint.indices[rank::world], joint.windows[rank::world]))


def test_a_rank_without_a_row_is_refused_before_any_work(tmp_path: Path) -> None:
    store = ClipStore(clips(tmp_path), SPEC)
    for rank, world in ((2, 2), (-1, 2), (12, 13)):
        with pytest.raises(ValueError, match="gets no row of a batch of 12"):
            store.batches(draws(), range(1), Ranks(rank, world))


def test_seeds_epochs_and_steps_give_batches_of_their_own(tmp_path: Path) -> None:
    store = ClipStore(clips(tmp_path), SPEC)
    kinds = [
        batch
        for seed, epoch in itertools.product((0, 1), (0, 1))
        for batch in store.batches(draws(seed, epoch), range(2))
    ]
    assert len({batch.windows.numpy().tobytes() for batch in kinds}) == 8
    # Rows of one clip differ too: each draws its own place.
    alone = ClipStore(clips(tmp_path)[3:4], SPEC)
    (batch,) = alone.batches(draws(), range(1))
    assert len({row.tobytes() for row in batch.windows.numpy()}) == 12


def test_clips_are_drawn_by_weight(tmp_path: Path) -> None:
    store = ClipStore(clips(tmp_path, 2), SPEC)
    drawn = Counter(
        int(index)
        for batch in store.batches(Draws(0, 0, 100, AugmentConfig()), range(60))
        for index in batch.indices
    )
    assert abs(drawn[1] / 6000 - 2 / 3) < 5 * np.sqrt(2 / 9 / 6000)


@pytest.mark.parametrize("augment", [AugmentConfig(), VARIED])
def test_streamed_windows_are_those_of_memory(tmp_path: Path, augment: AugmentConfig) -> None:
    found = clips(tmp_path)
    held, streamed = ClipStore(found, SPEC), ClipStore(found, SPEC, memory=0)
    assert held.held
    assert not streamed.held
    drawn = draws(3, 1, augment), range(8)
    for one, other in zip(held.batches(*drawn), streamed.batches(*drawn), strict=True):
        assert np.array_equal(one.indices, other.indices)
        at_rate = np.array([index % 3 == 0 for index in one.indices])
        if augment == AugmentConfig():
            assert torch.equal(one.windows[at_rate], other.windows[at_rate])
        # A step of int16, with the gain on it, where the clip was resampled.
        assert (one.windows - other.windows).abs().max() <= 1.01 / 32768 * 2


def test_clips_are_held_up_to_the_memory_allowed(tmp_path: Path) -> None:
    found = clips(tmp_path, 4)
    size = 2 * sum(len(samples) for samples in ClipStore(found, SPEC).samples)
    assert ClipStore(found, SPEC, memory=size).held
    assert not ClipStore(found, SPEC, memory=size - 1).held


def test_closing_early_ends_the_threads(tmp_path: Path) -> None:
    store = ClipStore(clips(tmp_path), SPEC, threads=3)
    with closing(store.batches(draws(), range(10**6))) as batches:
        next(batches)
        assert [t for t in threading.enumerate() if t.name.startswith("rows")]
    assert not [t for t in threading.enumerate() if t.name.startswith("rows")]


def test_no_more_than_a_few_batches_are_prepared_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ClipStore(clips(tmp_path), SPEC, threads=2)
    cut = itertools.count()
    window = store.window

    def counted(*arguments: object) -> np.ndarray:
        next(cut)
        return window(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(store, "window", counted)
    with closing(store.batches(draws(), range(100))) as batches:
        for _ in range(3):
            next(batches)
    assert next(cut) <= (3 + AHEAD) * 12


def broken(path: Path) -> Path:
    """A FLAC file whose header is fine and whose end is missing."""
    buffer = io.BytesIO()
    noise = 0.2 * np.random.default_rng(0).standard_normal(200_000)
    soundfile.write(buffer, noise, SPEC.sample_rate, format="FLAC")
    path.write_bytes(buffer.getvalue()[:3000])
    return path


def test_a_file_that_turns_out_bad_gives_its_rows_to_others(tmp_path: Path) -> None:
    found = [*clips(tmp_path), Clip(broken(tmp_path / "bad.flac"), ("x",), (), "x", 4.0)]
    stores = [ClipStore(found, SPEC, n, memory=0, bad_share=0.2) for n in (1, 3)]
    assert all(len(store.clips) == 9 for store in stores)  # the header says nothing of it
    one, three = (taken(store, range(6)) for store in stores)
    assert all(itertools.starmap(same, zip(one, three, strict=True)))
    assert not any(8 in batch.indices for batch in one)
    # And once it is known, the batches are still those.
    assert all(itertools.starmap(same, zip(one, taken(stores[0], range(6)), strict=True)))
    # Rows that drew a good clip have it as they would without the bad file's failure.
    drawn = stores[0].draw(np.random.default_rng(np.random.SeedSequence(3, spawn_key=(1, 0))), 12)
    assert 8 in drawn
    assert np.array_equal(one[0].indices[drawn != 8], drawn[drawn != 8])


def test_bad_files_are_written_down_with_their_reasons(tmp_path: Path) -> None:
    missing = Clip(tmp_path / "missing.wav", ("x",), (), "x", 1.0)
    found = [*clips(tmp_path), missing, Clip(broken(tmp_path / "bad.flac"), ("x",), (), "x", 4.0)]
    store = ClipStore(found, SPEC, memory=0, bad_share=0.2)
    taken(store, range(4))
    store.write_report(tmp_path)
    report = json.loads((tmp_path / "data.json").read_text())
    assert report["clips"] == 9
    assert report["held_in_memory"] is False
    assert [Path(entry["path"]).name for entry in report["bad"]] == ["missing.wav", "bad.flac"]
    assert "does not exist" in report["bad"][0]["reason"]
    seconds = sum(map(store.samples.length, range(9))) / SPEC.sample_rate
    assert report["hours"] == pytest.approx(seconds / 3600, abs=1e-3)


@pytest.mark.parametrize("memory", [None, 0])
def test_more_than_the_allowed_share_of_bad_files_ends_the_run(
    tmp_path: Path, memory: int | None
) -> None:
    found = [*clips(tmp_path), Clip(broken(tmp_path / "bad.flac"), ("x",), (), "x", 4.0)]
    with pytest.raises(ClapError, match=r"1 of 9 clips could not be read, more than the share of "
                                        r"0\.1 .*bad\.flac"):  # fmt: skip
        taken(ClipStore(found, SPEC, memory=memory, bad_share=0.1), range(6))


def test_what_a_row_raises_reaches_the_reader_and_the_threads_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ClipStore(clips(tmp_path), SPEC, threads=2)

    def fails(*_: object) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(store, "window", fails)
    with pytest.raises(ZeroDivisionError):
        next(store.batches(draws(), range(5)))
    assert not [t for t in threading.enumerate() if t.name.startswith("rows")]

    def unreadable(*_: object) -> np.ndarray:
        raise AudioError("gone")

    monkeypatch.setattr(store, "window", unreadable)
    with pytest.raises(ClapError, match=r"could (not )?be read"):
        next(store.batches(draws(), range(5)))
