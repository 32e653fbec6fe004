"""A process to measure in: engines that are open side by side take the cores from each other, and
memory is counted by process.

The parent asks by name of a method and waits for the answer; both sides speak pickle over the
child's standard streams, so that it may run another Python: TensorRT's package may be installed in
an environment that torch is not.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from runtime.errors import ClapError

# Appended: what the other environment has of its own comes first.
ROOT = Path(__file__).parents[2]
START = (
    f"import sys; sys.path.append({str(ROOT)!r}); import clap_export.bench.process as p; p.serve()"
)
PATIENCE = 10.0  # seconds for it to end by itself

P = TypeVar("P", bound="Process")


class Failure:
    """An error that is not the user's, as its traceback."""

    def __init__(self, text: str) -> None:
        self.text = text


class Process:
    """The parent's side.

    Args:
        make: makes the object that answers, there; a function or class of a module.
        arguments: for it.
        python: interpreter to run; default this one.
    """

    def __init__(
        self, make: Callable[..., object], *arguments: Any, python: Path | None = None
    ) -> None:
        command = [str(python or sys.executable), "-c", START]
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
            )
        except OSError as error:
            raise ClapError(f"'{python}' cannot be run as a Python ({error}).") from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._to: IO[bytes] = self._child.stdin
        self._from: IO[bytes] = self._child.stdout
        self._first: tuple[Any, ...] | None = (make, arguments)

    def ask(self, method: str, *given: Any) -> Any:
        """Call a method there.

        Raises:
            ClapError: what it raised.
            RuntimeError: it failed otherwise; with the traceback.
        """
        try:
            if self._first is not None:
                first, self._first = self._first, None
                _send(self._to, first)
            _send(self._to, (method, given))
            answer = pickle.load(self._from)
        except (EOFError, OSError):
            code = self._child.wait()
            raise RuntimeError(f"a benchmark's process ended with exit code {code}") from None
        if isinstance(answer, ClapError):
            raise answer
        if isinstance(answer, Failure):
            raise RuntimeError(answer.text)
        return answer

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # it is gone
            self._to.close()  # which ends the process
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._from.close()


def serve() -> None:
    """The process: answers until the other end is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    asked = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nor may they read what is asked
    make, arguments = pickle.load(asked)
    made = _tried(lambda: make(*arguments))
    while True:
        try:
            method, given = pickle.load(asked)
        except EOFError:
            return
        if isinstance(made, (ClapError, Failure)):
            _send(answers, made)  # why there is nobody to ask
        else:
            _send(answers, _tried(lambda m=method, g=given: getattr(made, m)(*g)))


def _tried(call: Callable[[], object]) -> object:
    try:
        return call()
    except ClapError as error:
        return error
    except Exception:  # whatever it is, the parent shows it
        return Failure(traceback.format_exc())


def _send(pipe: IO[bytes], message: object) -> None:
    pickle.dump(message, pipe, protocol=5)
    pipe.flush()
