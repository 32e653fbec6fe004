"""``python -m train evaluate MODEL --task … --data …``: from options to a report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click
import torch

from runtime.errors import ClapError
from runtime.prompts import check_templates
from train.published import comparison
from train.published.catalogue import RETRIEVAL, TASKS
from train.published.chart import plot as draw
from train.published.encoders import open_embedder
from train.published.evaluation import Evaluation
from train.published.score import Score
from train.published.task import Setup, choose

log = logging.getLogger(__name__)


def run(
    model: Path, task: str | None, data: Path | None, *, supervised: str | None = None,
    templates: Sequence[str] = (), extension: str | None = None, seed: int = 0,
    plot: Path | None = None, as_json: bool = False,
) -> None:  # fmt: skip
    """Evaluate a checkpoint or bundle and print what was found.

    Args:
        model: of any family that the loader reads, or a bundle's folder.
        task: names with commas between them, or ``all``.
        data: folder of the data sets.
        supervised: ``linear``, ``mlp`` or ``finetune``; None is zero-shot.
        templates: prompts instead of the benchmarks' own.
        extension: of the audio files, where it is not the published one.
        seed: of whatever is trained.
        plot: picture to write.
        as_json: print JSON instead of a table.

    Raises:
        ClapError: options that do not fit together, or anything that cannot be used.
    """
    if task is None or data is None:
        raise ClapError(
            "evaluate needs CONFIG.toml, or --task and --data: say on what MODEL is evaluated."
        )
    if supervised is not None and templates:
        raise ClapError("--supervised reads no prompts: leave --template out.")
    if templates:
        check_templates(templates)
    setup = cast(Setup, supervised or "zero-shot")
    # There is nothing to train for retrieval: who asks for it by name is told.
    catalogue = TASKS if supervised and task == "all" else (*TASKS, *RETRIEVAL)
    chosen = choose(task, catalogue, data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    evaluation = Evaluation(
        open_embedder(model, device), setup=setup, templates=templates,
        extension=None if extension is None else extension.removeprefix("."), seed=seed,
    )  # fmt: skip
    scores: list[Score] = []
    for one, root in chosen:
        scores += (found := evaluation.run(one, root))
        for score in found:  # said at once: what fails after hours takes no result with it
            log.info("%s: %s %.2f %%", score.title, score.metric, 100 * score.value)
    if plot is not None:
        draw(scores, plot, f"{model.name}, {setup}")
    if as_json:
        click.echo(comparison.as_json(str(model), templates, scores))
    else:
        comparison.show(str(model), scores)
