"""The progress bar of every stage: on stderr, so that what a command prints can be piped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import rich.progress
from rich.console import Console

T = TypeVar("T")


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """``items``, with a bar while they are consumed."""
    return rich.progress.track(items, what, total=total, console=Console(stderr=True))
