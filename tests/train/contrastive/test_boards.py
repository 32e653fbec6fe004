"""What goes to TensorBoard and to Weights & Biases, read back from what their libraries wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests.places import ROOT
from tests.tiny import run as tinyrun
from train.contrastive.boards import boards
from train.contrastive.journal import Journal

RECORD = {"epoch": 1, "loss": 2.0, "birds by label": {"crow": 0.25}}
STEP = {"epoch": 1, "step": 3, "loss": 2.5, "gradient_norm": 0.5, "rates": {"audio": 0.1}}


def test_tensorboard_holds_every_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(tinyrun.config(tmp_path), tensorboard=True)
    config.folder.mkdir()
    journal = Journal(config.folder, [], boards=boards(config, 0))
    journal.steps([STEP])
    journal.add(RECORD, 3)
    journal.close()
    found = EventAccumulator(str(config.folder / "tensorboard")).Reload()
    values = {
        tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]
    }
    assert values["loss"] == [(3, 2.0)]
    assert values["birds by label/crow"] == [(3, 0.25)]
    assert values["step/loss"] == [(3, 2.5)]
    assert values["step/gradient_norm"] == [(3, 0.5)]
    assert values["step/rates/audio"] == [(3, pytest.approx(0.1))]


@pytest.mark.slow
def test_weights_and_biases_keeps_an_offline_run_in_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    code = f"""
from dataclasses import replace
from pathlib import Path
from tests.tiny import run as tinyrun
from train.contrastive.boards import boards
from train.contrastive.journal import Journal
config = replace(tinyrun.config(Path({str(tmp_path)!r})), wandb="offline")
config.folder.mkdir()
journal = Journal(config.folder, [], boards=boards(config, 0))
journal.steps([{STEP!r}])
journal.add({RECORD!r}, 3)
journal.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "WANDB_API_KEY": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (log,) = (tmp_path / "run").rglob("*.wandb")
    data = log.read_bytes()
    for name in (b"gradient_norm", b"birds by label/crow", b"learning_rate"):
        assert name in data


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (
            "torch.utils.tensorboard",
            {"tensorboard": True},
            r"pip install 'clap-export\[tensorboard",
        ),
        ("wandb", {"wandb": "offline"}, r"pip install 'clap-export\[wandb"),
    ],
)
def test_one_that_is_not_installed_is_said(
    module: str, options: dict[str, object], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ClapError, match=message):
        boards(replace(tinyrun.config(tmp_path), **options), 0)
