"""Lists of problems in one sentence: a file read by the wrong rule has one in every row."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 20


def listed(problems: Sequence[str], shown: int = SHOWN, between: str = "; ") -> str:
    """The first problems, and how many are left: ``a; b and 3 more``."""
    rest = len(problems) - shown
    more = f" and {rest} more" if rest > 0 else ""
    return between.join(problems[:shown]) + more
