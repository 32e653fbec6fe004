"""What a table of a config may hold: every value that does not fit is named, all at once."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import LabelError
from runtime.prompts import check_templates

MOST_INT = 2**31 - 1  # of counts: what array libraries take as a length everywhere
MOST_RATE = 1e6  # of learning rates, weights and norms: beyond any that is meant


class Checks:
    """Collects what is wrong with a table.

    Args:
        config: the table, whose fields are looked at by name.
    """

    def __init__(self, config: object) -> None:
        self._config = config
        self._problems: list[str] = []

    def bound(
        self, *names: str, least: float | None = None, above: float | None = None,
        below: float | None = None, most: float | None = None,
    ) -> None:  # fmt: skip
        """Fields that must lie inside; one that is None is left alone."""
        limits = {"at least": least, "above": above, "below": below, "at most": most}
        said = " and ".join(
            f"{word} {limit:g}" for word, limit in limits.items() if limit is not None
        )
        for name in names:
            value = getattr(self._config, name)
            self.need(
                value is None
                or (
                    (least is None or value >= least)
                    and (above is None or value > above)
                    and (below is None or value < below)
                    and (most is None or value <= most)
                ),
                f"{name} is {value}, must be {said}",
            )

    def need(self, right: bool, problem: str) -> None:
        """Anything else that must be so."""
        if not right:
            self._problems.append(problem)

    def templates(self, *names: str) -> None:
        """Fields that are prompts, one or several, with exactly one ``{}`` each."""
        for name in names:
            try:
                check_templates(getattr(self._config, name))
            except LabelError as error:
                self.need(False, f"{name}: {str(error).removesuffix('.')}")

    def once(self, what: str, names: Sequence[str]) -> None:
        """Names of which none may be there twice."""
        twice = sorted({name for name in names if names.count(name) > 1})
        self.need(not twice, f"{what}: {', '.join(twice)}")

    def done(self) -> None:
        """Refuse the table if anything was wrong.

        Raises:
            ValueError: every problem.
        """
        if self._problems:
            raise ValueError("; ".join(self._problems))
