"""A run goes on as it was made, or says what is different; and from inside an epoch too."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from tests.train.contrastive import test_loop as loops
from train.config.contrastive import TrainConfig
from train.config.data import RetrievalConfig
from train.contrastive.run import run
from train.machine.snapshot import mark_of_path

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Two epochs from a checkpoint."""
    start = tiny.save(tmp_path / "start.safetensors")
    base = tinyrun.config(tmp_path, epochs=2, steps_per_epoch=2, text_from_epoch=0)
    return replace(base, init=str(start), model=None)


def looped(config: TrainConfig, **options: Any) -> TrainConfig:
    return replace(config, loop=replace(config.loop, **options))


def groups(config: TrainConfig) -> list[dict[str, Any]]:
    state = torch.load(config.folder / "last.pt", weights_only=True)
    return state["optimiser"]["param_groups"]


def test_another_config_is_refused_with_what_differs(config: TrainConfig) -> None:
    run(config)
    before = (config.folder / "last.pt").read_bytes()
    other = looped(config, epochs=3, learning_rate=1e-4, betas=(0.8, 0.9), weight_decay=0.5)
    with pytest.raises(ClapError) as caught:
        run(replace(other, seed=8))
    for what in (
        "loop.epochs was 2, is 3", "loop.learning_rate was 0.005, is 0.0001",
        "loop.betas was [0.9, 0.999], is [0.8, 0.9]", "loop.weight_decay was 0.01, is 0.5",
        "seed was 7, is 8", "--override",
    ):  # fmt: skip
        assert what in str(caught.value)
    assert "text_learning_rate" not in str(caught.value)
    assert (config.folder / "last.pt").read_bytes() == before


def test_values_that_are_overridden_take_effect_and_are_written_down(config: TrainConfig) -> None:
    run(config)
    other = looped(
        config, epochs=3, learning_rate=1e-4, betas=(0.8, 0.9), weight_decay=0.5, eps=1e-6,
        schedule="plateau",
    )  # fmt: skip
    run(other, override=True)
    for group in groups(other):
        assert group["betas"] == (0.8, 0.9)
        assert group["eps"] == 1e-6
        assert group["weight_decay"] in (0.0, 0.5)
        if group["tower"] == "others":
            assert group["lr"] == group["peak"] == 1e-4
    assert {group["weight_decay"] for group in groups(other)} == {0.0, 0.5}
    (change,) = json.loads((config.folder / "config.json").read_text())["changes"]
    assert change["epoch"] == 2
    assert "loop.learning_rate was 0.005, is 0.0001" in change["what"]
    run(other)  # is what the folder now is


def test_a_listing_or_labels_of_another_content_are_refused(
    config: TrainConfig, tmp_path: Path
) -> None:
    run(config)
    listing = Path(config.listings[0].path)
    said = listing.read_text()
    listing.write_text(said.replace("loud noise", "faint noise"))
    labels = tmp_path / "labels.txt"
    labels.write_text(labels.read_text() + "a bird\n")
    with pytest.raises(ClapError) as caught:
        run(config)
    assert "listings[0] has another content" in str(caught.value)
    assert "candidates of held-out has another content" in str(caught.value)
    tiny.save(tmp_path / "start.safetensors", text="bert-pooler")
    with pytest.raises(ClapError, match=r"cannot be changed any more: init has another content"):
        run(config, override=True)


def test_a_folder_of_weights_with_another_content_is_told(tmp_path: Path) -> None:
    """As of transformers: what is named is a folder then, not a file."""
    folder = tmp_path / "weights"
    (folder / "inner").mkdir(parents=True)
    for name in ("config.json", "inner/model.bin"):
        (folder / name).write_text(name)
    marks = [mark_of_path(folder)]
    (folder / "inner" / "model.bin").write_text("other weights")
    marks.append(mark_of_path(folder))
    (folder / "inner" / "model.bin").rename(folder / "model.bin")
    marks.append(mark_of_path(folder))
    assert None not in marks
    assert len(set(marks)) == 3
    moved = folder.rename(tmp_path / "elsewhere")
    assert mark_of_path(moved) == marks[-1]
    assert mark_of_path(tmp_path / "org" / "name-on-the-hub") is None


def test_what_a_run_began_with_cannot_be_overridden(config: TrainConfig, tmp_path: Path) -> None:
    run(config)
    other = tiny.save(tmp_path / "other.safetensors")
    with pytest.raises(ClapError, match=r"init was .*start.*, is .*other.*Choose another 'out'"):
        run(replace(config, init=str(other)), override=True)


def test_where_and_how_fast_a_run_computes_may_differ(config: TrainConfig, tmp_path: Path) -> None:
    run(config)
    bits = (config.folder / "model.safetensors").read_bytes()
    moved = tmp_path / "moved"
    config.folder.rename(moved)
    other = replace(looped(config, save_every=1), out=str(moved), threads=1)
    run(other)
    assert (moved / "model.safetensors").read_bytes() == bits


def test_files_are_as_readable_as_others(config: TrainConfig, tmp_path: Path) -> None:
    """Of the mode that any new file has here: safetensors' own writer makes them 0600."""
    (usual := tmp_path / "usual").write_text("")
    run(looped(config, best_by="held-out"))
    mode = stat.S_IMODE(usual.stat().st_mode)
    found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in config.folder.iterdir()}
    assert found == dict.fromkeys(found, mode)
    assert {"model.safetensors", "best.safetensors", "last.pt", "config.json"} <= set(found)


@pytest.mark.parametrize(
    "options",
    [{"text_from_epoch": 1}, {"text_from_epoch": 0, "text_negatives": 2, "sampling": "turns"}],
    ids=["frozen-then-learning", "learning-with-negatives"],
)
def test_a_run_goes_on_inside_an_epoch_with_the_same_bits(
    options: dict[str, Any], tmp_path: Path
) -> None:
    base = tinyrun.config(
        tmp_path, augment=loops.EVERYTHING, dropout=0.2, epochs=2, steps_per_epoch=5, save_every=2,
        **options,
    )  # fmt: skip
    whole = replace(base, out=str(tmp_path / "whole"))
    parts = replace(base, out=str(tmp_path / "parts"))
    store = loops.store_of(base)
    want = loops.run(whole, store)
    # Stopped after 3 steps of the first epoch (2 are saved), then after 4 + 5 of those that follow.
    for seed, batches in ((0, 3), (11, 7)):
        with pytest.raises(loops.Stopped):
            loops.run(parts, loops.StoppingStore(store, batches), seed)
    state = torch.load(parts.folder / "last.pt", weights_only=True)
    assert (state["epoch"], state["partial"]["steps"]) == (1, 4)
    got = loops.run(parts, store, seed=12)
    loops.assert_equal(dict(got.state_dict()), dict(want.state_dict()))
    loops.assert_equal(loops.last_state(whole), loops.last_state(parts))
    assert loops.metrics(whole) == loops.metrics(parts)
    steps = [(folder.folder / "steps.jsonl").read_text() for folder in (whole, parts)]
    assert steps[0] == steps[1]
    assert [json.loads(line)["step"] for line in steps[0].splitlines()] == list(range(1, 11))


def test_a_listing_with_labels_alone_is_learned_from(config: TrainConfig, tmp_path: Path) -> None:
    rows = (Path(config.listings[0].path).read_text()).splitlines()
    alone = [",".join(row.split(",")[:2]) for row in rows]  # without the captions
    (tmp_path / "alone.csv").write_text("\n".join(alone) + "\n")
    listing = replace(config.listings[0], path=str(tmp_path / "alone.csv"), captions=(), names=())
    run(replace(config, listings=(listing,)))
    (last,) = (config.folder / "metrics.jsonl").read_text().splitlines()[-1:]
    assert json.loads(last)["loss"] > 0


def test_every_step_tells_loss_gradient_and_rates(config: TrainConfig) -> None:
    run(config)
    steps = [json.loads(x) for x in (config.folder / "steps.jsonl").read_text().splitlines()]
    epochs = [json.loads(x) for x in (config.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 4
    for number, epoch in enumerate(epochs):
        losses = [one["loss"] for one in steps[2 * number : 2 * number + 2]]
        assert epoch["loss"] == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert all(one["gradient_norm"] > 0 for one in steps)
    # The first epoch warms up in two steps to the peaks of each tower.
    assert steps[0]["rates"] == pytest.approx({"audio": 2.5e-3, "text": 5e-4, "others": 2.5e-3})
    assert steps[1]["rates"] == pytest.approx({"audio": 5e-3, "text": 1e-3, "others": 5e-3})


def test_the_best_epoch_is_kept_and_no_gain_ends_the_run(tmp_path: Path) -> None:
    """At a rate of 0 nothing changes: the first validation is the best, the third ends the run."""
    start = tiny.save(tmp_path / "start.safetensors")
    base = tinyrun.config(
        tmp_path, epochs=9, steps_per_epoch=1, validate_every=1, learning_rate=0.0, ema=0.0,
        text_learning_rate=0.0, best_by="held-out", patience=2, freeze_statistics=True,
    )  # fmt: skip
    config = replace(base, init=str(start), model=None)
    path = run(config)
    assert path.name == "best.safetensors"
    epochs = [json.loads(x) for x in (config.folder / "metrics.jsonl").read_text().splitlines()]
    assert [one["epoch"] for one in epochs] == [1, 2, 3]
    assert epochs[0]["held-out by label"].keys() == set(tinyrun.LABELS)
    bits = path.read_bytes()
    assert run(config).read_bytes() == bits  # it has ended
    assert load(path).model.config.calibration is not None


def test_the_best_epoch_is_the_one_that_measured_best(tmp_path: Path) -> None:
    start = tiny.save(tmp_path / "start.safetensors")
    base = tinyrun.config(tmp_path, epochs=5, steps_per_epoch=2, validate_every=1, ema=0.0)
    listing = base.tasks[0].listing
    config = replace(
        base, init=str(start), model=None, retrieval=(RetrievalConfig("captions", listing),),
        loop=replace(base.loop, best_by="captions loss"),
    )  # fmt: skip
    best = load(run(config)).model
    records = [json.loads(x) for x in (config.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [record["captions loss"] for record in records]
    lowest = losses.index(min(losses)) + 1
    gain = torch.load(config.folder / "last.pt", weights_only=True)["gain"]
    assert (gain["epoch"], gain["value"]) == (lowest, min(losses))
    short = replace(looped(config, epochs=5, patience=None), out=str(tmp_path / "again"))
    # Nine clips of three captions: each clip's text is one of three that are right.
    for record in records:
        assert record["captions text->audio R@10"] == 1.0
        assert 0 <= record["captions audio->text R@1"] <= 1
    again = load(run(short)).model
    for one, other in zip(best.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
