"""The shipped model: what its card says of it holds, measured through the runtime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import runtime
from clap_export.checkpoints import load
from clap_export.sounds.catalogue import SOUNDS, write_demo_sounds
from runtime.manifest import read_manifest
from tests.labelled import accuracy, interval, needs_audio, on_task, rows
from tests.places import MINI, ROOT, SHARED_AUDIO
from train.config import contrastive as train_config
from train.data.listing import read_listing
from train.zero_shot.task import read_candidates

# Before the last stage, on clips held out; and of the published model, which has learned from them.
HELD_OUT, SEEN = (
    {
        entry["name"]: entry
        for entry in json.loads((MINI.parent / f"clap-mini.{name}.json").read_text())
    }
    for name in ("eval", "seen")
)


@pytest.fixture(scope="module")
def encoder(mini_bundle: Path) -> runtime.Encoder:
    return runtime.Encoder(mini_bundle)


def test_it_is_small() -> None:
    assert MINI.stat().st_size <= 40e6
    model = load(MINI).model
    assert sum(p.numel() for p in model.audio_encoder.parameters()) <= 6e6
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_it_says_that_it_is_not_for_commercial_use(mini_bundle: Path) -> None:
    assert "NC" in read_manifest(mini_bundle).source.licence
    assert "NonCommercial" in (MINI.parent / "README.md").read_text()


def test_text_embeddings_have_not_collapsed(encoder: runtime.Encoder) -> None:
    labels = read_candidates("esc50")
    rows = encoder.embed_text([f"This is a sound of {label}." for label in labels])
    cosines = rows @ rows.T
    apart = cosines[~torch.eye(len(rows), dtype=torch.bool).numpy()]
    assert apart.mean() < 0.6
    assert apart.max() < 0.99


def test_underscores_and_case_do_not_matter(encoder: runtime.Encoder) -> None:
    one, two = encoder.embed_text(["crying_baby", "Crying baby"])
    assert one @ two > 0.9999


def test_paraphrases_are_nearer_than_other_sounds(encoder: runtime.Encoder) -> None:
    near = [("a dog barking", "barking of a dog"), ("rain falling", "a heavy rain shower")]
    for one, two in near:
        a, b, other = encoder.embed_text([one, two, "a church bell ringing"])
        assert a @ b > a @ other + 0.2


def test_scores_can_be_calibrated(mini_bundle: Path) -> None:
    calibration = read_manifest(mini_bundle).calibration
    assert calibration is not None
    assert calibration.scale > 0


def test_generated_sounds(encoder: runtime.Encoder, tmp_path: Path) -> None:
    """It was never trained on sounds made by code; some are still heard for what they are."""
    paths = write_demo_sounds(tmp_path)
    found = accuracy(encoder, paths, list(SOUNDS), list(SOUNDS))
    assert found >= 4 / len(SOUNDS)  # chance is 1


@needs_audio
@pytest.mark.parametrize("name", ["esc50", "esc10", "urbansound8k"])
def test_the_runtime_hears_what_training_heard(
    encoder: runtime.Encoder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the runtime, from files, the accuracy that PyTorch gave (to one clip)."""
    monkeypatch.chdir(ROOT)
    config = train_config.load(ROOT / "train/recipes/clap-mini.toml")
    (task,) = [task for task in config.tasks if task.name == name]
    found, clips = on_task(encoder, task)
    assert SEEN[name]["clips"] == HELD_OUT[name]["clips"] == clips
    assert found == pytest.approx(SEEN[name]["accuracy"], abs=1.5 / clips)


def test_the_card_gives_what_it_never_heard() -> None:
    card = (MINI.parent / "README.md").read_text()
    for found in json.loads(MINI.with_name("clap-mini-unseen.eval.json").read_text()):
        assert f"| {found['clips']} | {found['candidates']} {interval(found)}" in card


@pytest.mark.parametrize("name", ["esc50", "esc10", "urbansound8k"])
def test_the_card_gives_the_held_out_figures(name: str) -> None:
    share = f"{100 * HELD_OUT[name]['accuracy']:.1f} %"
    for page in (ROOT / "docs" / "evaluation.md", MINI.parent / "README.md"):
        assert f"| {HELD_OUT[name]['candidates']} | {share} |" in page.read_text()


def test_the_card_gives_the_groups() -> None:
    card = (MINI.parent / "README.md").read_text()
    for task in HELD_OUT.values():
        for name, group in task["groups"].items():
            line = f"| {group['clips']} {interval(group)}"
            assert any(x.startswith(f"| {name} (") and line in x for x in card.splitlines())


@needs_audio
@pytest.mark.parametrize("stage", ["", "-cnn14", "-unseen", "-permissive"])
def test_held_out_recordings_were_not_trained_on(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the model that is validated, nor by any that taught it; not in another set either."""
    monkeypatch.chdir(ROOT)
    config = train_config.load(ROOT / f"train/recipes/clap-mini{stage}.toml")
    of = {path: row["freesound_id"] or row["recording"] for path, row in rows().items()}
    trained = {of[clip.path.resolve()] for x in config.listings for clip in read_listing(x)}
    held_out = {of[clip.path.resolve()] for x in config.tasks for clip in read_listing(x.listing)}
    assert len(trained) > 500
    assert len(held_out) > 30
    assert not trained & held_out


@needs_audio
def test_multilabel_scores_on_a_mixture(encoder: runtime.Encoder) -> None:
    """A dog and rain at once: both are more likely than sounds that are not there."""
    dog, rate = runtime.audio.load(SHARED_AUDIO / "examples" / "dog_bark.wav")
    rain, other = runtime.audio.load(SHARED_AUDIO / "examples" / "rain.wav")
    assert rate == other
    n = min(len(dog), len(rain))
    level = (dog[:n] ** 2).mean() ** 0.5 / (rain[:n] ** 2).mean() ** 0.5
    labels = ["dog", "rain", "church bells", "helicopter"]
    classifier = runtime.Classifier(encoder, labels=labels, scores="multilabel")
    mixed = dog[:n] + 0.5 * level * rain[:n]
    found = {p.label: p.score for p in classifier.predict(mixed, sample_rate=rate)}
    assert min(found["dog"], found["rain"]) > max(found["church bells"], found["helicopter"])
