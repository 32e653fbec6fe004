"""The recipes of clap-open are one recipe."""

from __future__ import annotations

from dataclasses import replace

from tests.places import RECIPES
from train.config.bridge import load


def test_its_lesson_is_learned_as_the_recipe_has_it() -> None:
    """Only where the clips come from differs, and what is compared at the end."""
    whole = load(RECIPES / "clap-open.toml")
    assert whole.lesson == "models/clap-open.lesson.safetensors"
    assert len(whole.sha256) == 6
    for name, folds in (("clap-open-lesson", []), ("clap-open-held-out", [("5",), ("3",)])):
        found = load(RECIPES / f"{name}.toml")
        assert len(found.listings) == 3
        kept = [listing.exclude.get("fold") for listing in found.listings]
        assert [fold for fold in kept if fold is not None] == folds
        assert (
            replace(found, listings=(), lesson=whole.lesson, out=whole.out, figures=whole.figures)
            == whole
        )
