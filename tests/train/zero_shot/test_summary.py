"""What ``python -m train evaluate MODEL CONFIG.toml`` reports: groups, prompts, several models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import runtime
from clap_export.checkpoints import load, native
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from train.__main__ import main
from train.config.contrastive import TrainConfig
from train.config.data import ListingConfig, TaskConfig
from train.data.clips import ClipStore
from train.data.listing import read_listing
from train.zero_shot import calibrate, confusion, summary
from train.zero_shot.embedding import embed_texts
from train.zero_shot.neighbours import training_names
from train.zero_shot.run import Asked, Found, run_tasks
from train.zero_shot.task import TaskResult, together

LABELS = ("tone", "noise", "clicks")
TEMPLATES = ("a sound of {}", "{}")


def test_together_is_the_mean_of_probabilities() -> None:
    """Two labels, by hand: 3 to 1 and 1 to 9 are 0.75 and 0.1 for the first."""
    truth = np.array([0])
    one = TaskResult(("a", "b"), np.array([[np.log(3), 0.0]]), truth)
    other = TaskResult(("a", "b"), np.array([[0.0, 0.5 * np.log(9)]]), truth)
    found = together([one, other], [1.0, 2.0])
    assert found.scores == pytest.approx(np.array([[0.425, 0.575]]))
    assert found.accuracy == 0.0
    assert together([one, other], [2.0, 2.0]).accuracy == 1.0  # 9 to 1 beside 1 to 9: a tie


def task(groups: dict[str, tuple[str, ...]]) -> TaskConfig:
    return TaskConfig("three", ListingConfig("clips.csv", "file"), "labels.txt", groups)


def test_groups_and_the_mean_of_labels_are_counted_by_clips_and_by_labels() -> None:
    best = np.array([0, 0, 0, 0, 1, 2])  # all but the last are the first label's or the second's
    truth = np.array([0, 0, 0, 1, 1, 1])
    result = TaskResult(LABELS, np.eye(3)[best], truth)
    found = summary.summarise(task({"both": ("tone", "noise"), "one": ("noise",)}), Found(result))
    assert (found.clips, found.accuracy) == (6, 4 / 6)
    assert found.mean_of_labels == pytest.approx((1 + 1 / 3) / 2)
    assert (found.groups["both"].accuracy, found.groups["both"].clips) == (4 / 6, 6)
    one = found.groups["one"]
    assert (one.accuracy, one.clips) == (1 / 3, 3)
    # Wilson's interval solves |p - share| = z * sqrt(p (1 - p) / n).
    for bound in (one.low, one.high):
        assert abs(bound - 1 / 3) == pytest.approx(
            1.959964 * np.sqrt(bound * (1 - bound) / 3), rel=1e-5
        )
    with pytest.raises(ClapError, match=r"task three: no clips of the groups' clicks, horn\."):
        summary.summarise(task({"more": ("noise", "horn"), "other": ("clicks",)}), Found(result))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models that differ in their weights and in their logit scale."""
    folder, paths = tmp_path_factory.mktemp("models"), []
    for seed in (0, 1):
        made = tiny.checkpoint()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            made.model.audio_projection.linear1.weight.normal_(0.0, 0.1, generator=generator)
            made.model.logit_scale.fill_(2.0 + seed)
        paths.append(folder / f"{seed}.safetensors")
        native.save(paths[-1], made.model, made.tokenizer)
    return paths


@pytest.fixture
def recipe(tmp_path: Path) -> TrainConfig:
    made = tinyrun.config(tmp_path)
    grouped = replace(made.tasks[0], groups={"not steady": ("noise", "clicks")})
    return replace(made, tasks=(grouped,))


def test_several_prompts_give_the_similarities_of_the_runtime(
    recipe: TrainConfig, exported_bundle: Path, tmp_path: Path
) -> None:
    made = tiny.checkpoint()
    native.save(tmp_path / "m.safetensors", made.model, made.tokenizer)
    (found,) = run_tasks([tmp_path / "m.safetensors"], recipe, TEMPLATES).values()
    classifier = runtime.Classifier(exported_bundle, labels=LABELS, templates=list(TEMPLATES))
    store = ClipStore(read_listing(recipe.tasks[0].listing), made.model.config.audio)
    (other,) = run_tasks([tmp_path / "m.safetensors"], recipe, TEMPLATES[:1]).values()
    assert np.abs(other.scores - found.scores).max() > 1e-3
    assert found.scores.shape == (len(store.clips), len(LABELS))
    for i, row in enumerate(found.scores):
        ranked = classifier.predict(store.waveform(i), sample_rate=tiny.RATE, top_k=3)
        want = {p.label: p.similarity for p in ranked}
        assert row == pytest.approx([want[label] for label in LABELS], abs=1e-5)


def test_two_models_together_from_the_command_line(
    models: list[Path], recipe: TrainConfig, tmp_path: Path
) -> None:
    path = tinyrun.write(recipe, tmp_path / "recipe.toml")
    arguments = ["evaluate", str(models[0]), str(path), "--with", str(models[1])]
    done = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    each = [run_tasks([model], recipe)["held-out"] for model in models]
    odds = [np.exp(np.exp(2.0 + k) * x.scores.astype(np.float64)) for k, x in enumerate(each)]
    mean = odds[0] / odds[0].sum(1, keepdims=True) + odds[1] / odds[1].sum(1, keepdims=True)
    assert found["accuracy"] == (mean.argmax(axis=1) == each[0].truth).mean()
    assert found["groups"]["not steady"]["clips"] == int((each[0].truth != 0).sum())
    shown = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert "not steady" in shown.output


def test_a_config_without_tasks_is_refused(recipe: TrainConfig, models: list[Path]) -> None:
    with pytest.raises(ClapError, match=r"has no \[\[tasks\]\]"):
        run_tasks(models[:1], replace(recipe, tasks=()))
    with pytest.raises(ClapError, match="no tasks to fit a calibration on"):
        calibrate.fit([])


def test_a_calibration_is_even_where_true_and_false_are_as_likely() -> None:
    """Cosines of true pairs around 0.5, of false ones around 0.1, alike in spread."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    scores = 0.1 + 0.4 * np.eye(3)[truth] + 0.1 * rng.standard_normal((400, 3))
    found = calibrate.fit([TaskResult(LABELS, scores, truth)])
    assert -found.bias / found.scale == pytest.approx(0.3, abs=0.02)
    assert found.scale > 0


def test_unseen_labels_are_those_that_no_training_name_is(
    models: list[Path], recipe: TrainConfig, tmp_path: Path
) -> None:
    """Names by a file; their distance is the one of the model's own text embeddings."""
    (tmp_path / "names.txt").write_text("Tone\na loud hiss\nringing\n")
    path = tinyrun.write(recipe, tmp_path / "recipe.toml")
    arguments = ["evaluate", str(models[0]), str(path), "--leave-out", str(tmp_path / "names.txt")]
    done = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    (found,) = json.loads(done.stdout)
    loaded = load(models[0])
    template = loaded.model.config.default_template
    names = ["Tone", "a loud hiss", "ringing"]
    texts = [template.replace("{}", text) for text in (*LABELS, *names)]
    vectors = embed_texts(loaded.model.eval(), tiny.tokenizer(), texts).numpy()
    cosine = vectors[:3] @ vectors[3:].T
    near = found["nearest"]
    assert near["tone"] == {"name": "Tone", "distance": 0.0, "seen": True}
    for row, label in enumerate(LABELS[1:], start=1):
        assert near[label]["name"] == names[int(cosine[row].argmax())]
        assert near[label]["distance"] == pytest.approx(1 - cosine[row].max(), abs=1e-6)
        assert near[label]["seen"] is False
    result = run_tasks(models[:1], recipe)["held-out"]
    right = result.right()
    assert found["seen"]["accuracy"] == right[result.truth == 0].mean()
    assert found["unseen"]["accuracy"] == right[result.truth != 0].mean()
    assert found["unseen"]["clips"] == 6
    shown = CliRunner().invoke(main, arguments, catch_exceptions=False).output
    assert "2 of 3 labels are no training names" in shown
    assert "not trained on" in shown


def test_training_names_of_a_config_are_those_of_its_listings(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    path = tinyrun.write(recipe, tmp_path / "recipe.toml")
    assert set(training_names(path)) == set(LABELS)


def test_each_prompt_is_scored_alone(
    models: list[Path], recipe: TrainConfig, tmp_path: Path
) -> None:
    path = tinyrun.write(recipe, tmp_path / "recipe.toml")
    arguments = ["evaluate", str(models[0]), str(path), "--each-prompt", "--json"]
    arguments += [x for template in TEMPLATES for x in ("--template", template)]
    (found,) = json.loads(CliRunner().invoke(main, arguments, catch_exceptions=False).stdout)
    alone = {t: run_tasks(models[:1], recipe, (t,))["held-out"].accuracy for t in TEMPLATES}
    assert found["prompts"]["accuracy"] == alone
    values = list(alone.values())
    assert found["prompts"]["mean"] == pytest.approx(np.mean(values))
    assert found["prompts"]["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert (found["prompts"]["low"], found["prompts"]["high"]) == (min(values), max(values))
    assert found["accuracy"] == run_tasks(models[:1], recipe, TEMPLATES)["held-out"].accuracy


def test_what_is_taken_for_what_is_counted_and_drawn(tmp_path: Path) -> None:
    best, truth = np.array([0, 1, 1, 2, 1]), np.array([0, 0, 0, 1, 1])
    result = TaskResult(LABELS, np.eye(3)[best], truth)
    assert confusion.confusion(result).tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 0]]
    assert confusion.taken_for(result) == {
        "tone": {"noise": pytest.approx(2 / 3)}, "noise": {"clicks": 0.5}
    }  # fmt: skip
    fifty = TaskResult(tuple(f"label {i}" for i in range(50)), np.eye(50), np.arange(50))
    for name, one in (("three", result), ("fifty", fifty)):
        confusion.plot(one, name, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_one_model_is_looked_at(models: list[Path], recipe: TrainConfig) -> None:
    with pytest.raises(ClapError, match="look at one model: leave --with out"):
        Asked(models, each_prompt=True)


def test_a_file_of_tasks_alone_is_enough(
    models: list[Path], recipe: TrainConfig, tmp_path: Path
) -> None:
    """It gives what the config of a run with the same tasks gives."""
    whole = tinyrun.write(recipe, tmp_path / "recipe.toml")
    lines = whole.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("tasks = ")]
    (tmp_path / "tasks.toml").write_text(line + "\n", encoding="utf-8")
    found = [
        CliRunner().invoke(main, ["evaluate", str(models[0]), str(path), "--json"]).stdout
        for path in (whole, tmp_path / "tasks.toml")
    ]
    assert json.loads(found[0])[0]["clips"] == 9
    assert found[0] == found[1]
    twice = line.removesuffix("]") + ", " + line.removeprefix("tasks = [")
    (tmp_path / "tasks.toml").write_text(twice + "\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["evaluate", str(models[0]), str(tmp_path / "tasks.toml")])
    assert "the name of two tasks: held-out" in str(done.exception)


def test_training_names_of_a_bridges_recipe(tmp_path: Path) -> None:
    """Any file with listings says what a model has heard."""
    (tmp_path / "clips.csv").write_text("file,class\na.wav,door_bell\nb.wav,rain\n")
    listing = (
        f'[[listings]]\npath = "{tmp_path / "clips.csv"}"\naudio = "file"\nlabels = ["class"]\n'
    )
    (tmp_path / "bridge.toml").write_text('name = "mine"\n[tagger]\nkind = "yamnet"\n' + listing)
    assert training_names(tmp_path / "bridge.toml") == ("door bell", "rain")
    student = '[student]\nname = "small"\n' + listing.replace("[[listings]]", "[[audio.listings]]")
    (tmp_path / "distil.toml").write_text(student)
    with pytest.raises(ClapError, match="It is a distillation's: labels are its teacher's"):
        training_names(tmp_path / "distil.toml")
