"""How every command ends: its exit code, and one sentence when something is wrong.

====  =======================================================================================
code  meaning
====  =======================================================================================
0     done
1     a gate failed: parity, accuracy; the bundle is there, and its manifest says so
2     bad input, or a place that cannot be read or written; one sentence says which
70    a fault of clap-export's own, with its traceback
129   hung up (SIGHUP); 130 interrupted (SIGINT, Ctrl-C); 143 terminated (SIGTERM)
141   the reader of standard output went away (as in ``| head``)
====  =======================================================================================

A signal ends a command as an exception does, so that what is half-made is removed.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable

import click

from clap_export import __version__
from clap_export.command import signals, terminal
from runtime.errors import ClapError

DONE, GATE_FAILED, BAD_INPUT, FAULT = 0, 1, 2, 70
BY_SIGNAL = 128  # and the signal's number, as shells have it
INTERRUPTED, PIPE_CLOSED = BY_SIGNAL + 2, BY_SIGNAL + 13
# Which extra brings a package that a verb may find missing.
EXTRA_OF = {
    "rich": "cli",
    **dict.fromkeys(
        ("fastapi", "uvicorn", "starlette", "pydantic", "prometheus_client", "python_multipart"),
        "serve",
    ),
    **dict.fromkeys(
        ("torch", "onnx", "onnxscript", "transformers", "timm", "safetensors", "matplotlib"),
        "export",
    ),
    **dict.fromkeys(
        ("torchaudio", "sentence_transformers", "yaml", "webdataset", "tomli"), "train"
    ),
}


def code_of(work: Callable[[], object]) -> int:
    """Run a command; what went wrong is said on standard error.

    Args:
        work: returns its exit code, or anything else for "done".
    """
    terminal.prepare()
    asked: list[int] = []
    try:
        with signals.raising(asked):
            found = work()
            terminal.flush()
    except signals.Signalled as signalled:
        return BY_SIGNAL + signalled.number
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        terminal.discard()
        return PIPE_CLOSED
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        terminal.warn(shown.getvalue().rstrip("\n"))
        return BAD_INPUT
    except Exception as error:
        if asked:  # whatever the signal's exception became on its way
            return BY_SIGNAL + asked[0]
        sentence = _sentence(error)
        if sentence is None:
            return _fault()
        terminal.warn(f"Error: {sentence}")
        return BAD_INPUT
    return found if isinstance(found, int) else DONE


def _sentence(error: Exception) -> str | None:
    """What a user can mend, or None for a fault of ours."""
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            return None
        return f"this needs {error.name}, which is not installed: pip install clap-export[{extra}]"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this: try smaller batches, or shorter recordings."
    if isinstance(error, OSError):
        if error.strerror is None:
            return None
        if error.filename is None:
            # click writes ``--help`` to standard output by itself, and no file has a name there.
            what = "standard output cannot be written: " if _printing(error) else ""
            return f"{what}{error.strerror}."
        return f"'{error.filename}' cannot be used: {error.strerror}."
    return str(error) if isinstance(error, ClapError) else None


def _printing(error: BaseException) -> bool:
    """Whether it was raised in click's own output."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _fault() -> int:
    terminal.warn(traceback.format_exc().rstrip())
    terminal.warn(
        f"Error: this is a fault of clap-export {__version__} (Python {sys.version.split()[0]}), "
        "not of what you gave it: please report it with the lines above."
    )
    return FAULT
