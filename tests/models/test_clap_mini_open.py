"""The model with an open vocabulary: what it may have heard, and what its card says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import runtime
from clap_export.checkpoints import load
from clap_export.cli import main
from tests.labelled import interval, needs_audio, on_task, rows
from tests.places import MINI, RECIPES, ROOT, SHARED_AUDIO
from train.config import bridge, contrastive, distil
from train.config.listings import tasks_of
from train.data.listing import read_listing
from train.distil.recordings import find
from train.zero_shot.task import read_candidates

MODEL = MINI.with_name("clap-mini-open.safetensors")
CARD = MODEL.with_suffix(".md")
HELD_OUT = {x["name"]: x for x in json.loads(MODEL.with_suffix(".eval.json").read_text())}
TASKS = {
    "clap-mini": ("esc50", "esc10", "urbansound8k"),
    "clap-open-unseen-tasks": ("single events of 23 classes",),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> runtime.Encoder:
    folder = tmp_path_factory.mktemp("open") / "bundle"
    arguments = ["--ckpt", str(MODEL), "--target", "onnx", "--out", str(folder)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return runtime.Encoder(folder)


def test_it_is_small_and_says_its_licence() -> None:
    assert MODEL.stat().st_size <= 40e6
    model = load(MODEL).model
    assert sum(p.numel() for p in model.audio_encoder.parameters()) <= 1.4e6
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert "NC" in model.config.licence
    assert "share-alike" in CARD.read_text()


def test_it_reads_any_label(encoder: runtime.Encoder) -> None:
    """Each of ESC-50's labels pays most attention to tags of its own: no two read alike."""
    vectors = encoder.embed_text([f"This is a sound of {x}." for x in read_candidates("esc50")])
    cosines = vectors @ vectors.T
    apart = cosines[~torch.eye(len(vectors), dtype=torch.bool).numpy()]
    assert apart.max() < 0.999


@pytest.mark.parametrize(("recipe", "name"), [(r, n) for r, names in TASKS.items() for n in names])
def test_the_card_gives_the_figures(recipe: str, name: str) -> None:
    found = HELD_OUT[name]
    assert f"| {found['clips']} | {found['candidates']} {interval(found)}" in CARD.read_text()
    strange = found["none_of_these"]
    assert f"| {strange['auroc']:.3f} | {100 * strange['refused']:.0f} % |" in CARD.read_text()


@needs_audio
@pytest.mark.parametrize(("recipe", "name"), [(r, n) for r, names in TASKS.items() for n in names])
def test_the_runtime_hears_what_training_heard(
    encoder: runtime.Encoder, recipe: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (task,) = [x for x in tasks_of(RECIPES / f"{recipe}.toml").tasks if x.name == name]
    found, clips = on_task(encoder, task)
    assert HELD_OUT[name]["clips"] == clips
    assert found == pytest.approx(HELD_OUT[name]["accuracy"], abs=1.5 / clips)


@needs_audio
def test_it_has_heard_no_clip_that_it_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its ears nor what taught it to read them; nor another part of the recording."""
    monkeypatch.chdir(ROOT)
    of = rows()
    ears = distil.load(RECIPES / "clap-mini-open.toml").audio
    teacher = bridge.load(RECIPES / "clap-mini-open-teacher.toml")
    heard = {x.file.path.resolve() for x in find(ears.listings, ears.files)}
    taught = {c.path.resolve() for x in teacher.listings for c in read_listing(x)}
    named = {of[p]["freesound_id"] or of[p]["recording"] for p in (heard | taught) & set(of)}
    judged = {
        of[c.path.resolve()]["freesound_id"] or of[c.path.resolve()]["recording"]
        for recipe, names in TASKS.items()
        for task in tasks_of(RECIPES / f"{recipe}.toml").tasks
        if task.name in names
        for c in read_listing(task.listing)
    }
    assert len(named) > 1000
    assert len(judged) > 200
    assert not named & judged


@needs_audio
def test_nothing_of_the_unseen_classes_has_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = tasks_of(RECIPES / "clap-open-unseen-tasks.toml")
    unseen = {c.label.replace("_", " ") for c in read_listing(recipe.tasks[0].listing)}
    teacher = bridge.load(RECIPES / "clap-mini-open-teacher.toml")
    labels = {c.label.replace("_", " ") for x in teacher.listings for c in read_listing(x)}
    assert len(unseen) == 23
    assert not unseen & labels


@needs_audio
@pytest.mark.parametrize("name", ["events", "wild"])
def test_what_it_has_heard_is_credited(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with (SHARED_AUDIO / name / "metadata.csv").open(newline="", encoding="utf-8") as file:
        of = {row["filename"]: row for row in csv.DictReader(file)}
    ears = distil.load(RECIPES / "clap-mini-open.toml").audio
    (listing,) = [x for x in ears.listings if Path(x.path or "").parent.name == name]
    folder = (SHARED_AUDIO / name).resolve()
    heard = [x.file.path.resolve().relative_to(folder) for x in find((listing,), ())]
    used = [of[path.as_posix()] for path in heard]
    with MODEL.with_suffix(".credits.csv").open(newline="", encoding="utf-8") as file:
        credited = [line for line in csv.DictReader(file) if line["set"] == name]
    assert sum(int(line["clips"]) for line in credited) == len(used)
    whom = ("source_repo", "author") if name == "events" else ("repo", "credits")
    named = {(line["source"], line["author"]) for line in credited}
    assert {(row[whom[0]], row[whom[1]]) for row in used} == named


def test_it_was_validated_on_what_clap_mini_is() -> None:
    tasks = contrastive.load(RECIPES / "clap-mini.toml").tasks
    assert {task.name for task in tasks} < set(HELD_OUT)
    assert Path(CARD).read_text().count("95 %") >= 1
