"""The command that measures loading alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import tiny
from tests.tiny import run as tinyrun
from train.__main__ import main
from train.config.data import AugmentConfig
from train.data.throughput import audio_spec, measure


def test_each_number_of_threads_is_measured(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, augment=AugmentConfig(speed=0.1))
    found = list(measure(config, 3, seconds=0.05))
    assert [one.threads for one in found] == [1, 2, 3]
    assert all(one.held and one.windows_per_second > 0 for one in found)
    assert not next(iter(measure(config, 1, seconds=0.05, streamed=True))).held


def test_the_audio_input_is_the_models_or_the_checkpoints(tmp_path: Path) -> None:
    import dataclasses

    config = tinyrun.config(tmp_path)
    assert config.model is not None
    assert audio_spec(config) == config.model.audio
    path = tiny.save(tmp_path / "tiny.safetensors")
    assert (
        audio_spec(dataclasses.replace(config, model=None, init=str(path))) == tiny.config().audio
    )


def test_the_command_prints_a_line_for_each_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tinyrun.config(tmp_path)
    monkeypatch.setattr("train.config.contrastive.load", lambda path: config)
    done = CliRunner().invoke(
        main, ["throughput", "recipe.toml", "--threads", "2", "--seconds", "0.05", "--streamed"],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines() if "windows/s" in line]
    assert [(line[0], line[3], line[-1]) for line in lines] == [
        ("1", "windows/s", "streamed"), ("2", "windows/s", "streamed"),
    ]  # fmt: skip
    assert all(float(line[2]) > 0 for line in lines)
