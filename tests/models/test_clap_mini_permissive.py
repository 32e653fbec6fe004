"""The model for commercial use: what it may have learned from, and what its card says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import runtime
from clap_export.checkpoints import load
from clap_export.cli import main
from tests.labelled import interval, needs_audio, on_task, rows
from tests.places import MINI, ROOT
from train.config import contrastive as train_config
from train.data.listing import read_listing

MODEL = MINI.with_name("clap-mini-permissive.safetensors")
RECIPE = ROOT / "train/recipes/clap-mini-permissive.toml"
HELD_OUT = {x["name"]: x for x in json.loads(MODEL.with_suffix(".eval.json").read_text())}


def test_it_is_smaller_and_says_its_licence() -> None:
    assert MODEL.stat().st_size < 15e6
    assert load(MODEL).model.config.licence == "CC BY 4.0"


@needs_audio
def test_all_it_learned_from_is_free_and_credited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    of = rows()
    config = train_config.load(RECIPE)
    used = [of[c.path.resolve()] for x in config.listings for c in read_listing(x)]
    with MODEL.with_suffix(".credits.csv").open(newline="", encoding="utf-8") as file:
        credited = list(csv.DictReader(file))
    assert sum(int(line["clips"]) for line in credited) == len(used)
    named = {(line["author"], line["url"]) for line in credited}
    for row in used:
        assert row.get("esc10") == "True" or row["licence_group"] in ("cc0", "by", "mit")
        assert (row["author"], row["url"]) in named
    judged = [of[c.path.resolve()] for x in config.tasks for c in read_listing(x.listing)]
    assert all(row["esc10"] == "True" for row in judged)  # the calibration is fitted on these


@pytest.mark.parametrize("name", ["esc50", "esc10", "urbansound8k"])
def test_the_card_gives_the_held_out_figures(name: str) -> None:
    found = HELD_OUT[name]
    line = f"| {found['clips']} | {found['candidates']} {interval(found)}"
    assert line in MODEL.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{100 * found['accuracy']:.1f} %" in (ROOT / "docs" / "evaluation.md").read_text(
        encoding="utf-8"
    )


@needs_audio
def test_the_runtime_hears_what_training_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ["--ckpt", str(MODEL), "--target", "onnx", "--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    encoder = runtime.Encoder(tmp_path / "bundle")
    (task,) = train_config.load(RECIPE).tasks
    found, clips = on_task(encoder, task)
    assert found == pytest.approx(HELD_OUT["esc10"]["accuracy"], abs=1.5 / clips)
