"""Fixtures shared by several test files, and the count of what engines really ran."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.places import MINI
from tests.tiny import bundle as tinybundle

_runs: Counter[str] = Counter()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Operations as small as these are slowed by threads, a hundredfold where cores are shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny bundle; read only: tests that change one build their own."""
    return tinybundle.build(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def exported_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the bundle exported from ``tiny.checkpoint()``; read only."""
    from clap_export.export.pack import write_bundle
    from tests import tiny

    folder = tmp_path_factory.mktemp("exported") / "bundle"
    write_bundle(tiny.checkpoint(), folder)
    return folder


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of clap-mini's bundle, exported and verified by the command; read only."""
    from click.testing import CliRunner

    from clap_export.cli import main

    folder = tmp_path_factory.mktemp("mini") / "bundle"
    arguments = ["--ckpt", str(MINI), "--target", "onnx", "--out", str(folder)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def tensorrt_rtx() -> Any:
    """The dialect of TensorRT-RTX, which builds ahead of time on a machine without a GPU."""
    from runtime.backends.trt.dialect import installed
    from runtime.errors import BackendError

    try:
        return installed("tensorrt_rtx")
    except BackendError as error:
        if "tensorrt_rtx" in os.environ.get("CLAP_EXPECT_BACKENDS", "").split():
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session", autouse=True)
def _count_runs() -> None:
    """Count runs of each provider, so that skips cannot hide an engine that never worked."""
    from runtime.backends.openvino import OpenVinoBackend
    from runtime.backends.ort import OrtBackend
    from runtime.backends.trt.dialect import Dialect

    for backend in (OrtBackend, OpenVinoBackend):
        backend.run = _counted(backend.run)  # type: ignore[method-assign, assignment]
    # TensorRT-RTX has no GPU to run on here: it counts when it builds.
    original = Dialect.builder

    def builder(self: Dialect) -> Any:
        _runs[self.library] += 1
        return original(self)

    Dialect.builder = builder  # type: ignore[method-assign]


def _counted(run: Any) -> Any:
    def counted(self: Any, *args: object) -> object:
        result = run(self, *args)
        _runs[self.provider] += 1
        return result

    return counted


def pytest_configure() -> None:
    """Signals that whoever started the tests ignores (``nohup``, a shell's background) are heard
    again: programs inherit it, and tests send them such signals."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(
                number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            )


def pytest_addoption(parser: pytest.Parser) -> None:
    """See `families`."""
    parser.addoption("--write-families", action="store_true", help="write the docs' table")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add what a worker's tests ran; its process has ended."""
    _runs.update(getattr(node, "workeroutput", {}).get("runs", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session when a backend that was expected to run did not, in any worker."""
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["runs"] = dict(_runs)
        return
    if session.config.getoption("--write-families") and not session.testsfailed:
        from tests.originals import families

        families.write()
    expected = os.environ.get("CLAP_EXPECT_BACKENDS", "").split()
    idle = [name for name in expected if not _runs[name]]
    if idle:
        print(f"\nexpected backends that never ran: {', '.join(idle)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
