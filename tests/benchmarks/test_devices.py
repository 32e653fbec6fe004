"""Readers on an emulated ARM machine, and models within little memory."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from benchmarks import page
from benchmarks.arm import machine
from benchmarks.arm import run as arm
from benchmarks.small import limits
from benchmarks.small import run as small
from benchmarks.small.child import main as hear
from clap_export.conformance.check import Verdict
from clap_export.sounds.catalogue import SOUNDS
from tests.tiny.bundle import LABELS, RATE, WINDOW

Made = Callable[[dict[str, Any]], str]
TEXT = page.PAGE.read_text(encoding="utf-8")


def shown(name: str) -> str:
    """What stands between the page's markers."""
    return TEXT.split(f"<!-- {name} -->\n\n")[1].split(f"\n\n<!-- /{name} -->")[0]


def test_the_processor_is_described_in_two_ways_that_agree(tmp_path: Path) -> None:
    machine.describe_cpu(tmp_path)
    told = dict(
        re.findall(r"^CPU (\w+)\s*: (\w+)$", (tmp_path / "proc/cpuinfo").read_text(), re.MULTILINE)
    )
    system = tmp_path / "sys/devices/system/cpu"
    register = int((system / "cpu0/regs/identification/midr_el1").read_text(), 16)
    # Arm's Main ID Register: implementer, variant, architecture, part, revision.
    fields = (register >> 24, register >> 20 & 15, register >> 4 & 0xFFF, register & 15)
    names = ("implementer", "variant", "part", "revision")
    assert fields == tuple(int(told[name], 0) for name in names)
    for i in range(3):
        one = {
            file.name: file.read_text().strip()
            for file in (system / f"cpu0/cache/index{i}").iterdir()
        }
        parts = ("number_of_sets", "ways_of_associativity", "coherency_line_size")
        sets, ways, line = (int(one[name]) for name in parts)
        assert one["size"] == f"{sets * ways * line // 1024}K"


def test_a_program_for_arm_sees_what_it_is_given(tmp_path: Path) -> None:
    made = machine.Machine(tmp_path).python(Path("/project"))
    assert made[:5] == [machine.QEMU, "-cpu", "cortex-a72", "-L", str(tmp_path)]
    assert f"PYTHONPATH=/project:{tmp_path}/opt/site" in made
    assert made[-1] == f"{tmp_path}/usr/bin/python3"


def test_a_kit_is_gone_on_with_where_it_was_left(tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "kit.json").write_text("{}", encoding="utf-8")
    part = arm.Part.of(tmp_path, "cpp", kit)
    part.add(Verdict("space/bundle", "space", "passed"), 1.5)
    part.add(Verdict("decode/kind-8-bit", "decode", "failed", "why"), 1.0)  # is asked again
    part.add(Verdict("embed/long", "embed", "passed"), 2.0)
    found, seconds = arm.Part.of(tmp_path, "cpp", kit).read()
    assert [(one.id, one.task, one.state) for one in found] == [
        ("space/bundle", "space", "passed"), ("embed/long", "embed", "passed"),
    ]  # fmt: skip
    assert seconds == 3.5
    (kit / "kit.json").write_text("{ }", encoding="utf-8")  # another kit is another matter
    assert arm.Part.of(tmp_path, "cpp", kit).read() == ([], 0.0)


def test_a_part_of_a_page_is_written_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n", encoding="utf-8")
    page.put("x", "new", path)
    page.put("x", "newer", path)
    assert path.read_text("utf-8") == "a\n<!-- x -->\n\nnewer\n\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="unpack"):
        page.put("y", "new", path)


@pytest.mark.parametrize(
    ("name", "file", "made"),
    [
        ("readers", arm.RESULTS, lambda found: arm.table(found["readers"])),
        ("small", small.RESULTS, lambda found: small.table(found["cases"])),
    ],
)
def test_the_page_shows_what_was_measured(name: str, file: Path, made: Made) -> None:
    if not file.exists():
        assert shown(name).startswith("Not ")
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    assert shown(name) == made(found)


def test_hearing_tells_what_it_took(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, recording = tmp_path / "labels.txt", tmp_path / "rain.wav"
    labels.write_text("\n".join(LABELS), encoding="utf-8")
    soundfile.write(recording, SOUNDS["rain"](RATE, 1.0), RATE)
    hear("bundle", str(tiny_bundle), str(labels), str(recording), "cpu", "0", "0.05")
    found = json.loads(capsys.readouterr().out)
    assert found["best"] in LABELS
    assert found["window_s"] == WINDOW / RATE
    assert found["windows"] > 0
    assert 0 < found["window_ms"] < 1000
    assert 30 < found["peak_mib"] < 16_000
    hear("bundle", str(tiny_bundle), str(labels), str(recording), "cpu", "0", "0")
    assert json.loads(capsys.readouterr().out)["window_ms"] is None


needs_groups = pytest.mark.skipif(
    not os.access(limits.MEMORY, os.W_OK), reason="no control groups of version 1 to be written"
)


@needs_groups
def test_a_process_has_one_core_and_as_much_memory_as_it_is_given() -> None:
    holds = [sys.executable, "-c", "import os; a = b'x' * (100 << 20); print(os.cpu_count(), "
        "len(os.sched_getaffinity(0)))"]  # fmt: skip
    core = min(os.sched_getaffinity(0))
    with limits.group(core) as within:
        assert within.run(holds, 64) is None
        printed = within.run(holds, 256)
        assert printed is not None
        assert printed.split()[1] == "1"
        with pytest.raises(SystemExit, match=r"ended with 1: [^$]*ZeroDivisionError"):
            within.run([sys.executable, "-c", "1 / 0"], 256)
        folder = within.folder
    assert not folder.exists()
