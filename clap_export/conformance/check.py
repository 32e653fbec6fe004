"""A reader's answers to a kit, judged case by case."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast

from clap_export.conformance import compare, kit
from clap_export.conformance.compare import Distance
from clap_export.conformance.kit import Case
from clap_export.conformance.program import Program, Unanswered
from runtime.conformance.wire import KIT
from runtime.errors import ClapError
from runtime.schema import MOST_DEPTH, shown

State = Literal["passed", "failed", "skipped"]
KINDS = ("outputs", "error", "skipped")


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Attributes:
        id: of the case.
        task: of it.
        state: ``skipped`` is no failure.
        why: a sentence, of those that did not pass.
        distances: how far each output is off that has a limit.
    """

    id: str
    task: str
    state: State
    why: str | None = None
    distances: dict[str, Distance] = field(default_factory=dict[str, Distance])


@dataclass(frozen=True)
class Check:
    """What is checked, and how patiently.

    Attributes:
        kit: folder of the kit.
        command: the reader's words.
        seconds: it may take for an answer.
        allowed: tasks that may be skipped; optional cases always may.
        only: pattern of the cases' ids, as of file names.
        without: ids of cases that are left out, such as those of an earlier part.
    """

    kit: Path
    command: tuple[str, ...]
    seconds: float = 60.0
    allowed: Collection[str] = ()
    only: str = "*"
    without: Collection[str] = ()

    def run(self) -> Generator[Verdict]:
        """Ask for all cases in order.

        Raises:
            ClapError: no kit, no such cases, or a reader that cannot be started.
        """
        folder = self.kit.resolve()
        cases = [case for case in kit.read(folder).cases if fnmatchcase(case.id, self.only)]
        if not cases:
            raise ClapError(f"no case of {self.kit} is called '{self.only}'.")
        with Program(self.command, self.seconds) as program:
            for case in cases:
                if case.id not in self.without:
                    yield self._judged(program, case, folder)

    def _judged(self, program: Program, case: Case, folder: Path) -> Verdict:
        request = {"id": case.id, "task": case.task, "kit": str(folder), "input": case.input}
        try:
            answer = parsed(program.ask(json.dumps(request).encode() + b"\n"), case.id)
        except Unanswered as problem:
            program.stop()
            return Verdict(case.id, case.task, "failed", f"the reader {problem}.")
        if "skipped" in answer:
            return self._skipped(case, answer["skipped"])
        if case.error is not None:
            why = _not_the_error(case, answer, folder)
            return Verdict(case.id, case.task, "failed" if why else "passed", why)
        if "error" in answer:
            why = f"an error, where there should be none: {_sentence(answer['error'])}"
            return Verdict(case.id, case.task, "failed", why)
        distances, problems = compare.outputs(case, answer["outputs"], folder)
        why = "; ".join(problems) + "." if problems else None
        return Verdict(case.id, case.task, "failed" if why else "passed", why, distances)

    def _skipped(self, case: Case, why: object) -> Verdict:
        if case.optional or case.task in self.allowed:
            return Verdict(case.id, case.task, "skipped", str(why))
        return Verdict(
            case.id, case.task, "failed",
            f"it was skipped ({shown(why)}): --allow-skipped {case.task} takes that.",
        )  # fmt: skip


def parsed(line: bytes, asked: str) -> dict[str, Any]:
    """An answer.

    Raises:
        Unanswered: the line is none, or one to another question.
    """
    try:
        found = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Unanswered(f"wrote {_shown(line)}, which is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise Unanswered(f"wrote {_shown(line)}, which is no answer: it must be a JSON object")
    answer = cast("dict[str, Any]", found)
    if answer.get("id") != asked:
        raise Unanswered(f"answered to {shown(answer.get('id'))}, which was not asked")
    given = [kind for kind in KINDS if kind in answer]
    if len(given) != 1 or len(answer) != 2:
        raise Unanswered(
            f"wrote an answer with {', '.join(map(shown, answer))}: it must have 'id' and one of "
            f"{', '.join(map(repr, KINDS))}"
        )
    if given[0] != "skipped" and not isinstance(answer[given[0]], dict):
        raise Unanswered(f"wrote {shown(answer[given[0]])} as '{given[0]}': it must be an object")
    return answer


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number there")


def _shown(line: bytes) -> str:
    return shown(line[: 2 * MOST_DEPTH].decode(errors="replace").rstrip("\n"))


def _sentence(error: dict[str, Any]) -> str:
    return f"{shown(error.get('code'))}, {str(error.get('message'))[:500]}"


def _not_the_error(case: Case, answer: dict[str, Any], folder: Path) -> str | None:
    """Why an answer is not the error that is expected, if it is not."""
    wanted = case.error
    assert wanted is not None  # or this is not asked
    if "error" not in answer:
        return f"no error, where there should be one: '{wanted.code}', {wanted.message}"
    found = answer["error"]
    message = str(found.get("message")).replace(str(folder), KIT)
    if found.get("code") != wanted.code:
        return f"the error is {_sentence(found)} and should be '{wanted.code}', {wanted.message}"
    if message != wanted.message:
        return f"the error says: {message[:1000]} It should say: {wanted.message}"
    return None
