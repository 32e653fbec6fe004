"""Processes that learn together learn what one process with the joint batch learns."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from clap_export.checkpoints import load, native
from clap_export.model.clap import ClapModel
from tests import tiny
from tests.places import ROOT
from tests.tiny import run as tinyrun
from tests.train.machine import joined
from train.config.data import AugmentConfig
from train.machine.distributed import ALONE, Ranks, processes, synchronise_batch_norm


def environment(**more: str) -> dict[str, str]:
    """Nothing of an outer torchrun, and one thread for each process."""
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


def free_port() -> str:
    """Below those that systems give to whoever asks for any: it is still free in a while."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)


def test_rows_are_dealt_in_turn_and_every_process_has_as_many() -> None:
    for total in (1, 2, 5, 6):
        for world in (1, 2, 3):
            places = [Ranks(rank, world).places(total) for rank in range(world)]
            assert len({len(own) for own in places}) == 1
            assert set(chain(*places)) == set(range(total))
            in_turn = np.array(places).T.ravel()[:total]  # as join puts them together
            assert in_turn.tolist() == list(range(total))


def test_without_torchrun_a_process_is_alone() -> None:
    rows = torch.arange(6.0).reshape(3, 2).requires_grad_()
    with processes(torch.device("cpu")) as ranks:
        assert ranks == ALONE
        assert ranks.first
        assert ranks.join(rows, 3) is rows
        with ranks.first_one_first():
            ranks.broadcast([rows])


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_gradients_through_the_gather_are_those_of_one_process(world: int, tmp_path: Path) -> None:
    """To 1e-6, for both losses with several positives, on every process alike."""
    common = environment(WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.machine.joined", str(tmp_path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE,
        )
        for rank in range(world)
    ]  # fmt: skip
    for process in started:
        assert process.wait(180) == 0, process.stderr.read().decode()[-2000:]
    for loss in ("softmax", "sigmoid"):
        want = joined.gradients(ALONE, loss)
        for rank in range(world):
            found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[loss]
            # What no process used gets no gradient alone, and one of 0 among others.
            assert all(not found[name].any() for name in found.keys() - want.keys())
            for name, gradient in want.items():
                assert (found[name] - gradient).abs().max() < 1e-6, (loss, rank, name)


@pytest.mark.parametrize("audio", ["cnn14", "htsat", "compact"])
def test_batch_norm_on_several_gpus_is_synchronised_and_else_the_same(audio: str) -> None:
    model, batch = tiny.model(tiny.config(audio)), tiny.waveforms(3)
    state, want = dict(model.state_dict()), model.embed_audio(batch)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    for device, ranks in (("cuda", ALONE), ("cpu", Ranks(0, 2))):
        synchronise_batch_norm(model, torch.device(device), ranks)
        assert [m for m in model.modules() if isinstance(m, _BatchNorm)] == norms
    synchronise_batch_norm(model, torch.device("cuda"), Ranks(0, 2))
    found = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert len(found) == len(norms)
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in found)
    assert model.state_dict().keys() == state.keys()
    assert torch.equal(model.eval().embed_audio(batch), want)  # activations are still there


def start_of(config: Any, path: Path) -> Path:
    """A checkpoint that has nothing random in training."""
    torch.manual_seed(5)
    model = ClapModel(tinyrun.without_dropout(config.model))
    native.save(path, model.eval(), tiny.tokenizer().to_str())
    return path


def torchrun(path: Path, world: int, *options: str) -> None:
    """``python -m train`` on so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--master-port", free_port()]
    command += ["--nproc-per-node", str(world), "-m", "train", str(path), *options]
    done = subprocess.run(
        command, cwd=path.parent, env=environment(), capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]


@pytest.mark.slow
def test_a_run_goes_on_on_another_number_of_processes(tmp_path: Path) -> None:
    """An epoch on two, the next on one, as two epochs on one; and the other way round.

    Under the same conditions, and to the same precision, as two processes train as one does.
    """
    base = tinyrun.config(
        tmp_path, augment=AugmentConfig(gain_db=6, mix=0.5), epochs=2, text_from_epoch=1, eps=0.1,
        freeze_statistics=True, schedule="plateau", sampling="turns",
    )  # fmt: skip
    start = start_of(base, tmp_path / "start.safetensors")
    base = replace(base, init=str(start), model=None, threads=1)
    found = []
    for first, second in ((1, 1), (2, 1), (1, 2)):
        config = replace(base, out=str(tmp_path / f"run{first}{second}"))
        path = tinyrun.write(config, tmp_path / f"run{first}{second}.toml")
        torchrun(path, first, "--set", "loop.epochs=1")
        torchrun(path, second, "--override")
        steps = (config.folder / "steps.jsonl").read_text().splitlines()
        found.append((load(config.folder / "model.safetensors").model, steps))
    want, want_steps = found[0]
    for model, steps in found[1:]:
        for (name, one), other in zip(
            want.state_dict().items(), model.state_dict().values(), strict=True
        ):
            assert (one - other).abs().max() <= 1e-5 * max(1.0, one.abs().max().item()), name
        for one, other in zip(map(json.loads, want_steps), map(json.loads, steps), strict=True):
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
            assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_two_processes_train_as_one_does(loss: str, tmp_path: Path) -> None:
    """Six steps of torchrun on gloo, with clips mixed across the processes and parts accumulated.

    BatchNorm's statistics are frozen, and there is neither dropout nor a mask: those differ between
    processes. Weights agree to 1e-5 of the largest one; Adam magnifies rounding where a gradient
    is next to nothing, hence a large eps.
    """
    base = tinyrun.config(
        tmp_path, augment=AugmentConfig(gain_db=6, speed=0.05, mix=0.5, mixstyle=0.5),
        epochs=2, text_from_epoch=1, loss=loss, freeze_statistics=True, accumulate=2, eps=0.1,
        validate_every=1,
    )  # fmt: skip
    start = start_of(base, tmp_path / "start.safetensors")
    found: dict[int, Any] = {}
    for world in (1, 2):
        config = replace(base, out=str(tmp_path / f"run{world}"), init=str(start), model=None)
        config = replace(config, threads=1)
        path = tinyrun.write(config, tmp_path / f"run{world}.toml")
        torchrun(path, world)
        lines = (config.folder / "metrics.jsonl").read_text().splitlines()
        model = load(config.folder / "model.safetensors").model
        found[world] = (dict(model.state_dict()), [json.loads(line) for line in lines])
    one, two = found[1][0], found[2][0]
    begun = load(start).model.state_dict()
    assert (one["audio_encoder.fc1.weight"] - begun["audio_encoder.fc1.weight"]).abs().max() > 1e-3
    for name, weight in one.items():
        largest = max(1.0, weight.abs().max().item())
        assert (two[name] - weight).abs().max() <= 1e-5 * largest, name
    for alone, together in zip(found[1][1], found[2][1], strict=True):  # one record an epoch
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert together["held-out"] == alone["held-out"]
    assert {path.name for path in (tmp_path / "run2").iterdir()} == {
        path.name for path in (tmp_path / "run1").iterdir()
    }
