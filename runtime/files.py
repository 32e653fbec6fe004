"""The one way in which files are read, and files and folders are written: aside, then renamed.

What is read is read once, from one descriptor. What is written has a temporary name beside its
place, ``.NAME.OWNER.part``, until it is whole and on the disk. A reader sees all of it or nothing;
a failure, an exception or a signal that is turned into one leaves what was there before. The
temporary is locked while its writer lives, so that the next writer of the same name can tell what
a killed process left behind, and removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.errors import ClapError
from runtime.temporaries import LOCKS, NO_SURPRISE, locked, short, sweep, temporary

BINARY = getattr(os, "O_BINARY", 0)  # Windows: no translation of line ends


@contextmanager
def reading(
    path: str | os.PathLike[str], *, missing: str = "", error: type[ClapError] = ClapError
) -> Generator[BinaryIO]:
    """A file that is open for reading. A pipe or a device is refused, and not waited for.

    Args:
        path: of the file; a symbolic link is followed.
        missing: the sentence for a file that is not there.
        error: which exception says what is wrong.

    Raises:
        ClapError: as ``error``: there is no such file, it may not be read, or is none; or what the
            block does with it fails.
    """
    try:
        # O_NONBLOCK: else a pipe without a writer is waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | BINARY)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise error(missing or f"'{path}' does not exist.") from problem
    except OSError as problem:
        raise _unreadable(path, problem, error) from problem
    except (ValueError, TypeError) as problem:  # a NUL, half of a surrogate pair, or no text
        raise error(f"{path!r} is no name of a file ({problem}).") from problem
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "folder" if stat.S_ISDIR(mode) else "device or a pipe"
        raise error(f"'{path}' is a {kind}, not a file. {missing}".rstrip())
    with open(descriptor, "rb") as file:
        try:
            yield file
        except OSError as problem:
            raise _unreadable(path, problem, error) from problem


def read(
    path: str | os.PathLike[str],
    *,
    most: int,
    missing: str = "",
    error: type[ClapError] = ClapError,
) -> bytes:
    """A file's content, read once; see :func:`reading`.

    Args:
        path: of the file.
        most: bytes that it may have.
        missing: the sentence for a file that is not there.
        error: which exception says what is wrong.

    Raises:
        ClapError: as ``error``: it cannot be read, or is larger.
    """
    with reading(path, missing=missing, error=error) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise error(f"'{path}' has {size} bytes; at most {most} are read.")
        data = file.read(size + 1)  # one more: it may have grown
    if len(data) != size:
        raise error(f"'{path}' changed while it was read: try again.")
    return data


@contextmanager
def writing(
    path: str | os.PathLike[str], *, overwrite: bool = True, error: type[ClapError] = ClapError
) -> Generator[Path]:
    """A path to write a file at, which becomes ``path`` when the block ends without an exception.

    Args:
        path: of the file; a symbolic link is followed.
        overwrite: replace a file that is there.
        error: which exception says what is wrong.

    Yields:
        a path beside it. An empty file is there, of the permissions that ``open`` would give.

    Raises:
        ClapError: as ``error``: the file exists, is a folder or a device, or cannot be written (the
            disk is full, read-only or not ours). It names ``path``, never the temporary.
    """
    try:
        asked = Path(path)
    except TypeError as problem:
        raise error(f"{path!r} is no name of a file.") from problem
    try:
        target = Path(os.path.realpath(asked)) if asked.is_symlink() else asked
        mode = _check_target(asked, target, overwrite, error)
        sweep(target)
        part = temporary(target)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    except (OSError, ValueError) as problem:
        raise _unwritable(asked, problem, error) from problem
    try:
        locked(descriptor)
        # What writes may put a file of its own there, which it alone can read: safetensors does.
        mode = os.fstat(descriptor).st_mode & 0o777 if mode is None else mode
        if not LOCKS:
            os.close(descriptor)  # Windows renames no file that is open
        yield part
        os.chmod(part, mode)
        _flush(part)
        _put(part, target, overwrite)
        _flush(target.parent)
    except FileExistsError as problem:
        raise _exists(asked, error) from problem
    except OSError as problem:
        raise _unwritable(asked, problem, error) from problem
    finally:
        if LOCKS:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def check_new(
    path: str | os.PathLike[str], *, overwrite: bool, error: type[ClapError] = ClapError
) -> None:
    """Say before long work what :func:`writing` would say behind it.

    Args:
        path: of the file that will be written.
        overwrite: replace a file that is there.
        error: which exception says what is wrong.

    Raises:
        ClapError: as ``error``: the file exists, or is a folder or a device.
    """
    _check_target(Path(path), Path(os.path.realpath(path)), overwrite, error)


def check_unused(path: str | os.PathLike[str], error: type[ClapError] = ClapError) -> None:
    """Say before long work that another process writes there, as :func:`growing` would.

    Raises:
        ClapError: as ``error``: one does, or the file cannot be looked at.
    """
    try:
        _refuse_in_use(Path(os.path.realpath(path)), error)
    except (OSError, ValueError) as problem:
        raise _unwritable(Path(path), problem, error) from problem


class Growing:
    """A file that is read while it is written: what was added is there, and nothing by halves.

    Args:
        descriptor: of the file, which is open for appending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def add(self, data: bytes) -> None:
        """Add lines.

        Raises:
            OSError: they cannot be written; the file ends before them.
        """
        size = os.fstat(self._descriptor).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise


@contextmanager
def growing(
    path: str | os.PathLike[str], *, overwrite: bool = True, error: type[ClapError] = ClapError
) -> Generator[Growing]:
    """A file that has its name from the beginning, and keeps what is added however the block ends.

    An old file is replaced at once; whoever reads it keeps what there was.

    Args:
        path: of the file; a symbolic link is followed.
        overwrite: replace a file that is there.
        error: which exception says what is wrong.

    Raises:
        ClapError: as ``error``: see :func:`writing`; or another process writes there.
    """
    target = Path(os.path.realpath(path))
    check_unused(path, error)
    with writing(path, overwrite=overwrite, error=error):
        pass
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | BINARY)
    except OSError as problem:
        raise _unwritable(Path(path), problem, error) from problem
    try:
        locked(descriptor)
        yield Growing(descriptor)
    finally:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)


@contextmanager
def scratch(beside: str | os.PathLike[str], error: type[ClapError] = ClapError) -> Generator[Path]:
    """A folder to make things in, on the file system of ``beside``; removed at the end.

    :func:`publish` gives what was made there its place.

    Raises:
        ClapError: as ``error``: it cannot be made, or what the block does fails to write.
    """
    target = Path(beside)
    try:
        sweep(target)
        folder = temporary(target)
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY) if LOCKS else None
    except (OSError, ValueError) as problem:
        raise _unwritable(target, problem, error) from problem
    try:
        locked(descriptor)
        yield folder
    except OSError as problem:
        raise _unwritable(target, problem, error) from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def publish(made: Path, out: Path) -> None:
    """Give a folder that was made in a :func:`scratch` its place, on the disk and in one rename.

    Raises:
        OSError: it cannot be renamed; :func:`scratch` puts that into a sentence.
    """
    for path in (*made.rglob("*"), made):
        if path.is_file() or path.is_dir():
            _flush(path)
    made.rename(out)
    _flush(out.parent)


@contextmanager
def owning(path: str | os.PathLike[str], error: type[ClapError] = ClapError) -> Generator[None]:
    """Be the only process that writes what lies at ``path``; for folders that grow.

    The lock is the file ``.NAME.lock`` beside it; the system releases it when its process ends,
    however that happens. Where locks are not to be had nothing is checked.

    Raises:
        ClapError: as ``error``: another process is writing there.
    """
    target = Path(path)
    try:
        lock = target.with_name(f".{short(target.name)}.lock")
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
    except (OSError, ValueError) as problem:
        raise _unwritable(target, problem, error) from problem
    try:
        if not locked(descriptor):
            raise _in_use(target, error)
        yield
    finally:
        os.close(descriptor)


def _refuse_in_use(target: Path, error: type[ClapError]) -> None:
    """A file that another process lets grow; links and devices are looked at elsewhere."""
    if not LOCKS or not target.is_file():
        return
    descriptor = os.open(target, os.O_RDONLY | NO_SURPRISE)
    try:
        if not locked(descriptor):
            raise _in_use(target, error)
    finally:
        os.close(descriptor)


def _in_use(target: Path, error: type[ClapError]) -> ClapError:
    return error(f"'{target}' is being written by another process: wait for it, or stop it.")


def _flush(path: Path) -> None:
    """Onto the disk, so that a power cut after the rename finds the content too."""
    if path.is_dir():
        # Folders cannot be flushed on every system; their files have been.
        with contextlib.suppress(OSError):
            _sync(path, os.O_RDONLY)
    else:
        _sync(path, os.O_RDWR if not LOCKS else os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(part: Path, target: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(part, target)  # unlike a rename, fails when something is there
            return
        except FileExistsError:
            raise
        except OSError:  # no hard links here
            if target.exists():
                raise FileExistsError(str(target)) from None
    part.replace(target)


def _check_target(asked: Path, target: Path, overwrite: bool, error: type[ClapError]) -> int | None:
    """Permissions of the file that is replaced, if there is one."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise error(f"'{asked}' is a folder: give the name of a file.")
    if stat.S_ISLNK(mode):
        raise error(f"'{asked}' is a symbolic link that leads to itself: give another name.")
    if not stat.S_ISREG(mode):
        raise error(f"'{asked}' is a device, not a file: give the name of a file.")
    if not overwrite:
        raise _exists(asked, error)
    return mode & 0o777


def _exists(path: Path, error: type[ClapError]) -> ClapError:
    return error(
        f"'{path}' exists: choose another name, or ask for it to be overwritten (overwrite=True)."
    )


def _unreadable(
    path: str | os.PathLike[str], problem: OSError, error: type[ClapError]
) -> ClapError:
    return error(f"'{path}' cannot be read: {problem.strerror or problem}.")


def _unwritable(path: Path, problem: OSError | ValueError, error: type[ClapError]) -> ClapError:
    reason = problem.strerror if isinstance(problem, OSError) else "it is no name of a file"
    return error(f"'{path}' cannot be written: {reason or problem}.")
