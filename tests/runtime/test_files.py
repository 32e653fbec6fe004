"""Files are whole or not there, whatever happens to whoever writes them."""

from __future__ import annotations

import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import files, temporaries
from runtime.errors import BundleError, ClapError, LabelError
from tests.places import ROOT

PATIENCE = 60.0  # seconds after which a process will never end, however busy the machine is
FORK = multiprocessing.get_context("fork")


def write(path: Path, content: bytes, *, overwrite: bool = True) -> None:
    with files.writing(path, overwrite=overwrite) as part:
        part.write_bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that writes; it says so when it is in the middle."""
    head = "import sys, time, signal, os; from pathlib import Path; from runtime import files\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


# It sleeps for short times: a signal that falls between Python's last look for one and the sleep's
# system call does not end that sleep, but is seen after it.
MIDDLE = """
with files.writing(sys.argv[1]) as part:
    part.write_bytes(b"half")
    print("middle", flush=True)
    for _ in range(600): time.sleep(0.1)
"""
HARD_FOLDER = """
with files.scratch(sys.argv[1]) as folder:
    (folder / "made").mkdir()
    print("middle", flush=True)
    for _ in range(600): time.sleep(0.1)
"""


def stopped_in_the_middle(code: str, target: Path, number: int) -> None:
    process = run(code, target)
    assert process.stdout is not None
    assert process.stdout.readline() == "middle\n"
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)


# Whole or nothing


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with files.writing(target) as part:
        part.write_bytes(b"one")
        assert not target.exists()
        assert part.parent == tmp_path  # of one file system with its place
    assert target.read_bytes() == b"one"
    write(target, b"two")
    assert target.read_bytes() == b"two"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, ClapError])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"before")

    def fail() -> None:
        with files.writing(target) as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write(target, b"one", overwrite=False)
    with pytest.raises(ClapError, match=r"file' exists: choose another name"):
        write(target, b"two", overwrite=False)


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def late() -> None:
        with files.writing(tmp_path / "late", overwrite=False, error=LabelError) as part:
            part.write_bytes(b"mine")
            (tmp_path / "late").write_bytes(b"theirs")

    with pytest.raises(LabelError, match="exists"):
        late()
    assert (tmp_path / "late").read_bytes() == b"theirs"
    assert names(tmp_path) == ["late"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_that_open_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "ours", b"")
        (tmp_path / "plain").write_bytes(b"")
        with files.writing(tmp_path / "replaced") as part:  # as safetensors' writer does
            other = part.with_name("other")
            other.write_bytes(b"x")
            other.chmod(0o600)
            other.replace(part)
        with files.scratch(tmp_path / "folder") as folder:
            (folder / "made").mkdir()
            files.publish(folder / "made", tmp_path / "folder")
        (tmp_path / "plain folder").mkdir()
    finally:
        os.umask(before)
    mode = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert mode["ours"] == mode["plain"] == mode["replaced"] == 0o666 & ~umask
    assert mode["folder"] == mode["plain folder"]


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.touch(0o600)
    write(target, b"x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


# What is not a file


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("far/file")
    (tmp_path / "dangling").symlink_to("far/new")
    write(tmp_path / "link", b"new")
    write(tmp_path / "dangling", b"made")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert (tmp_path / "far" / "new").read_bytes() == b"made"
    with pytest.raises(ClapError, match="exists"):
        write(tmp_path / "link", b"x", overwrite=False)


def test_devices_pipes_folders_and_loops_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to null").symlink_to("/dev/null")
    for name, message in (
        ("pipe", "is a device, not a file"),
        ("to null", "is a device, not a file"),
        ("folder", "is a folder"),
        ("loop", "leads to itself"),
    ):
        with pytest.raises(ClapError, match=message):
            write(tmp_path / name, b"x")
    for name in ("pipe", "to null", "folder", "loop"):
        with pytest.raises(ClapError, match=name):
            files.read(tmp_path / name, most=10)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)


NAMES = ["a" * 255, "ü" * 127, "\udcff\udc80.npz", "*?[x]", "-rf", "a b\n", ".hidden"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_a_disk_takes(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    write(target, b"1")
    write(target, b"2")
    assert files.read(target, most=10) == b"2"
    with files.owning(target):
        pass
    with files.scratch(tmp_path / name[::-1]) as folder:
        (folder / "made").mkdir()
    assert [n for n in names(tmp_path) if n.endswith(".part")] == []


@pytest.mark.parametrize(
    "name", ["a" * 256, "ü" * 200, "a\0b", "\ud800", "no/such/folder", "", "/"]
)
@pytest.mark.parametrize("use", ["read", "write", "scratch", "own"])
def test_names_that_no_disk_takes(tmp_path: Path, name: str, use: str) -> None:
    target = str(tmp_path / name) if name.strip("/") else name
    uses: dict[str, Callable[[], object]] = {
        "read": lambda: files.read(target, most=10),
        "write": lambda: write(Path(target), b"x"),
        "scratch": lambda: files.scratch(Path(target), BundleError).__enter__(),
        "own": lambda: files.owning(Path(target)).__enter__(),
    }
    if use in ("scratch", "own") and name in ("a" * 256, "ü" * 200):
        return  # their own names are shorter
    with pytest.raises(ClapError):
        uses[use]()
    assert names(tmp_path) == []


# Hard times


def test_a_full_disk(tmp_path: Path) -> None:
    code = """
import resource
from runtime.errors import ClapError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with files.writing(sys.argv[1]) as part:
        part.write_bytes(bytes(5000))
except ClapError as error:
    print(error)
"""
    (tmp_path / "file").write_bytes(b"before")
    said = run(code, tmp_path / "file").communicate(timeout=PATIENCE)
    assert said[0] == f"'{tmp_path / 'file'}' cannot be written: File too large.\n", said[1]
    assert (tmp_path / "file").read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "fsync", "replace", "mkdir"])
def test_the_system_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Root may write anywhere: the refusal is made."""
    (tmp_path / "file").write_bytes(b"before")

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "an internal name")

    def make() -> None:
        if call == "mkdir":
            files.scratch(tmp_path / "file", LabelError).__enter__()
        else:
            with files.writing(tmp_path / "file", error=LabelError) as part:
                part.write_text("half")

    monkeypatch.setattr(os, call, refused)
    with pytest.raises(LabelError) as caught:
        make()
    monkeypatch.undo()
    wanted = f"'{tmp_path / 'file'}' cannot be written: {os.strerror(number)}."
    assert str(caught.value) == wanted
    assert (tmp_path / "file").read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [MIDDLE, HARD_FOLDER])
def test_left_overs_of_a_killed_writer_are_removed_by_the_next(tmp_path: Path, code: str) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"before")
    stopped_in_the_middle(code, target, signal.SIGKILL)
    assert target.read_bytes() == b"before"
    assert len(names(tmp_path)) == 2
    write(target, b"after")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_becomes_an_exception_leaves_nothing(tmp_path: Path, number: int) -> None:
    head = f"signal.signal({int(number)}, lambda *_: sys.exit(1))\n"
    stopped_in_the_middle(head + MIDDLE, tmp_path / "file", number)
    assert names(tmp_path) == []


def test_the_living_and_the_strange_are_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with files.writing(target) as part:
        part.write_bytes(b"first")
        write(target, b"second")  # sweeps
        assert part.exists()
    assert target.read_bytes() == b"first"  # the last to be done
    prefix = temporaries.prefix(target)
    strange = [f"{prefix}{owner}-00.part" for owner in ("²", "x", "", "9" * 30, "99999998")]
    for name in strange[:-1]:
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / strange[-1])  # nobody writes into it: it must not be waited for
    write(target, b"third")
    assert set(strange[:-1]) <= set(names(tmp_path))


CONTENTS = (b"a" * 300_000, b"b" * 500_000)


def _write_often(target: Path, content: bytes) -> None:
    for _ in range(150):
        write(target, content)


def test_readers_see_one_of_two_writers_files_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write(target, CONTENTS[0])
    writers = [FORK.Process(target=_write_often, args=(target, content)) for content in CONTENTS]
    [writer.start() for writer in writers]
    while any(writer.is_alive() for writer in writers):
        assert target.read_bytes() in CONTENTS
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["file"]


def _race(target: Path, content: bytes, start: float) -> None:
    while time.time() < start:
        pass
    try:
        write(target, content, overwrite=False)
    except ClapError:
        os._exit(2)


def test_one_of_two_writers_of_a_new_file_wins(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for _ in range(20):
        start = time.time() + 0.01
        racers = [FORK.Process(target=_race, args=(target, c, start)) for c in CONTENTS]
        [racer.start() for racer in racers]
        [racer.join() for racer in racers]
        assert sorted(racer.exitcode or 0 for racer in racers) == [0, 2]
        assert target.read_bytes() in CONTENTS
        assert names(tmp_path) == ["file"]
        target.unlink()


# Owning


def test_one_process_owns_a_folder(tmp_path: Path) -> None:
    code = """
from runtime.errors import ClapError
try:
    with files.owning(sys.argv[1]):
        print("mine", flush=True)
        sys.stdin.read() if len(sys.argv) > 2 else None
except ClapError as error:
    print(error)
"""
    with files.owning(tmp_path / "run"):
        said = run(code, tmp_path / "run").communicate(timeout=PATIENCE)
        assert said[0].startswith(f"'{tmp_path / 'run'}' is being written by another process")
        with pytest.raises(ClapError, match="another process"), files.owning(tmp_path / "run"):
            pass
    assert run(code, tmp_path / "run").communicate(timeout=PATIENCE)[0] == "mine\n"
    owner = run("with files.owning(sys.argv[1]): print('middle', flush=True); time.sleep(60)",
                tmp_path / "run")  # fmt: skip
    assert owner.stdout is not None
    assert owner.stdout.readline() == "middle\n"
    owner.kill()
    owner.communicate(timeout=PATIENCE)
    with files.owning(tmp_path / "run"):
        pass


# Folders


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with files.scratch(tmp_path / "out") as folder:
        made = folder / "made"
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "file").write_bytes(b"x")
        (made / "broken link").symlink_to("nowhere")
        assert not (tmp_path / "out").exists()
        files.publish(made, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "file").read_bytes() == b"x"
    assert names(tmp_path) == ["out"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").touch()

    def make() -> None:
        with files.scratch(tmp_path / "out", BundleError) as folder:
            (folder / "made").mkdir()
            files.publish(folder / "made", tmp_path / "out")

    with pytest.raises(BundleError, match=r"out' cannot be written: Directory not empty"):
        make()
    assert names(tmp_path / "out") == ["kept"]
    assert names(tmp_path) == ["out"]


# Reading


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read(path, most=5) == b"12345"
    with pytest.raises(ClapError, match=r"has 5 bytes; at most 4 are read"):
        files.read(path, most=4)
    with pytest.raises(LabelError, match="make one first"):
        files.read(tmp_path / "none", most=4, missing="make one first", error=LabelError)
    with pytest.raises(LabelError, match=r"file/none' does not exist"):
        files.read(path / "none", most=4, error=LabelError)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ELOOP, errno.EMFILE])
def test_reading_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "file").touch()

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ClapError, match=f"cannot be read: {os.strerror(number)}"):
        files.read(tmp_path / "file", most=10)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    gc.collect()  # what other tests have left is not closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        write(tmp_path / "file", b"x")
        files.read(tmp_path / "file", most=10)
        with pytest.raises(ClapError):
            files.read(tmp_path / "folder", most=10)
        with pytest.raises(ClapError):
            write(tmp_path / "file", b"x", overwrite=False)
        with files.scratch(tmp_path / "out"), files.owning(tmp_path / "run"):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_growing_file_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    before = path.open()
    with pytest.raises(ClapError, match="exists"), files.growing(path, overwrite=False):
        pass
    with contextlib.suppress(RuntimeError), files.growing(path) as file:
        assert path.read_text() == ""
        assert before.read() == "old"  # whoever reads the old one keeps it
        file.add(b"one\n")
        assert path.read_text() == "one\n"
        file.add(b"two\n")
        raise RuntimeError
    assert path.read_text() == "one\ntwo\n"
    assert names(tmp_path) == ["a.csv"]
    before.close()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits here")
def test_a_growing_file_ends_with_a_whole_line_on_a_full_disk(tmp_path: Path) -> None:
    process = run(
        "import resource\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))\n"
        "with files.growing(sys.argv[1]) as file:\n"
        "    for i in range(5):\n"
        "        try: file.add(b'0123456789\\n')\n"
        "        except OSError: print('full')\n",
        tmp_path / "a",
    )
    printed, errors = process.communicate(timeout=PATIENCE)
    assert (printed.count("full"), errors) == (3, "")
    assert (tmp_path / "a").read_text() == 2 * "0123456789\n"


@pytest.mark.skipif(not temporaries.LOCKS, reason="no locks here")
def test_a_file_that_grows_is_not_replaced_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a"
    process = run(
        "with files.growing(sys.argv[1]) as file:\n"
        "    file.add(b'mine\\n'); print('written', flush=True); time.sleep(60)",
        path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    try:
        with (
            pytest.raises(ClapError, match="being written by another process"),
            files.growing(path),
        ):
            pass
    finally:
        process.kill()
        process.communicate()
    with files.growing(path) as file:  # its lock went with it
        assert path.read_text() == ""
        file.add(b"ours\n")
    assert path.read_text() == "ours\n"


def test_what_cannot_grow(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, "folder"), (tmp_path / "no" / "a", "No such"), (Path("/dev/null"), "device"),
    ):  # fmt: skip
        with pytest.raises(ClapError, match=said), files.growing(path):
            pass
