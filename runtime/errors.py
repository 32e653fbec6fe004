"""The one exception family of the project: what a user can mend, said in one sentence."""

from __future__ import annotations


class ClapError(Exception):
    """Bad input: the message says what was asked, what was found and what to do.

    Command lines print it and exit with status 2. Anything else that escapes is a bug of ours and
    keeps its traceback.
    """


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
