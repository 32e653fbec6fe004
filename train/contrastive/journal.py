"""What a run tells of itself: a line for each epoch and for each step, boards, and a picture."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clap_export.figure import new, save
from runtime.errors import ClapError
from runtime.files import Growing, writing
from train.contrastive.boards import Board

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
STEPS = "steps.jsonl"
PLOT = "metrics.png"


class Journal:
    """The records of a run, in its folder.

    Args:
        folder: of the run.
        records: of the epochs that are done. The file of metrics is made to hold these: a run that
            was stopped may have written one too few, or one that is trained again.
        logged: bytes of the file of steps that are of steps which are done; the rest is cut off.
        boards: that are told too.

    Raises:
        ClapError: a file cannot be written.
    """

    def __init__(
        self, folder: Path, records: Sequence[dict[str, Any]], logged: int = 0,
        boards: Sequence[Board] = (),
    ) -> None:  # fmt: skip
        self._path, self._boards = folder / METRICS, list(boards)
        self._lines = [_line(record) for record in records]
        self._write()
        self._steps_path = folder / STEPS
        try:
            self._descriptor = os.open(
                self._steps_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666
            )
            self.logged = min(logged, os.fstat(self._descriptor).st_size)
            os.ftruncate(self._descriptor, self.logged)
        except OSError as error:
            raise _unwritable(self._steps_path, error) from error

    def steps(self, records: Sequence[dict[str, Any]]) -> None:
        """Write down steps: each has ``epoch``, ``step`` of the run, and figures.

        Raises:
            ClapError: they cannot be written.
        """
        data = "".join(map(_line, records)).encode()
        try:
            Growing(self._descriptor).add(data)
        except OSError as error:
            raise _unwritable(self._steps_path, error) from error
        self.logged += len(data)
        for record in records:
            figures = _figures({k: v for k, v in record.items() if k not in ("epoch", "step")})
            for board in self._boards:
                board.add(
                    {f"step/{name}": value for name, value in figures.items()}, record["step"]
                )

    def add(self, record: dict[str, Any], step: int) -> None:
        """Write down an epoch, after so many steps of the run."""
        self._lines.append(_line(record))
        self._write()
        for board in self._boards:
            board.add(_figures(record), step)
        plain = {k: v for k, v in record.items() if not isinstance(v, dict)}
        log.info(" ".join(f"{k} {v:.4g}" for k, v in plain.items()))

    def _write(self) -> None:
        with writing(self._path) as part:
            part.write_text("".join(self._lines), encoding="utf-8")

    def close(self) -> None:
        """Let go of the files and boards."""
        os.close(self._descriptor)
        for board in self._boards:
            board.close()


def plot(records: Sequence[dict[str, Any]], shares: Sequence[str], path: Path) -> None:
    """Draw the loss of every epoch, and figures from 0 to 1 where they were measured."""
    figure = new(7, 3 if not shares else 5.5)
    panels = figure.subplots(1 + bool(shares), 1, sharex=True, squeeze=False)[:, 0]
    panels[0].plot([r["epoch"] for r in records], [r["loss"] for r in records], color="tab:gray")
    panels[0].set_ylabel("training loss")
    for name in shares:
        measured = [(r["epoch"], 100 * r[name]) for r in records if name in r]
        panels[1].plot(*zip(*measured, strict=True), marker="o", markersize=3, label=name)
    if shares:
        panels[1].set_ylabel("accuracy or recall, %")
        panels[1].legend()
    panels[-1].set_xlabel("epoch")
    for panel in panels:
        panel.grid(alpha=0.3)
    save(figure, path)


def _figures(record: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by name; those of a table inside by both names."""
    found: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{key}": inner for key, inner in value.items()}
        elif value is not None:
            found[name] = value
    return found


def _line(record: dict[str, Any]) -> str:
    # JSON has no infinity: a gradient of float16 may overflow before the scale is lowered.
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v
              for k, v in record.items()}  # fmt: skip
    return json.dumps(finite) + "\n"


def _unwritable(path: Path, error: OSError) -> ClapError:
    return ClapError(f"'{path}' cannot be written: {error.strerror or error}.")
