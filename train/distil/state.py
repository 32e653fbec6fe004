"""What a distillation goes on from after each epoch, and the records of the epochs."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clap_export.model.clap import ClapModel
from runtime import schema
from runtime.errors import ClapError
from runtime.files import writing
from train.config.distil import DistilConfig
from train.distil.cache import CacheKey
from train.distil.course import Course, Record
from train.distil.stretches import Stretches
from train.machine import state_file
from train.machine.snapshot import mark_of_path

log = logging.getLogger(__name__)

LAST = "last.pt"
METRICS = "metrics.jsonl"


class DistilState:
    """The student, its courses, and how far they are.

    Args:
        student: that learns.
        courses: one for each tower that does, in order.
        fingerprint: of the run, see :func:`fingerprint`.

    Attributes:
        history: a record for each epoch that is done.
    """

    def __init__(self, student: ClapModel, courses: list[Course], fingerprint: str) -> None:
        self.courses = courses
        self.history: list[dict[str, Any]] = []
        self._student, self._fingerprint = student, fingerprint

    def save(self, folder: Path, course: Course) -> None:
        """Replace the folder's state, then the metrics.

        Args:
            folder: of the run.
            course: that is under way.

        Raises:
            ClapError: no space, or no right to write.
        """
        content = {
            "fingerprint": self._fingerprint, "history": self.history,
            "student": self._student.state_dict(), "course": course.state(),
        }  # fmt: skip
        state_file.write(folder / LAST, content)
        self._write_metrics(folder)

    def load(self, folder: Path) -> None:
        """Go on from the folder's state, if there is one.

        Raises:
            ClapError: it is damaged, or of another run.
        """
        path = folder / LAST
        state = state_file.read(path, self._student.logit_scale.device)
        if state is None:
            return
        if state.get("fingerprint") != self._fingerprint:
            raise ClapError(
                f"{path} is the state of a run with another config, teacher or other clips: give "
                "another 'out', or delete it."
            )
        try:
            self._student.load_state_dict(state["student"])
            last = state["history"][-1]
            now = next(c for c in self.courses if c.lesson.name == last["tower"])
            now.load_state(state["course"])
            self.history = [asdict(schema.read(Record, x, "")) for x in state["history"]]
        except Exception as error:  # torch takes the parts for what they should be
            raise ClapError(f"{path} is damaged: delete it to begin anew.") from error
        self._write_metrics(folder)  # a kill may have come between the two files
        log.info("resumed after %s epoch %d", last["tower"], last["epoch"])

    def _write_metrics(self, folder: Path) -> None:
        with writing(folder / METRICS) as part:
            lines = (json.dumps(record) + "\n" for record in self.history)
            part.write_text("".join(lines), encoding="utf-8")


def fingerprint(
    config: DistilConfig, stretches: Stretches, heard: CacheKey, sentences: list[str]
) -> str:
    """Hash of all that a run's numbers depend on: a run never resumes from another one's state.

    Args:
        config: of the run; where it runs and writes does not count.
        stretches: of the recordings: how often each is drawn, and which are held out.
        heard: what they are, with the teacher's space.
        sentences: that the text tower learns from.
    """
    plain = schema.to_plain(config)
    for key in ("out", "device", "threads", "teacher"):
        del plain[key]
    plain["audio"] |= {
        "listings": [heard.items, stretches.weight.tolist(), stretches.held_out().tolist()],
        "files": heard.teacher, "cache": config.audio.cache is not None,
    }  # fmt: skip
    if config.student.start is not None:  # what it begins with, wherever that lies
        plain["student"]["start"] = mark_of_path(Path(config.student.start))
    plain["texts"] = plain["texts"] and {**plain["texts"], "cache": None, "sources": sentences}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
