"""``python -m train evaluate MODEL --task … --data …``: from options to what is printed."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import click

from clap_export import figure
from runtime.errors import ClapError
from runtime.prompts import check_templates
from train.machine.device import pick_device
from train.published import chart, comparison
from train.published.catalogue import RETRIEVAL, TASKS
from train.published.encoders import open_embedder
from train.published.evaluation import Evaluation
from train.published.score import Score
from train.published.task import Setup, choose

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationRequest:
    """What is evaluated, on what, and how.

    Attributes:
        model: a checkpoint of any family that the loader reads, or a bundle's folder.
        task: names with commas between them, or ``all``.
        data: folder of the data sets.
        setup: zero-shot, or what is trained.
        templates: prompts in place of the tasks' own; several are averaged.
        extension: of the audio files, where it is not the published one.
        seed: of whatever is trained.

    Raises:
        ClapError: options that do not fit together.
    """

    model: Path
    task: str
    data: Path
    setup: Setup = "zero-shot"
    templates: tuple[str, ...] = ()
    extension: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.setup != "zero-shot" and self.templates:
            raise ClapError("--supervised reads no prompts: leave --template out.")
        if self.templates:
            check_templates(self.templates)
        if self.extension is not None and not re.fullmatch(r"\.?\w+", self.extension):
            raise ClapError(f"--extension {self.extension!r} cannot end a name: give one as flac.")
        if not 0 <= self.seed < 2**63:
            raise ClapError(f"--seed {self.seed}: give a number from 0 to 2^63 - 1.")


def run(request: EvaluationRequest, *, plot: Path | None = None, as_json: bool = False) -> None:
    """Evaluate a model and print what was found.

    Args:
        request: what to do.
        plot: picture to write.
        as_json: print JSON instead of a table.

    Raises:
        ClapError: anything that cannot be used.
    """
    if plot is not None:
        figure.new(1, 1)  # fails now, not after hours of work, where matplotlib is missing
    # Retrieval has nothing to train: asked for by name, it is refused with a reason.
    trained_on_all = request.setup != "zero-shot" and request.task == "all"
    catalogue = TASKS if trained_on_all else (*TASKS, *RETRIEVAL)
    chosen = choose(request.task, catalogue, request.data)
    extension = request.extension and request.extension.removeprefix(".")
    evaluation = Evaluation(
        open_embedder(request.model, pick_device("auto")), setup=request.setup,
        templates=request.templates, extension=extension, seed=request.seed,
    )  # fmt: skip
    scores: list[Score] = []
    for one, root in chosen:
        scores += (found := evaluation.run(one, root))
        for score in found:  # at once, so that a later failure does not lose it
            log.info("%s: %s %.2f %%", score.title, score.metric, 100 * score.value)
    if as_json:
        click.echo(comparison.as_json(str(request.model), request.templates, scores))
    else:
        comparison.show(str(request.model), scores)
    if plot is not None:
        chart.plot(scores, plot, f"{request.model.name}, {request.setup}")
