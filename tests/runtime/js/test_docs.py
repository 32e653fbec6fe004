"""Programs in the page of JavaScript: those for Node run, and the others are programs at least."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clap_export.cli.freeze import freeze
from clap_export.sounds.catalogue import write_demo_sounds
from runtime import Encoder, LabelBank
from tests.docs.pages import BLOCKS
from tests.places import ROOT
from tests.tiny import heads

PROGRAMS = [block.text for block in BLOCKS if block.language == "js"]
README = (ROOT / "runtime" / "js" / "README.md").read_text(encoding="utf-8")
IN_NODE = [text for text in PROGRAMS if "clap-runtime/node" in text]
IN_NODE.append(README.split("```js\n")[1].split("```")[0])


@pytest.fixture
def desk(js: Path, exported_bundle: Path, tmp_path: Path) -> Path:
    from click.testing import CliRunner

    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "clap-runtime").symlink_to(js)
    (tmp_path / "bundle").symlink_to(exported_bundle)
    write_demo_sounds(tmp_path / "sounds", seconds=2.3)[0].rename(tmp_path / "street.wav")
    with Encoder(exported_bundle) as encoder:
        heads.of(LabelBank.build(encoder, ("dog", "rain", "siren"))).save(tmp_path / "head.npz")
    words = [str(exported_bundle), "dog,rain", "-o", str(tmp_path / "tagger.onnx")]
    assert CliRunner().invoke(freeze, words).exit_code == 0
    return tmp_path


def test_programs_for_node_run(desk: Path) -> None:
    assert len(IN_NODE) == 4
    for text in IN_NODE:
        (desk / "program.mjs").write_text(text)
        done = subprocess.run(
            ["node", "program.mjs"], cwd=desk, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, text + done.stderr
        assert "dog" in done.stdout


def test_programs_for_browsers_are_programs(js: Path, tmp_path: Path) -> None:
    for text in set(PROGRAMS) - set(IN_NODE):
        (tmp_path / "program.mjs").write_text(text)
        subprocess.run(["node", "--check", str(tmp_path / "program.mjs")], check=True)
