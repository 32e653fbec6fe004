"""A reader under test: a program that is asked a question a line, and may do anything."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from runtime.errors import ClapError

MOST_LINE = 128 << 20  # bytes of an answer
ENDING = 5.0  # seconds that it is given to end by itself


class Unanswered(Exception):
    """Why a question has no answer, as a clause: ``it …``."""


class Program:
    """Runs a command, again whenever it ended, and asks it.

    Args:
        command: its words; the first is looked up as a shell would. There is no shell.
        seconds: it may take for an answer.

    Raises:
        ClapError: there is no such program, or it cannot be started.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._command, self._seconds = list(command), seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0  # by the process that runs now
        self._start()

    def ask(self, question: bytes) -> bytes:
        """An answer's line, to a question's line.

        A program may answer one question and end: then it is started again for the next.

        Raises:
            Unanswered: it did not answer. It is started anew for the next question.
        """
        for _ in range(2):
            process = self._process or self._start()
            line = self._exchanged(process, question)
            if line:
                self._answered += 1
                return line
            ended_well = self._ended(process) == 0 and self._answered
            code = process.returncode
            self.stop()
            if not ended_well:
                raise Unanswered(f"ended without an answer ({_said(code)})")
        raise Unanswered("ended without an answer (exit code 0)")

    def stop(self) -> None:
        """End the process, and all that it started; the next question starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                if stream is process.stdin and stream is not None:
                    stream.close()
        self._ended(process)
        _kill(process)
        process.wait()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=os.name == "posix",
            )  # fmt: skip
        except (OSError, ValueError, IndexError) as error:
            reason = getattr(error, "strerror", None) or error
            name = self._command[0] if self._command else ""
            raise ClapError(f"the reader '{name}' cannot be started: {reason}.") from error
        self._answered = 0
        return self._process

    def _exchanged(self, process: subprocess.Popen[bytes], question: bytes) -> bytes:
        """What comes back; nothing if the process ended.

        Raises:
            Unanswered: not in time, or too much.
        """
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None  # both are pipes
        assert stdout is not None

        def send() -> None:
            with suppress(OSError, ValueError):  # it ended: what it said before counts
                stdin.write(question)
                stdin.flush()

        threading.Thread(target=send, daemon=True).start()
        try:
            line: bytes = _in_time(lambda: stdout.readline(MOST_LINE), self._seconds)
        except queue.Empty:
            self._kill_now(process)
            raise Unanswered(f"was silent for {self._seconds:g} s") from None
        if len(line) == MOST_LINE:
            self._kill_now(process)
            raise Unanswered(f"wrote a line of more than {MOST_LINE >> 20} MiB")
        return line

    def _kill_now(self, process: subprocess.Popen[bytes]) -> None:
        _kill(process)
        process.wait()
        self._process = None

    def _ended(self, process: subprocess.Popen[bytes]) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(ENDING)
        return None


def _in_time(work: Callable[[], Any], seconds: float) -> Any:
    """What a call that cannot be interrupted returns.

    Raises:
        queue.Empty: not in time.
    """
    found: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            found.put(work())
        except (OSError, ValueError):  # the pipe was closed
            found.put(b"")

    threading.Thread(target=run, daemon=True).start()
    return found.get(timeout=seconds)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and its children, which may hold its output open."""
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _said(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    return f"exit code {code}"
