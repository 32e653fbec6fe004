"""What Python answers, JavaScript answers."""

from __future__ import annotations

from pathlib import Path

from tests.runtime.js.conftest import conformance


def test_node_passes_the_kit(js: Path, kit: Path) -> None:
    said = conformance(str(kit), "--check", f"node {js}/dist/conformance/command.js")
    assert " passed, 0 failed, 0 skipped" in said
