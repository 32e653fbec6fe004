"""The one exception family of the project: what a user can mend, said in one sentence."""

from __future__ import annotations

from typing import TypeVar


class ClapError(Exception):
    """Bad input: the message says what was asked, what was found and what to do.

    Command lines print it and exit with status 2. Anything else that escapes is a bug of ours and
    keeps its traceback.
    """


E = TypeVar("E", bound=BaseException)


def without_frames(error: E) -> E:
    """The error, to be kept as a result.

    An error that was raised holds the frames that it went through, and with them whatever lay
    there, a recording too. This one and its causes let go of them.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


class SchemaError(ClapError):
    """A document (manifest, config) has unknown, missing or wrongly typed keys; all are listed."""


class BundleError(ClapError):
    """A bundle is missing, damaged, of another version, or of another embedding space."""


class AudioError(ClapError):
    """A recording cannot be used: missing, undecodable, empty, not finite, too long."""


class LabelError(ClapError):
    """Labels cannot be used: none given, duplicates, an unreadable file, an ill-formed template."""


class BackendError(ClapError):
    """The engine that was asked for (provider, device, library) is not to be had here."""


class AudioWarning(UserWarning):
    """Only a part of a recording could be read, or a header of it is wrong; it is used as it is."""
