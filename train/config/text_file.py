"""Text and JSON that users write: read whole, or one sentence says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime import schema
from runtime.errors import ClapError


def read_text(path: Path, what: str, encoding: str = "utf-8-sig", broken: str = "") -> str:
    """A text file's content, without the mark that some editors put in front of it.

    Args:
        path: of the file.
        what: it is, for the message: ``listing``.
        encoding: of its bytes.
        broken: what to say of a file in another encoding; default that it cannot be read.

    Raises:
        ClapError: it is missing, may not be read, is no file, or is in another encoding.
    """
    try:
        return path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise ClapError(f"{what} {path} {broken or 'cannot be read'}: {error}.") from error
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ClapError(f"{what} {path} cannot be read: {reason}.") from error


def parse_json(text: str | bytes) -> Any:
    """What a line of JSON says; see :func:`runtime.schema.read_json`.

    Raises:
        ValueError: its reader can say which line it is.
    """
    try:
        return schema.read_json(text if isinstance(text, bytes) else text.encode(), "it")
    except ClapError as error:
        raise ValueError(str(error).removesuffix(".")) from error
