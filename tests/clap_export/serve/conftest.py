"""One server for the tests that change nothing of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clap_export.serve.running import Running, running


@pytest.fixture(scope="module")
def server(tiny_bundle: Path) -> Iterator[Running]:
    with running(tiny_bundle) as made:
        yield made


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """The command sets up the log of its process, which here is that of all tests."""
    loggers = [logging.getLogger(name) for name in ("", "clap_export.serve")]
    before = [(one.handlers, one.level) for one in loggers]
    yield
    for one, (handlers, level) in zip(loggers, before, strict=True):
        one.handlers = handlers
        one.setLevel(level)
