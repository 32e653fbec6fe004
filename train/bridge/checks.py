"""Is a bridge what its recipe says: from the same files, with the same figures?"""

from __future__ import annotations

import logging
from pathlib import Path

from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from clap_export.sounds.catalogue import SOUNDS
from runtime.bundle import sha256_file
from runtime.errors import ClapError
from runtime.prompts import fill
from train.config.bridge import BridgeRecipe
from train.machine import package
from train.zero_shot.embedding import embed_clips, embed_texts

log = logging.getLogger(__name__)

FIGURE = 1e-3  # a cosine's rounding between machines is far below, another file's effect far above


def check_files(recipe: BridgeRecipe) -> None:
    """Compare files with the hashes that the recipe holds of them.

    Raises:
        ClapError: one is missing or another file (all are listed).
    """
    problems: list[str] = []
    for name, wanted in recipe.sha256.items():
        path = Path(package.find(name, "sha256"))
        if not path.is_file():
            problems.append(f"{path} does not exist")
        elif (found := sha256_file(path)) != wanted:
            problems.append(f"{path} has sha256 {found}, not {wanted}")
    if problems:
        raise ClapError(
            f"the recipe was made with other files: {'; '.join(problems)}. Install the versions "
            "that it names."
        )


def check_figures(recipe: BridgeRecipe, model: ClapModel, tokenizer: str) -> None:
    """Compare cosines of sounds made by code with those that the recipe holds.

    Raises:
        ClapError: one is off by more than rounding.
    """
    if not recipe.figures:
        return
    names = list(recipe.figures)
    if strange := sorted(set(names) - SOUNDS.keys()):
        raise ClapError(f"figures: no made sound is called {', '.join(strange)}.")
    spec = model.config.audio
    sounds = [
        SOUNDS[name](spec.sample_rate, spec.window_samples / spec.sample_rate) for name in names
    ]
    labels = [fill(recipe.default_template, name.replace("_", " ")) for name in names]
    audio = embed_clips(model, sounds)
    text = embed_texts(model, Tokenizer.from_str(tokenizer), labels)
    found = dict(zip(names, (audio * text).sum(dim=1).tolist(), strict=True))
    wrong = [
        f"{name} {value:.5f}, not {recipe.figures[name]:.5f}"
        for name, value in found.items()
        if abs(value - recipe.figures[name]) > FIGURE
    ]
    if wrong:
        raise ClapError(
            f"the model is not the recipe's: cosines of made sounds are {'; '.join(wrong)}. Leave "
            "'figures' out of a recipe whose numbers or clips are your own."
        )
    log.info("cosines of %d made sounds are those of the recipe", len(found))
