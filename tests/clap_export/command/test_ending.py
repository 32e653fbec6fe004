"""Exit codes: of results, bad input, faults of ours, signals, and readers that went away."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.command import ending
from runtime.errors import ClapError
from tests.places import ROOT

PATIENCE = 60.0  # seconds after which a process will never end, however busy the machine is
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")


def raising(error: BaseException) -> int:
    def work() -> None:
        raise error

    return ending.code_of(work)


def test_what_a_command_returns_is_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending.code_of(lambda: None) == 0
    assert ending.code_of(lambda: 0) == 0
    assert ending.code_of(lambda: 1) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ClapError("the sentence."), "Error: the sentence.\n"),
        (ClapError("a \x1b[2Jname"), "Error: a \\x1b[2Jname\n"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), "'out/x' cannot be used"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "Error: File name too long.\n"),
        (PermissionError(errno.EACCES, "Permission denied", b"caf\xe9"), "Permission denied"),
        (MemoryError(), "not enough memory"),
        (ModuleNotFoundError("no", name="onnx.helper"), "pip install clap-export[export]"),
        (click.UsageError("no such \x1b option"), "no such \\x1b option"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_user_can_mend_is_a_sentence_and_2(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), RuntimeError(), KeyError("k"), ModuleNotFoundError("no", name="own_module"),
     AssertionError(), RecursionError(), OSError("without a number"), EOFError()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_fault_of_ours_is_70_with_its_traceback(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "please report it" in printed


def test_interrupts_and_closed_pipes_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert raising(click.Abort()) == 130
    assert capsys.readouterr().err == ""


def test_the_group_ends_with_these_codes(tmp_path: Path) -> None:
    for arguments, code in (
        (["--help"], 0), (["--version"], 0), (["nonsense"], 2), (["--ckpt"], 2),
        (["inspect", str(tmp_path)], 2), (["inspect", "x" * 300], 2), (["inspect", ""], 2),
        (["inspect", "a/" * 3000], 2),
    ):  # fmt: skip
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
    assert main(["--help"], standalone_mode=False) == 0


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (EOFError(), 70), (BrokenPipeError(), 141)]
)
def test_click_has_no_ending_of_its_own(error: BaseException, code: int) -> None:
    from clap_export.cli.verbs import Verbs

    group = Verbs(verbs={}, invoke_without_command=True)

    @group.result_callback()
    def fail(found: object) -> None:
        raise error

    group.callback = lambda: 0
    assert CliRunner().invoke(group, []).exit_code == code


def python(code: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,  # type: ignore[call-overload]
    )  # fmt: skip


# Makes a folder, says so, and works for a minute inside the block that removes it. On its way out
# it waits for a line, as if there were more to remove.
BUSY = """
    import sys, time
    from clap_export.command import ending
    from runtime.files import scratch
    class Cleaning:
        def __enter__(self): pass
        def __exit__(self, *_):
            print("cleaning up", flush=True)
            sys.stdin.readline()
            print("clean", flush=True)
    def work():
        with scratch({out!r}), Cleaning():
            print("at work", flush=True)
            {busy}
    sys.exit(ending.code_of(work))
"""
WAITS = "for _ in range(600): time.sleep(0.1)"
# Code that takes all exceptions of a file, whatever their type, for the file's.
IN_A_BOUNDARY = """
            from runtime import ClapError, audio
            class Slow:
                def read(self, *size):
                    for _ in range(600): time.sleep(0.1)
            audio.load(Slow())
"""
# A library that has one error for whatever goes wrong inside.
IN_A_LIBRARY = """
            try:
                for _ in range(600): time.sleep(0.1)
            except BaseException:
                raise RuntimeError("stopped") from None
"""
# The first signal falls into a finaliser, where Python drops exceptions.
IN_A_FINALISER = """
            class Slow:
                def __del__(self): time.sleep(1)
            Slow()
            for _ in range(600): time.sleep(0.1)
"""


@POSIX
@pytest.mark.parametrize(
    "busy",
    [WAITS, IN_A_FINALISER, IN_A_BOUNDARY, IN_A_LIBRARY],
    ids=["working", "in a finaliser", "in a reader", "in a library"],
)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_and_leaves_nothing(name: str, busy: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    code = BUSY.format(out=str(tmp_path / "out"), busy=busy.strip())
    with python(code, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        assert process.stdout.readline() == "cleaning up\n"
        process.send_signal(number)
        said, printed = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert (said, printed) == ("clean\n", "")
    assert list(tmp_path.iterdir()) == []


@POSIX
def test_a_signal_leaves_no_lock_held() -> None:
    """It comes when the call that takes the lock has returned, and the block has not begun: raised
    there, the block would never be left."""
    process = python(
        """
        import signal, sys, threading, time
        from functools import partial
        from clap_export.command import ending

        class Lock:
            acquire = release = None

        def work():
            lock = Lock()
            lock.__enter__ = partial(signal.raise_signal, signal.SIGTERM)  # no step of Python
            lock.__exit__ = lambda *_: print("left")
            with threading.Condition(lock):
                print("entered")
                for _ in range(600): time.sleep(0.1)

        sys.exit(ending.code_of(work))
        """
    )
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (128 + signal.SIGTERM, "entered\nleft\n")


@POSIX
def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    done = python(
        """
        import os, signal, sys
        from clap_export.command import ending
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        sys.exit(ending.code_of(lambda: os.kill(os.getpid(), signal.SIGHUP)))
        """
    )
    assert done.wait(PATIENCE) == 0


@POSIX
def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    ending.code_of(lambda: None)
    assert before == [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]


@POSIX
@pytest.mark.parametrize("arguments", ["--help", "inspect {}", "inspect {} --json"])
def test_a_reader_that_went_away_is_141_and_quiet(arguments: str, tiny_bundle: Path) -> None:
    words = arguments.format(tiny_bundle).split()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "clap_export", *words], cwd=ROOT, text=True,
        stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", ["inspect {}", "inspect {} --json", "", "--help", "classify --help", "--version"]
)
def test_a_full_disk_under_the_output_is_said(arguments: str, tiny_bundle: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "clap_export", *arguments.format(tiny_bundle).split()],
            cwd=ROOT, text=True, stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "Error: standard output cannot be written: No space left on device.\n"


@POSIX
def test_a_closed_output_loses_nothing_but_the_output(tiny_bundle: Path) -> None:
    command = f"{sys.executable} -m clap_export inspect {tiny_bundle} >&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
