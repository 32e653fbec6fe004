"""The programs of the C++ runtime, built once for all tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.cpp import build


@pytest.fixture(scope="session")
def programs() -> Path:
    """Folder of ``clap-classify``, ``clap-conformance`` and ``clap-checks``: built here, or those
    that ``CLAP_CPP_PROGRAMS`` names, such as a build with sanitizers."""
    given = os.environ.get("CLAP_CPP_PROGRAMS")
    if given:
        return Path(given)
    why = build.missing()
    if why is not None:
        pytest.skip(why)
    return build.built()


@pytest.fixture(scope="module")
def ask(programs: Path) -> Iterator[Callable[..., Any]]:
    """Puts a question of the conformance kit's to the C++ runtime."""
    process = subprocess.Popen(
        [programs / "clap-conformance"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    questions, answers = process.stdin, process.stdout
    assert questions is not None
    assert answers is not None

    def put(task: str, kit: Path, **given: Any) -> Any:
        request = {"id": task, "task": task, "kit": str(kit), "input": given}
        questions.write(json.dumps(request).encode() + b"\n")
        questions.flush()
        return json.loads(answers.readline())

    yield put
    questions.close()
    process.wait(30)
