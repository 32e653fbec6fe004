"""``python -m train bridge``: from a recipe to a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from clap_export.checkpoints import native
from runtime import schema
from runtime.errors import ClapError
from train.bridge import lesson, sentence, tagger
from train.bridge.build import Builder
from train.bridge.checks import check_figures, check_files
from train.bridge.choose import Chooser
from train.bridge.hearing import hear
from train.bridge.lesson import Heard
from train.config.bridge import BridgeRecipe, LearnedConfig
from train.data.listing import Clip, read_listing
from train.machine import package

log = logging.getLogger(__name__)

MODEL, LESSON = "model.safetensors", "lesson.safetensors"


def run(recipe: BridgeRecipe) -> Path:
    """Build a bridge.

    Returns:
        the checkpoint.

    Raises:
        ClapError: a file cannot be used, or is not the one that the recipe was made with.
    """
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    check_files(recipe)
    heard_by = tagger.read(recipe.tagger)
    builder = Builder(recipe, heard_by, sentence.read(recipe.text))
    learned = learn(recipe, builder)
    model = builder.model(learned, recipe.learned)
    check_figures(recipe, model, builder.tokenizer)
    path = recipe.folder / MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    native.save(path, model, builder.tokenizer)
    log.info(
        "%d tags, %d labels, %d dimensions -> %s",
        len(heard_by.tags), model.config.bridge.labels if model.config.bridge else 0,
        model.config.embedding_dim, path,
    )  # fmt: skip
    return path


def choose(recipe: BridgeRecipe) -> str:
    """The numbers that suit a recipe's clips, as tables for it; see :mod:`train.bridge.choose`.

    Raises:
        ClapError: there are no listings, or fewer than five labels with enough clips.
    """
    if not recipe.listings:
        raise ClapError("--choose needs 'listings': it tries numbers on labelled clips.")
    check_files(recipe)
    learned = recipe.learned or LearnedConfig()
    builder = Builder(recipe, tagger.read(recipe.tagger), sentence.read(recipe.text))
    heard, clips = _hear(recipe, builder)
    recordings = [clip.recording or clip.where for clip in clips]
    found = Chooser(builder, heard, recordings, learned).best(recipe.attention)
    lines = [
        f"# labels with clips {found.heard:.1%} (tags alone {found.tags_heard:.1%}), "
        f"left out {found.left_out:.1%} (tags alone {found.tags_left_out:.1%})"
    ]
    for name, table in (("attention", found.attention), ("learned", found.learned)):
        lines += ["", f"[{name}]"]
        lines += [f"{field} = {value}" for field, value in schema.to_plain(table).items()]
    return "\n".join(lines)


def learn(recipe: BridgeRecipe, builder: Builder) -> lesson.Lesson:
    """The lesson of the recipe's clips, or the one that it names.

    Raises:
        ClapError: neither can be read.
    """
    if recipe.lesson is not None:
        return lesson.read(Path(package.find(recipe.lesson, "lesson")))
    heard, clips = _hear(recipe, builder)
    least = recipe.learned.clips_least if recipe.learned else len(clips) + 1
    ridge = recipe.learned.ridge if recipe.learned else 1.0
    found = lesson.fit(heard, builder.fingerprint(), ridge, least)
    path = recipe.folder / LESSON
    path.parent.mkdir(parents=True, exist_ok=True)
    lesson.write(found, path)
    log.info("%d clips, %d labels -> %s", found.clips, len(found.labels), path)
    return found


def _hear(recipe: BridgeRecipe, builder: Builder) -> tuple[Heard, list[Clip]]:
    clips = [clip for listing in recipe.listings for clip in read_listing(listing)]
    heard, clips = hear(builder.bare, clips, recipe.threads)
    return (replace(heard, known=builder.usual) if recipe.usual == "tagger" else heard), clips
