"""The package by itself: its own tests, its types, and what npm would publish."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.runtime.js.conftest import npm


def test_its_own_tests_pass(js: Path) -> None:
    npm("run", "--silent", "test")


def test_the_page_has_types(js: Path) -> None:
    npm("run", "--silent", "check")


def test_what_is_packed_is_what_the_exports_name(js: Path, tmp_path: Path) -> None:
    (packed,) = json.loads(npm("pack", "--json", "--pack-destination", str(tmp_path)))
    names = {file["path"] for file in packed["files"]}
    described = json.loads((js / "package.json").read_text())
    wanted = {target for export in described["exports"].values() for target in export.values()}
    wanted |= {described["types"], *described["bin"].values()}
    assert {path.removeprefix("./") for path in wanted} <= names
    assert all(
        name.startswith("dist/") or name in ("package.json", "README.md", "LICENSE")
        for name in names
    )


def test_the_core_needs_no_engine_and_no_node(js: Path) -> None:
    """What is imported by the package's name runs anywhere: its files import each other alone."""
    seen, waiting = set(), [js / "dist" / "index.js"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        text = path.read_text()
        for name in re.findall(
            r'^(?:import|export) (?:[^"]*? from )?"([^"]+)";', text, re.MULTILINE
        ):
            assert name.startswith("."), f"{path} imports {name}"
            waiting.append((path.parent / name).resolve())
    assert len(seen) > 30


def test_the_lock_names_no_host(js: Path) -> None:
    lock = json.loads((js / "package-lock.json").read_text())
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]


def test_an_engine_that_is_not_installed_is_said_so(js: Path, tmp_path: Path) -> None:
    (tmp_path / "dist").symlink_to(js / "dist")
    script = (
        f"import {{ NodeEngine }} from '{tmp_path}/dist/node.js';"
        "await new NodeEngine().open(new Uint8Array(), 'x')"
        ".catch((error) => console.log(error.code, error.message));"
    )
    command = ["node", "--preserve-symlinks", "--input-type=module", "-e", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("backend onnxruntime-node cannot be imported ("), done.stdout
    assert "npm install --ignore-scripts onnxruntime-node" in done.stdout
