"""Pictures by matplotlib, without pyplot: no display is looked for, no settings are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.errors import ClapError
from runtime.files import writing

DPI = 150


def new(width: float, height: float) -> Any:
    """An empty ``matplotlib.figure.Figure``; both sizes are in inches.

    Raises:
        ClapError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ClapError(
            f"plots need matplotlib, which cannot be imported ({error}). "
            "Install it: pip install matplotlib"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path, *, overwrite: bool = True) -> None:
    """Write it; the ending of the path chooses PNG, SVG or PDF.

    Raises:
        ClapError: it cannot be written.
    """
    kind = path.suffix.removeprefix(".") or "png"
    with writing(path, overwrite=overwrite) as part:
        try:
            figure.savefig(part, dpi=DPI, format=kind)
        except ValueError as error:  # a kind of picture that matplotlib does not know
            raise ClapError(f"'{path}' cannot be written ({error}).") from error
