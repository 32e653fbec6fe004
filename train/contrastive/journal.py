"""What a run tells of itself: a line for each epoch, TensorBoard's files, and a picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clap_export.figure import new, save
from runtime.errors import ClapError
from runtime.files import writing

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
PLOT = "metrics.png"
TENSORBOARD = "tensorboard"


class Journal:
    """The records of a run, in its folder.

    Args:
        folder: of the run.
        records: of the epochs that are done. The file of metrics is made to hold these: a run that
            was stopped may have written one too few, or one that is trained again.
        tensorboard: write for it too.

    Raises:
        ClapError: TensorBoard was asked for and is not installed.
    """

    def __init__(
        self, folder: Path, records: Sequence[dict[str, Any]], tensorboard: bool = False
    ) -> None:
        self._path = folder / METRICS
        self._board: Any = None
        if tensorboard:
            self._board = _writer(folder / TENSORBOARD, len(records))
        self._lines = [_line(record) for record in records]
        self._write()

    def add(self, record: dict[str, Any]) -> None:
        """Write down an epoch."""
        self._lines.append(_line(record))
        self._write()
        if self._board is not None:
            for name, value in record.items():
                if name != "epoch":
                    self._board.add_scalar(name, value, record["epoch"])
            self._board.flush()
        log.info(" ".join(f"{k} {v:.4g}" for k, v in record.items()))

    def _write(self) -> None:
        with writing(self._path) as part:
            part.write_text("".join(self._lines), encoding="utf-8")

    def close(self) -> None:
        """Let go of TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def plot(records: Sequence[dict[str, Any]], tasks: Sequence[str], path: Path) -> None:
    """Draw the loss of every epoch, and the accuracies where they were measured."""
    figure = new(7, 3 if not tasks else 5.5)
    panels = figure.subplots(1 + bool(tasks), 1, sharex=True, squeeze=False)[:, 0]
    panels[0].plot([r["epoch"] for r in records], [r["loss"] for r in records], color="tab:gray")
    panels[0].set_ylabel("training loss")
    for task in tasks:
        measured = [(r["epoch"], 100 * r[task]) for r in records if task in r]
        panels[1].plot(*zip(*measured, strict=True), marker="o", markersize=3, label=task)
    if tasks:
        panels[1].set_ylabel("accuracy, %")
        panels[1].legend()
    panels[-1].set_xlabel("epoch")
    for panel in panels:
        panel.grid(alpha=0.3)
    save(figure, path)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _writer(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ClapError(
            "tensorboard = true, but TensorBoard is not installed: pip install "
            "'clap-export[tensorboard]'."
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1)
