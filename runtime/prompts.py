"""From a label to the texts that stand for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from runtime.arguments import shown
from runtime.errors import LabelError
from runtime.schema import Text

SLOT = "{}"
MOST_LETTERS = 1000  # of a template


def fill(template: str, label: str) -> str:
    """The prompt of a label. Not ``str.format``: a label or a template may hold other braces."""
    return template.replace(SLOT, label)


def fill_all(templates: Sequence[str], label: str) -> list[str]:
    """The prompts of a label, in the order of the templates."""
    return [fill(template, label) for template in templates]


def check_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """One or more prompts, each with exactly one ``{}`` for the label.

    Raises:
        LabelError: none given, or an ill-formed one.
    """
    if isinstance(templates, bytes) or not isinstance(cast(object, templates), (str, Iterable)):
        raise LabelError(
            f"templates={shown(templates)}: pass a prompt such as 'a sound of {{}}', or several."
        )
    templates = (templates,) if isinstance(templates, str) else tuple(templates)
    if not templates:
        raise LabelError("no templates were given: pass at least one, such as 'a sound of {}'.")
    for template in templates:
        if not isinstance(cast(object, template), str) or template.count(SLOT) != 1:
            raise LabelError(
                f"template {shown(template)} must hold exactly one {{}} for the label, "
                "as in 'this is a sound of {}'."
            )
        problem = Text(MOST_LETTERS).problem(template)
        if problem:
            raise LabelError(f"template {shown(template)} {problem}.")
    return templates
