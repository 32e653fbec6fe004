"""Where the records of a run go besides its folder: TensorBoard, and Weights & Biases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from runtime import schema
from runtime.errors import ClapError
from train.config.contrastive import TrainConfig

TENSORBOARD = "tensorboard"


class Board(Protocol):
    """Takes figures by name."""

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Figures at a step, counted from the start of the run."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


def boards(config: TrainConfig, step: int) -> list[Board]:
    """Those that the config asks for.

    Args:
        config: of the run.
        step: that it goes on from; what a board has of later ones is taken back.

    Raises:
        ClapError: one that is not installed.
    """
    found: list[Board] = []
    if config.tensorboard:
        found.append(TensorBoard(config.folder / TENSORBOARD, step))
    if config.wandb != "off":
        found.append(WeightsAndBiases(config))
    return found


class TensorBoard:
    """Event files that ``tensorboard --logdir`` shows."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ClapError(
                "tensorboard = true, but TensorBoard is not installed: pip install "
                "'clap-export[tensorboard]'."
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Figures at a step."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of wandb; offline it lies in the run's folder until ``wandb sync``."""

    def __init__(self, config: TrainConfig) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ClapError(
                f"wandb = '{config.wandb}', but Weights & Biases is not installed: pip install "
                "'clap-export[wandb]'."
            ) from error
        folder = config.folder.resolve()
        # The same folder is the same run, also after it was resumed.
        name = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._run: Any = wandb.init(
            project="clap-export", name=folder.name, id=name, dir=str(folder), mode=config.wandb,
            resume="allow" if config.wandb == "online" else None,
            config=schema.to_plain(config), settings=wandb.Settings(console="off", silent=True),
        )  # fmt: skip

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Figures at a step; wandb passes over steps that it has already."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
