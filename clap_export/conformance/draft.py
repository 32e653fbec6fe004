"""A kit while it is being written: its files, and its cases with what the runtime answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.conformance.kit import EXACT, Case, Refusal, Tolerance
from runtime.conformance import wire
from runtime.conformance.tasks import Reader
from runtime.errors import BackendError, ClapError


@dataclass
class Draft:
    """A folder that becomes a kit.

    Attributes:
        folder: where its files are written.
        cases: so far.
    """

    folder: Path
    cases: list[Case] = field(default_factory=list[Case])
    _arrays: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def __post_init__(self) -> None:
        self.reader = Reader(self.folder)
        (self.folder / "arrays").mkdir()

    def array(self, array: NDArray[Any]) -> dict[str, Any]:
        """What stands for an array in the document; one of the same numbers has the same file."""
        described, data = wire.described(array), wire.data_of(array)
        key = hashlib.sha256(repr(described).encode() + data).hexdigest()
        if key not in self._arrays:
            name = f"arrays/{len(self._arrays):04}.bin"
            (self.folder / name).write_bytes(data)
            self._arrays[key] = {**described, "file": name}
        return self._arrays[key]

    def file(self, name: str, data: bytes) -> str:
        """Write a file of the kit; returns its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def ask(
        self,
        name: str,
        given: Mapping[str, Any],
        limits: Mapping[str, Tolerance] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        """Add a case, with what the runtime answers: outputs, or its error.

        Args:
            name: of the case, which begins with its task: ``TASK/…``.
            given: its input.
            limits: tolerances of outputs; those that are not named are exact.
            optional: readers may skip it.

        Raises:
            BackendError: the runtime cannot run the bundle here.
        """
        task = name.partition("/")[0]
        asked: dict[str, Any] = dict(given)
        try:
            outputs = self.reader.answer(task, asked)
        except BackendError:
            raise
        except ClapError as error:
            refusal = Refusal(**wire.error_of(error, self.folder))
            self.cases.append(Case(name, task, asked, error=refusal, optional=optional))
            return
        expected = {key: self._kept(value) for key, value in outputs.items()}
        tolerance = {key: (limits or {}).get(key, EXACT) for key in expected}
        self.cases.append(Case(name, task, asked, expected, tolerance, optional=optional))

    def _kept(self, value: object) -> object:
        """A value as the document has it."""
        if isinstance(value, np.ndarray):
            return self.array(value)
        return value.replace(str(self.folder), wire.KIT) if isinstance(value, str) else value
