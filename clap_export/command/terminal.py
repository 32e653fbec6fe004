"""What goes to the terminal: text as it is, on any terminal, and never obeyed by it.

Names of files, labels, manifests and checkpoints are a stranger's words. They are printed with
control characters escaped, and with what the terminal's encoding lacks as ``\\uXXXX``, so that no
name can lose the results of a long run at the last line.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from runtime.errors import AudioWarning, ClapError
from runtime.plain_text import printable


def prepare() -> None:
    """Make the standard streams take any text, and log lines safe; done once, before a command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:  # what prints warnings where no logging is set up
        logging.lastResort.setFormatter(Printable("%(message)s"))
    warnings.formatwarning = _format_warning


def say(text: str) -> None:
    """A line, or several, on standard output."""
    with delivering():
        sys.stdout.write(printable(text, keep="\n") + "\n")
        sys.stdout.flush()


def put(text: str) -> None:
    """A piece of a file that goes to standard output, with its own tabs and ends of lines."""
    with delivering():
        sys.stdout.write(printable(text, keep="\n\t"))
        sys.stdout.flush()


def say_json(value: object, indent: int | None = None) -> None:
    """JSON on standard output, in ASCII: what is not, is escaped, as JSON has it.

    A file name that is not UTF-8 has its bytes as Python has them (``\\udce9``): ``os.fsencode`` of
    the parsed string gives them back.
    """
    say(json.dumps(value, indent=indent))


def warn(text: str) -> None:
    """A line on standard error."""
    with suppress(OSError):  # nobody listens there
        sys.stderr.write(printable(text, keep="\n") + "\n")
        sys.stderr.flush()


@contextmanager
def delivering() -> Iterator[None]:
    """Writing to standard output, which may be a full disk.

    Raises:
        BrokenPipeError: nobody reads any more.
        ClapError: it cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno == errno.EINVAL and os.name == "nt":  # how Windows says broken pipe
            raise BrokenPipeError from error
        discard()
        reason = error.strerror or error
        raise ClapError(f"standard output cannot be written: {reason}.") from error


def flush() -> None:
    """Hand over what is still held back; see :func:`delivering`."""
    with delivering():
        sys.stdout.flush()


def discard() -> None:
    """Let standard output go nowhere, so that the interpreter's last flush does not fail again."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_utf8(stream: TextIO) -> bool:
    """Whether a stream takes the characters that tables and spinners are drawn with."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


class Printable(logging.Formatter):
    """Log lines hold texts and file names too."""

    def format(self, record: logging.LogRecord) -> str:
        """Its line, escaped."""
        return printable(super().format(record), keep="\n")


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: object = None
) -> str:
    """A recording's warning is a sentence for users; others keep the place that they come from."""
    where = "" if issubclass(category, AudioWarning) else f"{filename}:{lineno}: "
    return printable(f"Warning: {where}{message}", keep="\n") + "\n"
