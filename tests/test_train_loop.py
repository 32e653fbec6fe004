"""The loop learns, and a run that was stopped goes on as if it had not been."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tinyrun
import torch

from clap_export.checkpoints import load
from clap_export.model.clap import ClapModel
from train.captions import CaptionBank
from train.clips import ClipStore
from train.config import AugmentConfig, TrainConfig
from train.evaluate import ClipStoreFactory, Task
from train.listing import Clip, read_listing
from train.loop import _candidates, train

CPU = torch.device("cpu")
EVERYTHING = AugmentConfig(
    gain_db=6, speed=0.05, mix=0.5, mixstyle=0.5, time_mask=8, frequency_mask=4, filter_db=4
)


def run(config: TrainConfig, store: ClipStore | None = None, seed: int = 0) -> ClapModel:
    """Train from fresh weights."""
    config.folder.mkdir(exist_ok=True)
    store = store or store_of(config)
    tasks = [Task(task, ClipStoreFactory(config.model.audio)) for task in config.tasks]
    torch.manual_seed(seed)
    return train(ClapModel(config.model), tiny.tokenizer(), store, tasks, config, CPU)


def store_of(config: TrainConfig) -> ClipStore:
    return ClipStore(read_listing(config.listings[0]), config.model.audio)


def metrics(config: TrainConfig) -> list[dict[str, Any]]:
    """Records of the epochs, without the time that they took."""
    lines = (config.folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def assert_equal(a: Any, b: Any) -> None:
    """Bit-equal, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


def test_learns_to_tell_sounds_apart(tmp_path: Path) -> None:
    config = tinyrun.config(
        tmp_path, epochs=10, steps_per_epoch=6, text_from_epoch=5, validate_every=10
    )
    model = run(config)
    records = metrics(config)
    assert records[-1]["held-out"] == 1.0
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert not model.training
    # The file is the model that was validated.
    saved = load(tmp_path / "run" / "model.safetensors").model
    assert_equal(dict(saved.state_dict()), dict(model.state_dict()))
    tasks = [Task(task, ClipStoreFactory(config.model.audio)) for task in config.tasks]
    assert tasks[0].run(saved, tiny.tokenizer(), CPU).accuracy == 1.0


class Stopped(Exception):
    pass


class StoppingStore:
    """A clip store that ends the run in the middle of an epoch."""

    def __init__(self, store: ClipStore, draws: int) -> None:
        self._store, self._left = store, draws

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        if self._left == 0:
            raise Stopped
        self._left -= 1
        return self._store.draw(rng, count)


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_a_run_that_was_stopped_ends_with_the_same_bits(ema: float, tmp_path: Path) -> None:
    base = tinyrun.config(tmp_path, augment=EVERYTHING, dropout=0.2, ema=ema)
    whole = replace(base, out=str(tmp_path / "whole"))
    parts = replace(base, out=str(tmp_path / "parts"))
    store = store_of(base)
    want = run(whole, store)
    # Stopped in epochs 2 and 4, while the text tower is frozen and while it learns; each start
    # has other weights, as a check that they do not matter.
    for seed, draws in ((0, 4), (11, 7)):
        with pytest.raises(Stopped):
            run(parts, StoppingStore(store, draws), seed)
    assert len(metrics(parts)) == 3
    got = run(parts, store, seed=12)
    assert_equal(dict(got.state_dict()), dict(want.state_dict()))
    states = [torch.load(c.folder / "last.pt", weights_only=True) for c in (whole, parts)]
    assert_equal(states[0], states[1])
    assert metrics(whole) == metrics(parts)
    assert [r["epoch"] for r in metrics(parts)] == [1, 2, 3, 4]
    names = {"last.pt", "metrics.jsonl", "model.safetensors"}
    assert {path.name for path in parts.folder.iterdir()} == names


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, epochs=1)
    first = run(config)
    again = run(config, StoppingStore(store_of(config), 0), seed=5)
    assert_equal(dict(again.state_dict()), dict(first.state_dict()))
    assert len(metrics(config)) == 1


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    base = tinyrun.config(tmp_path, epochs=1, augment=EVERYTHING)
    losses = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        config = replace(base, out=str(tmp_path / name), seed=seed)
        run(config)
        losses.append(metrics(config)[0]["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_the_text_tower_is_frozen_until_its_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fresh = ClapModel(tiny.config()).state_dict()
    for name, start in (("frozen", 1), ("free", 0)):
        (tmp_path / name).mkdir()
        config = tinyrun.config(tmp_path / name, epochs=1, text_from_epoch=start, ema=0.0)
        trained = run(config).state_dict()
        moved = {k for k in trained if not torch.equal(trained[k], fresh[k])}
        assert any(k.startswith("audio_encoder.blocks") for k in moved)
        assert "text_projection.linear1.weight" in moved
        assert "logit_scale" in moved
        assert any(k.startswith("text_encoder.") for k in moved) == (name == "free")
        assert not any(k.startswith("mel.") for k in moved)


def test_validates_as_often_as_asked_and_at_the_end(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, epochs=5, steps_per_epoch=1, validate_every=3)
    run(config)
    assert [r["epoch"] for r in metrics(config) if "held-out" in r] == [3, 5]


def test_average_follows_the_weights(tmp_path: Path) -> None:
    """After one epoch of three steps from w0: the average of w1, w2, w3 by the EMA's rule."""
    seen: list[torch.Tensor] = []
    config = tinyrun.config(tmp_path, epochs=1, ema=0.8)

    class Watching(StoppingStore):
        def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
            seen.append(model.audio_projection.linear1.weight.detach().clone())
            return super().draw(rng, count)

    config.folder.mkdir()
    model = ClapModel(config.model)
    train(model, tiny.tokenizer(), Watching(store_of(config), 9), [], config, CPU)
    seen.append(model.audio_projection.linear1.weight.detach())
    want = seen[1].double()  # the first update copies
    for n, weight in enumerate(seen[2:], start=1):
        decay = min(0.8, (1 + n) / (10 + n))  # a short memory at first
        want = decay * want + (1 - decay) * weight.double()
    saved = load(tmp_path / "run" / "model.safetensors").model
    got = saved.audio_projection.linear1.weight.detach()
    assert (got - want).abs().max() < 1e-6
    assert (seen[1] - seen[3]).abs().max() > 1e-4


def test_candidates_are_one_text_for_each_label_and_some_others() -> None:
    clips = [Clip(Path(label), (f"{label} 1", f"{label} 2"), (), label, 1.0) for label in "abcdef"]
    bank, rng = CaptionBank(clips, []), np.random.default_rng(0)
    label_of_text = [text[0] for text in bank.texts]
    labels = np.array([4, 1, 4, 0])
    for negatives, others in ((0, 0), (2, 2), (99, 3)):
        chosen, target = _candidates(labels, bank, negatives, rng)
        said = [label_of_text[i] for i in chosen]
        assert len(said) == len(set(said)) == 3 + others
        assert set(said[:3]) == set("eba")
        assert target.shape == (4, len(chosen))
        assert torch.equal(target.sum(1), torch.ones(4))
        assert [said[int(row.argmax())] for row in target] == list("ebea")
