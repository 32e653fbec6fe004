"""How much a result depends on the words of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from train.zero_shot.task import Task

# Prompts that published models were trained or evaluated with, and how people say it.
PROMPTS = (
    "{}", "a {}", "the sound of {}", "a sound of {}", "This is a sound of {}.",
    "a recording of {}", "an audio clip of {}", "I can hear {}", "{} in the background",
)  # fmt: skip


@dataclass(frozen=True)
class Sensitivity:
    """Accuracy with each prompt alone.

    Attributes:
        accuracy: of each prompt.
        mean: of them.
        deviation: of a single prompt from the mean, as a standard deviation (n - 1).
        low, high: of the worst and of the best prompt.
    """

    accuracy: dict[str, float]
    mean: float
    deviation: float
    low: float
    high: float


def sensitivity(
    task: Task, audio: np.ndarray, model: ClapModel, tokenizer: Tokenizer,
    prompts: Sequence[str] = (),
) -> Sensitivity:  # fmt: skip
    """Score a task with each prompt.

    Args:
        task: whose labels are put through them.
        audio: what the task's ``hear`` gave.
        model: in evaluation mode.
        tokenizer: the model's.
        prompts: with one ``{}`` each; default :data:`PROMPTS`.
    """
    found = {
        prompt: task.score(audio, model, tokenizer, (prompt,)).accuracy
        for prompt in prompts or PROMPTS
    }
    values = np.array(list(found.values()))
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Sensitivity(
        found, float(values.mean()), spread, float(values.min()), float(values.max())
    )
