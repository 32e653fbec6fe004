"""``python -m train evaluate MODEL --task … --data …``: reports, exit codes and one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clap_export.checkpoints import native
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import datasets
from train import __main__ as command
from train.published import probe
from train.published.catalogue import TASKS
from train.published.chart import plot
from train.published.score import Score

FOLDERS = {task.name: task.folder for task in TASKS}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny.checkpoint()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    native.save(path, made.model, made.tokenizer)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every data set in its folder."""
    root = tmp_path_factory.mktemp("data")
    for name, folder in FOLDERS.items():
        if name != "mridangam-tonic":  # shares its folder
            datasets.build(name, root / folder)
    datasets.captions(root)
    return root


def evaluate(model: Path, *arguments: str) -> Any:
    """The JSON that the command prints."""
    done = CliRunner().invoke(
        command.main, ["evaluate", str(model), *arguments, "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_checkpoint_and_its_bundle_give_the_same_numbers_on_all_benchmarks(
    checkpoint: Path, exported_bundle: Path, data: Path
) -> None:
    arguments = ["--task", "all", "--data", str(data)]
    found = [evaluate(model, *arguments)["scores"] for model in (checkpoint, exported_bundle)]
    assert found[0] == found[1]
    assert [x["task"] for x in found[0]] == [
        *FOLDERS, "audiocaps", "audiocaps", "clotho", "clotho"
    ]  # fmt: skip
    one = {x["task"]: x for x in found[0]}
    assert (one["esc50"]["clips"], one["esc50"]["candidates"]) == (3, 50)
    assert one["esc50"]["low"] <= one["esc50"]["value"] <= one["esc50"]["high"]
    assert (one["esc50"]["paper"], one["esc50"]["published"]) == (0.826, 2000)
    assert set(one["dcase17"]["more"]) == {"macro F1", "mAP"}
    assert one["fsd50k"]["low"] is None
    assert one["audiocaps"]["absent"] == 1
    assert one["clotho"]["metric"] == "audio->text R@1"
    assert set(one["clotho"]["more"]) == {"R@5", "R@10", "mAP@10"}


def test_templates_replace_the_benchmarks_prompt(checkpoint: Path, data: Path) -> None:
    arguments = ["--task", "fsd50k", "--data", str(data)]
    own = evaluate(checkpoint, *arguments)
    same = evaluate(checkpoint, *arguments, "--template", "This is a sound of {}")
    several = evaluate(checkpoint, *arguments, "--template", "{}", "--template", "rain and {}")
    assert same["scores"] == own["scores"]
    assert several["templates"] == ["{}", "rain and {}"]


@pytest.mark.parametrize("setup", ["linear", "mlp"])
def test_supervised_heads_are_compared_with_the_papers(
    setup: str, checkpoint: Path, exported_bundle: Path, data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(probe, "LEAST_STEPS", 100)  # both are trained alike, and a little is enough
    arguments = ["--task", "tut2017,beijing-opera,dcase17", "--data", str(data)]
    found = evaluate(checkpoint, *arguments, "--supervised", setup)["scores"]
    assert [x["setup"] for x in found] == [setup] * 3
    assert [x["paper"] for x in found] == [0.7099, 0.7754, 0.5330]
    assert [x["clips"] for x in found] == [2, 3, 2]
    assert found[2]["metric"] == "micro F1, p >= 0.5"
    again = evaluate(exported_bundle, *arguments, "--supervised", setup)["scores"]
    assert [x["value"] for x in again] == [x["value"] for x in found]


def test_a_table_says_what_does_not_compare_and_a_picture_is_drawn(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "out.png"
    arguments = ["--task", "esc50,clotho", "--data", str(data), "--plot", str(picture)]
    done = CliRunner().invoke(command.main, ["evaluate", str(checkpoint), *arguments])
    assert done.exit_code == 0, done.output
    assert "3 of 2,000" in done.stdout
    assert "82.6" in done.stdout
    assert "R@10" in done.stdout
    assert "Where not all clips were there" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_fails_takes_no_table_with_it(
    exported_bundle: Path, data: Path, tmp_path: Path
) -> None:
    arguments = [
        "--task",
        "beijing-opera",
        "--data",
        str(data),
        "--plot",
        str(tmp_path / "no/a.png"),
    ]
    done = CliRunner().invoke(command.main, ["evaluate", str(exported_bundle), *arguments])
    assert isinstance(done.exception, ClapError)
    assert "Beijing Opera" in done.stdout


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    one = Score(
        "esc50", "ESC-50", "sound events", "zero-shot", "accuracy", 3, 2000, 0, 50, 0.5, 0.1, 0.9,
        {}, None, None,
    )  # fmt: skip
    for path in (tmp_path / "none/out.png", tmp_path / "out.jpx"):
        with pytest.raises(ClapError, match="cannot be written"):
            plot([one], path, "title")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "evaluate needs CONFIG.toml, or --task and --data"),
        (["--task", "esc50"], "evaluate needs CONFIG.toml, or --task and --data"),
        (["--task", "esc51", "--data", "DATA"], "names no benchmark (esc51): choose from all"),
        (["--task", "esc50", "--data", "none"], "--data none is no folder"),
        (["--task", "esc50", "--data", "DATA/UrbanSound8K"], "task esc50 reads meta/esc50.csv"),
        (["--task", "clotho", "--data", "DATA", "--supervised", "mlp"], "no --supervised"),
        (["--task", "esc50", "--data", "DATA", "--template", "sound"], "must hold exactly one {}"),
        (
            ["--task", "esc50", "--data", "DATA", "--template", "{}", "--supervised", "mlp"],
            "leave --template out",
        ),
        (["--task", "tut2017", "--data", "DATA", "--extension", "ogg"], "2 of 2 listed"),
        (["--task", "esc50", "--data", "DATA", "--extension", "a/b"], "cannot end a name"),
        (["--task", "esc50", "--data", "DATA", "--seed", "-1"], "--seed -1: give a number from 0"),
        (["x.toml", "--task", "esc50"], "take no --task, --data"),
        (
            ["--task", "esc50", "--data", "DATA", "--with", "b"],
            "--none-of-these go with CONFIG.toml",
        ),
    ],
)
def test_mistakes_end_with_one_sentence_and_exit_code_2(
    arguments: list[str],
    message: str,
    checkpoint: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word.replace("DATA", str(data)) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["train", "evaluate", str(checkpoint), *given])
    with pytest.raises(SystemExit) as caught:
        command.entry()
    assert caught.value.code == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("Error: ")]
    assert message in line


def test_results_are_said_as_they_are_found(
    exported_bundle: Path, data: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What fails in the second benchmark does not take the first one's result with it."""
    from train.published.evaluation import Evaluation

    right = Evaluation.run

    def run(self: Evaluation, task: Any, root: Path) -> list[Score]:
        if task.name == "crema-d":
            raise ClapError("the disk is gone")
        return right(self, task, root)

    monkeypatch.setattr(Evaluation, "run", run)
    with caplog.at_level("INFO", logger="train"), pytest.raises(ClapError, match="disk is gone"):
        evaluate(exported_bundle, "--task", "beijing-opera,crema-d", "--data", str(data))
    assert any("accuracy" in message and "Beijing" in message for message in caplog.messages)


def test_a_bundle_is_not_fine_tuned(exported_bundle: Path, data: Path) -> None:
    arguments = ["--task", "esc50", "--data", str(data), "--supervised", "finetune"]
    with pytest.raises(ClapError, match="give its checkpoint"):
        evaluate(exported_bundle, *arguments)


def test_fine_tuning_from_the_command_line(
    checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.published import evaluation, finetune

    def short(*args: Any, **options: Any) -> Any:
        return finetune.finetune_predict(*args, **options, epochs=1)

    monkeypatch.setattr(evaluation, "finetune_predict", short)
    arguments = ["--task", "beijing-opera", "--data", str(data), "--supervised", "finetune"]
    (found,) = evaluate(checkpoint, *arguments)["scores"]
    assert (found["setup"], found["paper"], found["clips"]) == ("finetune", 0.9026, 3)
