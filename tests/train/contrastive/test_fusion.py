"""A model with feature fusion is fine-tuned on short clips and on long ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.contrastive import TrainConfig
from train.config.data import AugmentConfig
from train.contrastive.run import run
from train.data.clips import ClipStore, Draws
from train.data.listing import read_listing

pytestmark = pytest.mark.usefixtures("one_thread")


def config(tmp_path: Path, audio: str = tiny.FUSION, **loop: object) -> TrainConfig:
    start = tiny.save(tmp_path / "start.safetensors", audio=audio)
    base = tinyrun.config(tmp_path, epochs=3, steps_per_epoch=6, text_from_epoch=0, **loop)
    return replace(base, init=str(start), model=None)


def test_steps_are_of_one_length_each_and_long_ones_as_often_as_asked(tmp_path: Path) -> None:
    store = ClipStore(read_listing(tinyrun.listing(tmp_path, range(2))), tiny.config().audio)
    draws = Draws(3, 0, 2, AugmentConfig(), long_share=0.5, long_windows=3)
    batches = list(store.batches(draws, range(40)))
    lengths = [batch.windows.shape[1] / tiny.WINDOW for batch in batches]
    assert set(lengths) == {1, 3}
    assert 10 <= lengths.count(3) <= 30
    long = batches[lengths.index(3)].windows[0].numpy()
    assert np.array_equal(long[: tiny.WINDOW], long[tiny.WINDOW : 2 * tiny.WINDOW])  # repeated


def test_the_part_that_hears_long_clips_learns(tmp_path: Path) -> None:
    made = config(tmp_path, long_share=0.5, long_windows=2, accumulate=2, ema=0.0)
    before = load(tmp_path / "start.safetensors").model.state_dict()
    after = load(run(made)).model
    assert after.config.audio.long_clips == "fusion"
    moved = {name for name, value in after.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert any(name.startswith("audio_encoder.fusion.") for name in moved)
    assert "audio_encoder.layers.0.blocks.0.attn.qkv.weight" in moved
    records = [json.loads(x) for x in (made.folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]


def test_short_clips_alone_do_not_move_it_and_so_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"set loop\.long_share"):
        run(config(tmp_path))
    with pytest.raises(ClapError, match="which this one has not"):
        run(config(tmp_path, "cnn14", long_share=0.5))
