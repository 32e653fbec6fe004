"""What a run writes of itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.errors import ClapError
from train.contrastive.journal import Journal, plot

FIRST = {"epoch": 1, "loss": 2.0, "task": 0.25}
SECOND = {"epoch": 2, "loss": 1.0}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_file_holds_the_epochs_that_are_done(tmp_path: Path) -> None:
    """Whatever a run that was stopped had written: a line too many, too few, or half of one."""
    for left in ("", json.dumps(FIRST) + "\n" + json.dumps(SECOND) + "\n", '{"epoch": 1, "lo'):
        (tmp_path / "metrics.jsonl").write_text(left)
        journal = Journal(tmp_path, [FIRST])
        assert lines(tmp_path) == [FIRST]
        journal.add(SECOND)
        journal.close()
        assert lines(tmp_path) == [FIRST, SECOND]


def test_tensorboard_gets_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[Any, ...]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            said.append(("open", Path(folder).name, purge_step))

        def add_scalar(self, *arguments: Any) -> None:
            said.append(arguments)

        def flush(self) -> None:
            said.append(("flush",))

        def close(self) -> None:
            said.append(("close",))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    journal = Journal(tmp_path, [SECOND], tensorboard=True)
    journal.add(FIRST)
    journal.close()
    assert said == [
        ("open", "tensorboard", 2), ("loss", 2.0, 1), ("task", 0.25, 1), ("flush",), ("close",),
    ]  # fmt: skip


def test_tensorboard_that_is_not_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ClapError, match="TensorBoard is not installed: pip install 'clap-export"):
        Journal(tmp_path, [], tensorboard=True)


def test_the_picture_has_a_panel_for_accuracies_when_there_are_any(tmp_path: Path) -> None:
    sizes = []
    for tasks in ((), ("task",)):
        path = tmp_path / f"{len(tasks)}.png"
        plot([FIRST, SECOND], tasks, path)
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        sizes.append(int.from_bytes(data[20:24], "big"))  # height, from the header
    assert sizes[1] > sizes[0]
