"""The recipes of clap-open are one recipe."""

from __future__ import annotations

from dataclasses import replace

from tests.places import RECIPES, ROOT
from train.bridge import lesson
from train.config.bridge import load
from train.config.listings import tasks_of
from train.zero_shot.task import read_candidates


def test_its_lesson_is_learned_as_the_recipe_has_it() -> None:
    """Only where the clips come from differs, and what is compared at the end."""
    whole = load(RECIPES / "clap-open.toml")
    assert whole.lesson == "models/clap-open.lesson.safetensors"
    assert len(whole.sha256) == 6
    held_out = [("5",), ("3",)]
    for name, folds in (
        ("clap-open-lesson", []), ("clap-open-held-out", held_out), ("clap-open-unseen", held_out)
    ):  # fmt: skip
        found = load(RECIPES / f"{name}.toml")
        assert len(found.listings) == 3
        kept = [listing.exclude.get("fold") for listing in found.listings]
        assert [fold for fold in kept if fold is not None] == folds
        assert (
            replace(found, listings=(), lesson=whole.lesson, out=whole.out, figures=whole.figures)
            == whole
        )
        # The lesson made again must give the recipe's figures; one of fewer clips does not.
        assert found.figures == ({} if folds else whole.figures)
    tags = load(RECIPES / "clap-open-tags.toml")
    assert tags.lesson == f"{load(RECIPES / 'clap-open-held-out.toml').out}/lesson.safetensors"
    assert (tags.learned, tags.tagger, tags.attention) == (None, whole.tagger, whole.attention)


def test_what_is_left_out_is_what_is_asked() -> None:
    """The classes without clips are those of the tasks, in every listing that has them."""
    (esc50, _, events) = load(RECIPES / "clap-open-unseen.toml").listings
    of_events, of_esc50 = tasks_of(RECIPES / "clap-open-unseen-tasks.toml").tasks
    assert events.exclude["esc50_class"] == of_events.listing.where["esc50_class"]
    assert esc50.exclude["class_complete"] == of_esc50.listing.where["class_complete"]
    names = {name.replace("_", " ") for name in events.exclude["esc50_class"]}
    assert len(names) == 24
    assert names < set(read_candidates("esc50"))


def test_the_lesson_in_the_repository_is_a_fit() -> None:
    """Labels of which each clip has one share what a fit to all of them leaves: nothing."""
    found = lesson.read(ROOT / "models" / "clap-open.lesson.safetensors")
    assert found.answers.sum(dim=0).abs().max() < 1e-4 * found.answers.norm()
    assert abs(float(found.offset.sum())) < 1e-3
