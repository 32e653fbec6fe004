"""How far the labels of a task are from what a model was trained on: whether "unseen" is true.

A name that no clip had may still be another word for one that many had. So each label comes with
the training name that the model itself takes for the nearest, and with its distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.prompts import fill
from train.config.listings import listings_of
from train.data.listing import read_listing
from train.zero_shot.embedding import embed_texts
from train.zero_shot.task import plain, read_candidates


@dataclass(frozen=True)
class Neighbour:
    """A label and the training name nearest to it.

    Attributes:
        distance: 1 less the cosine of the two in the model's default prompt; 0 for the same name.
        seen: whether it is the same name, but for case.
    """

    name: str
    distance: float
    seen: bool


def training_names(source: Path) -> tuple[str, ...]:
    """What a model has heard by name.

    Args:
        source: the config that it was made by, a run's or a bridge's, whose listings' labels and
            names are read; or a text file with a name a line.

    Raises:
        ClapError: it cannot be read.
    """
    if source.suffix != ".toml":
        return tuple(map(plain, read_candidates(str(source))))
    names: dict[str, None] = {}
    for listing in listings_of(source, tasks=False):
        for clip in read_listing(listing):
            names.update((plain(name), None) for name in (clip.label, *clip.names))
    return tuple(names)


def nearest(
    labels: Sequence[str], names: Sequence[str], model: ClapModel, tokenizer: Tokenizer
) -> dict[str, Neighbour]:
    """The training name nearest to each label.

    Args:
        labels: of a task.
        names: at least one.
        model: in evaluation mode.
        tokenizer: the model's.
    """
    template = model.config.default_template
    said = [[fill(template, plain(name)) for name in group] for group in (labels, names)]
    ours, theirs = (embed_texts(model, tokenizer, texts).cpu().numpy() for texts in said)
    cosine = ours @ theirs.T
    by_name = {name.casefold(): i for i, name in enumerate(names)}
    found: dict[str, Neighbour] = {}
    for row, label in enumerate(labels):
        same = by_name.get(plain(label).casefold())
        best = int(np.argmax(cosine[row])) if same is None else same
        distance = 0.0 if same is not None else max(0.0, 1 - float(cosine[row, best]))
        found[label] = Neighbour(names[best], distance, same is not None)
    return found
