"""A kit of the tiny bundle, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from clap_export.conformance.write import write
from runtime.manifest import Calibration
from tests.tiny import bundle as tiny


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle that can give every kind of scores."""
    folder = tmp_path_factory.mktemp("calibrated") / "bundle"
    return tiny.build(folder, calibration=Calibration(12.0, -3.0))


@pytest.fixture(scope="session")
def kit_folder(calibrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its kit; read only."""
    out = tmp_path_factory.mktemp("kit") / "kit"
    write(calibrated, out, tiny.LABELS)
    return out
