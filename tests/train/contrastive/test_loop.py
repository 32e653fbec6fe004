"""The loop learns, and a run that was stopped goes on as if it had not been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clap_export.checkpoints import load
from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from tests import tiny
from tests.places import ROOT
from tests.tiny import run as tinyrun
from train.config.contrastive import TrainConfig
from train.config.data import AugmentConfig
from train.contrastive.captions import CaptionBank, candidates
from train.contrastive.loop import train
from train.data.clips import ClipStore
from train.data.listing import Clip, read_listing
from train.data.prefetch import Batch
from train.machine.distributed import Ranks
from train.machine.run import Run
from train.zero_shot.task import ClipStoreFactory, Task

CPU = torch.device("cpu")
TIMES = {"seconds", "step_seconds", "samples_per_second", "waiting"}


pytestmark = pytest.mark.usefixtures("one_thread")


EVERYTHING = AugmentConfig(
    gain_db=6, speed=0.05, mix=0.5, mixstyle=0.5, time_mask=8, frequency_mask=4, filter_db=4
)


def run(config: TrainConfig, store: ClipStore | None = None, seed: int = 0) -> ClapModel:
    """Train from fresh weights."""
    config.folder.mkdir(exist_ok=True)
    store = store or store_of(config)
    tasks = [Task(task, ClipStoreFactory(config.model.audio)) for task in config.tasks]
    torch.manual_seed(seed)
    return train(ClapModel(config.model), tiny.tokenizer(), store, tasks, Run(config, CPU))


def store_of(config: TrainConfig) -> ClipStore:
    return ClipStore(read_listing(config.listings[0]), config.model.audio)


def metrics(config: TrainConfig) -> list[dict[str, Any]]:
    """Records of the epochs, without the times that they took."""
    lines = (config.folder / "metrics.jsonl").read_text().splitlines()
    return [untimed(json.loads(line)) for line in lines]


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in TIMES}


def last_state(config: TrainConfig) -> dict[str, Any]:
    """What a run would go on from, without the times that it took."""
    state = torch.load(config.folder / "last.pt", weights_only=True)
    return {**state, "records": [untimed(record) for record in state["records"]]}


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
    assert tasks[0].run(saved, tiny.tokenizer()).accuracy == 1.0


class Stopped(Exception):
    pass


class StoppingStore:
    """A clip store that ends the run after some batches, in the middle of an epoch."""

    def __init__(self, store: ClipStore, batches: int) -> None:
        self._store, self._left = store, batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def batches(self, *arguments: Any) -> Iterator[Batch]:
        for batch in self._store.batches(*arguments):
            if self._left == 0:
                raise Stopped
            self._left -= 1
            yield batch


@pytest.mark.parametrize(
    "options",
    [
        {"ema": 0.0},
        {"ema": 0.8, "loss": "sigmoid", "accumulate": 2},
        {
            "amp": "fp16", "schedule": "plateau", "plateau_on": "task", "plateau_patience": 0,
            "validate_every": 1, "optimiser": "adam",
        },
    ],
    ids=["plain", "average-sigmoid-accumulate", "fp16-plateau-adam"],
)  # fmt: skip
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    options: dict[str, Any], tmp_path: Path
) -> None:
    base = tinyrun.config(tmp_path, augment=EVERYTHING, dropout=0.2, **options)
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
    assert_equal(last_state(whole), last_state(parts))
    assert metrics(whole) == metrics(parts)
    assert [r["epoch"] for r in metrics(parts)] == [1, 2, 3, 4]
    names = {"last.pt", "metrics.jsonl", "metrics.png", "model.safetensors", "steps.jsonl"}
    assert {path.name for path in parts.folder.iterdir()} == names


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_save_leaves_the_state_before_it(tmp_path: Path) -> None:
    """SIGKILL while last.pt of epoch 3 is half written; the run then ends with the same bits."""
    whole = tinyrun.config(tmp_path, augment=EVERYTHING, dropout=0.2)
    parts = replace(whole, out=str(tmp_path / "parts"))
    tinyrun.write(parts, tmp_path / "parts.toml")
    script = f"""
import io, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import torch
torch.set_num_threads(1)
from tests.train.contrastive import test_loop
from train.config import contrastive as config
from train.contrastive import state
real, saves = torch.save, 0
def save(content, file):
    global saves
    saves += 1
    if saves < 3:
        return real(content, file)
    real(content, whole := io.BytesIO())
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
state.torch.save = save
test_loop.run(config.load({str(tmp_path / "parts.toml")!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    (half,) = parts.folder.glob(".last.pt.*.part")
    assert 0 < half.stat().st_size < (parts.folder / "last.pt").stat().st_size
    assert torch.load(parts.folder / "last.pt", weights_only=True)["epoch"] == 2
    want, got = run(whole), run(parts)
    assert_equal(dict(got.state_dict()), dict(want.state_dict()))
    assert_equal(last_state(whole), last_state(parts))
    assert metrics(whole) == metrics(parts)


def test_a_save_that_fails_leaves_the_state_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tinyrun.config(tmp_path, epochs=2, steps_per_epoch=1)
    run(replace(config, loop=replace(config.loop, epochs=1)))
    good = (config.folder / "last.pt").read_bytes()

    def no_space(_content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", no_space)
        with pytest.raises(ClapError, match=r"last\.pt' cannot be written: No space left"):
            run(config)
    assert (config.folder / "last.pt").read_bytes() == good
    run(config)
    assert [r["epoch"] for r in metrics(config)] == [1, 2]


def test_a_state_that_is_no_use_is_refused(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, epochs=1, steps_per_epoch=1)
    run(config)
    path = config.folder / "last.pt"
    state = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "version"}, path)
    with pytest.raises(ClapError, match=r"last\.pt is of version 1, this program writes 3"):
        run(config)
    torch.save(state, path)
    wider = replace(config, model=replace(config.model, embedding_dim=2 * tiny.DIM))
    with pytest.raises(ClapError, match="another model or optimiser"):
        run(wider)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ClapError, match="cannot be read, so the run cannot go on"):
        run(config)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_state(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, epochs=2, steps_per_epoch=2)
    run(replace(config, loop=replace(config.loop, epochs=1)))
    good = (config.folder / "last.pt").read_bytes()
    broken = store_of(config)
    broken.window = lambda *_: np.full(tiny.WINDOW, np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(ClapError, match="the loss became nan in epoch 2"):
        run(config, broken)
    assert (config.folder / "last.pt").read_bytes() == good


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


def test_frozen_towers_keep_every_number(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fresh = ClapModel(tiny.config()).state_dict()
    config = tinyrun.config(tmp_path, epochs=1, freeze=("audio", "text"), ema=0.0)
    trained = run(config).state_dict()
    moved = {k for k in trained if not torch.equal(trained[k], fresh[k])}
    assert {k.partition(".")[0] for k in moved} == {
        "audio_projection", "text_projection", "logit_scale"
    }  # fmt: skip


def test_frozen_statistics_stay_while_the_weights_learn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fresh = ClapModel(tiny.config()).state_dict()
    config = tinyrun.config(tmp_path, epochs=1, freeze_statistics=True, ema=0.0)
    trained = run(config).state_dict()
    moved = {k for k in trained if not torch.equal(trained[k], fresh[k])}
    assert "audio_encoder.bn0.weight" in moved
    assert not any("running" in k or "num_batches" in k for k in moved)


def test_records_tell_rates_and_times(tmp_path: Path) -> None:
    """Warm-up of one epoch, then a plateau that is cut whenever accuracy does not rise."""
    config = tinyrun.config(
        tmp_path, schedule="plateau", plateau_on="task", plateau_patience=0, validate_every=1
    )
    run(config)
    lines = (config.folder / "metrics.jsonl").read_text().splitlines()
    best, factor = -1.0, 1.0
    for record in map(json.loads, lines):
        assert record["lr"] == pytest.approx(5e-3 * factor)
        if record["held-out"] > best * (1 + 1e-4):
            best = record["held-out"]
        else:
            factor *= 0.1
        assert record["step_seconds"] == pytest.approx(record["seconds"] / 3)
        assert record["samples_per_second"] == pytest.approx(8 / record["step_seconds"])
        assert 0 < record["waiting"] < 1
    assert (config.folder / "metrics.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [{"amp": "bf16"}, {"amp": "fp16"}, {"loss": "sigmoid"}])
def test_learns_in_half_precision_and_by_yes_and_no(options: Any, tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, epochs=4, steps_per_epoch=5, validate_every=4, **options)
    run(config)
    records = metrics(config)
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]
    state = torch.load(config.folder / "last.pt", weights_only=True)
    assert bool(state["scaler"]) == (options.get("amp") == "fp16")
    assert (state["bias"].item() != -10.0) == (options.get("loss") == "sigmoid")


@pytest.mark.slow
@pytest.mark.parametrize(("amp", "tolerance"), [("off", 1e-4), ("bf16", 0.02)])
def test_compiled_towers_give_the_same_run(amp: str, tolerance: float, tmp_path: Path) -> None:
    base = tinyrun.config(
        tmp_path, epochs=1, steps_per_epoch=3, text_from_epoch=0, text_negatives=0, amp=amp
    )
    losses = []
    for name, compiled in (("eager", False), ("compiled", True)):
        config = replace(
            base, tasks=(), out=str(tmp_path / name), loop=replace(base.loop, compile=compiled),
            model=tinyrun.without_dropout(base.model),
        )  # fmt: skip
        run(config)
        losses.append(metrics(config)[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)
    assert load(tmp_path / "compiled" / "model.safetensors").model.config == config.model


def test_batches_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, batch_size=8, accumulate=4)
    model, tokenizer = ClapModel(config.model), tiny.tokenizer()
    for world in (3, 4):
        with pytest.raises(ClapError, match="batch_size is 8, the joint batch"):
            train(model, tokenizer, store_of(config), [], Run(config, CPU, Ranks(0, world)))


def test_validates_as_often_as_asked_and_at_the_end(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, epochs=5, steps_per_epoch=1, validate_every=3)
    run(config)
    assert [r["epoch"] for r in metrics(config) if "held-out" in r] == [3, 5]


def test_average_follows_the_weights(tmp_path: Path) -> None:
    """After one epoch of three steps from w0: the average of w1, w2, w3 by the EMA's rule."""
    seen: list[torch.Tensor] = []
    config = tinyrun.config(tmp_path, epochs=1, ema=0.8)

    class Watching(StoppingStore):
        def batches(self, *arguments: Any) -> Iterator[Batch]:
            for batch in super().batches(*arguments):
                seen.append(model.audio_projection.linear1.weight.detach().clone())
                yield batch

    config.folder.mkdir()
    model = ClapModel(config.model)
    train(model, tiny.tokenizer(), Watching(store_of(config), 9), [], Run(config, CPU))
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
        chosen, target = candidates(labels, bank, negatives, rng)
        said = [label_of_text[i] for i in chosen]
        assert len(said) == len(set(said)) == 3 + others
        assert set(said[:3]) == set("eba")
        assert target.shape == (4, len(chosen))
        assert torch.equal(target.sum(1), torch.ones(4))
        assert [said[int(row.argmax())] for row in target] == list("ebea")
