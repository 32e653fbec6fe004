"""What a run writes of itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

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
        journal.add(SECOND, 6)
        journal.close()
        assert lines(tmp_path) == [FIRST, SECOND]


def test_the_file_of_steps_is_cut_to_those_that_are_done(tmp_path: Path) -> None:
    steps = [
        {
            "epoch": 1,
            "step": n,
            "loss": float(n),
            "gradient_norm": math.inf,
            "rates": {"audio": 0.1},
        }
        for n in (1, 2, 3)
    ]
    journal = Journal(tmp_path, [])
    journal.steps(steps[:1])
    kept = journal.logged
    journal.steps(steps[1:])
    journal.close()
    assert journal.logged == (tmp_path / "steps.jsonl").stat().st_size
    again = Journal(tmp_path, [], kept)
    again.steps(steps[2:])
    again.close()
    found = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [one["step"] for one in found] == [1, 3]
    assert found[0]["gradient_norm"] is None  # JSON has no infinity


def test_the_picture_has_a_panel_for_accuracies_when_there_are_any(tmp_path: Path) -> None:
    sizes = []
    for tasks in ((), ("task",)):
        path = tmp_path / f"{len(tasks)}.png"
        plot([FIRST, SECOND], tasks, path)
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        sizes.append(int.from_bytes(data[20:24], "big"))  # height, from the header
    assert sizes[1] > sizes[0]
