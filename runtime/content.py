"""The bytes of a file, read once: what was hashed and looked into is what an engine gets.

An engine that is given a path opens it again, and may find another file there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from runtime import files
from runtime.errors import ClapError

MOST_BYTES = (1 << 31) - 1  # a protobuf message, and so an ONNX file, is smaller than 2 GiB


@dataclass(frozen=True, eq=False)
class Content:
    """A file's name and bytes.

    Attributes:
        path: where it was read; only ever shown.
        data: all of it.
    """

    path: Path
    data: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path, error: type[ClapError] = ClapError) -> Content:
        """Read a file.

        Raises:
            ClapError: as ``error``: it is missing, may not be read, or is larger than 2 GiB.
        """
        return cls(path, files.read(path, most=MOST_BYTES, error=error))

    @classmethod
    def of(cls, model: Content | Path | bytes, error: type[ClapError] = ClapError) -> Content:
        """Content as it is, of a path, or of bytes that were never a file."""
        if isinstance(model, Content):
            return model
        return (
            cls(Path("model in memory"), model)
            if isinstance(model, bytes)
            else cls.read(model, error)
        )

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    def sha256(self) -> str:
        """In hex."""
        return hashlib.sha256(self.data).hexdigest()
