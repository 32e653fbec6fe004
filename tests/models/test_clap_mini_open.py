"""The models with an open vocabulary: what they may have heard, and what their cards say."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

TASKS = {
    "clap-mini": ("esc50", "esc10", "urbansound8k"),
    "clap-open-unseen-tasks": ("single events of 23 classes",),
}
EACH = [(recipe, name) for recipe, names in TASKS.items() for name in names]
FREE = ("cc0", "by", "mit")  # groups of licences in the events


@dataclass(frozen=True)
class Published:
    """A model of this kind.

    Attributes:
        name: of its files.
        ears: recipes of what its audio tower heard, first to last.
        taught: recipes of the bridges that had labels.
        most: bytes of its file.
        says: what its licence and its card say.
    """

    name: str
    ears: tuple[str, ...]
    taught: tuple[str, ...]
    most: float
    says: tuple[str, str]

    @property
    def path(self) -> Path:
        return MINI.with_name(f"{self.name}.safetensors")

    @property
    def card(self) -> str:
        return self.path.with_suffix(".md").read_text(encoding="utf-8")

    @property
    def held_out(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.path.with_suffix(".eval.json").read_text(encoding="utf-8"))
        return {task["name"]: task for task in found}

    def heard(self) -> set[Path]:
        """By the audio tower, in all its parts."""
        lessons = [distil.load(RECIPES / f"{recipe}.toml").audio for recipe in self.ears]
        return {x.file.path.resolve() for one in lessons for x in find(one.listings, one.files)}

    def labelled(self) -> dict[Path, str]:
        """With the labels that it or its teacher had of them."""
        recipes = [bridge.load(RECIPES / f"{recipe}.toml") for recipe in self.taught]
        listings = [listing for recipe in recipes for listing in recipe.listings]
        return {c.path.resolve(): c.label for x in listings for c in read_listing(x)}


OPEN = Published(
    "clap-mini-open", ("clap-mini-open", "clap-mini-open-more"),
    ("clap-mini-open-teacher", "clap-mini-open-labels"), 40e6, ("NC", "share-alike"),
)  # fmt: skip
PERMISSIVE = Published(
    "clap-mini-open-permissive", ("clap-mini-open-permissive",),
    ("clap-mini-open-permissive-teacher",), 20e6, ("CC BY 4.0", "commercial"),
)  # fmt: skip
MODELS = (OPEN, PERMISSIVE)


@pytest.fixture(scope="module", params=MODELS, ids=lambda one: one.name)
def model(request: pytest.FixtureRequest) -> Published:
    return request.param


@pytest.fixture(scope="module")
def encoder(model: Published, tmp_path_factory: pytest.TempPathFactory) -> runtime.Encoder:
    folder = tmp_path_factory.mktemp("open") / "bundle"
    arguments = ["--ckpt", str(model.path), "--target", "onnx", "--out", str(folder)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return runtime.Encoder(folder)


def test_it_is_small_and_says_its_licence(model: Published) -> None:
    assert model.path.stat().st_size <= model.most
    loaded = load(model.path).model
    assert sum(p.numel() for p in loaded.audio_encoder.parameters()) <= 1.4e6
    assert all(torch.isfinite(p).all() for p in loaded.parameters())
    licence, card = model.says
    assert licence in loaded.config.licence
    assert card in model.card


def test_it_reads_any_label(encoder: runtime.Encoder) -> None:
    """Each of ESC-50's labels pays most attention to tags of its own: no two read alike."""
    vectors = encoder.embed_text([f"This is a sound of {x}." for x in read_candidates("esc50")])
    cosines = vectors @ vectors.T
    apart = cosines[~torch.eye(len(vectors), dtype=torch.bool).numpy()]
    assert apart.max() < 0.999


@pytest.mark.parametrize("name", [name for _, name in EACH])
def test_the_card_gives_the_figures(model: Published, name: str) -> None:
    found = model.held_out[name]
    assert f"| {found['clips']} | {found['candidates']} {interval(found)}" in model.card
    strange = found["none_of_these"]
    assert f"| {strange['auroc']:.3f} | {100 * strange['refused']:.0f} % |" in model.card


@needs_audio
@pytest.mark.parametrize(("recipe", "name"), EACH)
def test_the_runtime_hears_what_training_heard(
    model: Published, encoder: runtime.Encoder, recipe: str, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(ROOT)
    (task,) = [x for x in tasks_of(RECIPES / f"{recipe}.toml").tasks if x.name == name]
    found, clips = on_task(encoder, task)
    assert model.held_out[name]["clips"] == clips
    assert found == pytest.approx(model.held_out[name]["accuracy"], abs=1.5 / clips)


@needs_audio
def test_it_has_heard_no_clip_that_it_is_judged_by(
    model: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its ears nor what taught it to read them; nor another part of the recording."""
    monkeypatch.chdir(ROOT)
    of = rows()
    known = (model.heard() | model.labelled().keys()) & set(of)
    named = {of[p]["freesound_id"] or of[p]["recording"] for p in known}
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
def test_nothing_of_the_unseen_classes_has_a_label(
    model: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    recipe = tasks_of(RECIPES / "clap-open-unseen-tasks.toml")
    unseen = {c.label.replace("_", " ") for c in read_listing(recipe.tasks[0].listing)}
    labels = {label.replace("_", " ") for label in model.labelled().values()}
    assert len(unseen) == 23
    assert not unseen & labels


@needs_audio
@pytest.mark.parametrize("name", ["events", "wild"])
def test_what_it_has_heard_is_credited(
    model: Published, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    folder = (SHARED_AUDIO / name).resolve()
    of = described(name)
    heard = [path.relative_to(folder) for path in model.heard() if path.is_relative_to(folder)]
    used = [of[path.as_posix()] for path in heard]
    with model.path.with_suffix(".credits.csv").open(newline="", encoding="utf-8") as file:
        credited = [line for line in csv.DictReader(file) if line["set"] == name]
    assert sum(int(line["clips"]) for line in credited) == len(used)
    whom = ("source_repo", "author") if name == "events" else ("repo", "credits")
    named = {(line["source"], line["author"]) for line in credited}
    assert {(row[whom[0]], row[whom[1]]) for row in used} == named


@needs_audio
def test_all_that_the_permissive_one_heard_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the sets say of each clip, whatever the recipe asks for."""
    monkeypatch.chdir(ROOT)
    heard = PERMISSIVE.heard() | PERMISSIVE.labelled().keys()
    for name, free in (
        ("esc50", lambda row: row["esc10"] == "True"),
        ("events", lambda row: row["licence_group"] in FREE),
        ("wild", lambda row: row["commercial"] == "yes" and not _binding(row["licence"])),
    ):
        folder, of = (SHARED_AUDIO / name).resolve(), described(name)
        mine = [path.relative_to(folder) for path in heard if path.is_relative_to(folder)]
        assert mine
        assert all(free(of[path.as_posix()]) for path in mine)
        heard -= {folder / path for path in mine}
    assert not heard


def _binding(licence: str) -> bool:
    """Whether it asks for the same licence, or forbids a use."""
    return any(word in licence for word in ("GPL", "-SA", " SA", "NC", "MPL", "per sound"))


def described(name: str) -> dict[str, dict[str, str]]:
    """What a set says of its clips, by their names."""
    with (SHARED_AUDIO / name / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return {row["filename"]: row for row in csv.DictReader(file)}


def test_it_was_validated_on_what_clap_mini_is(model: Published) -> None:
    tasks = contrastive.load(RECIPES / "clap-mini.toml").tasks
    assert {task.name for task in tasks} < set(model.held_out)
    assert model.card.count("95 %") >= 1
