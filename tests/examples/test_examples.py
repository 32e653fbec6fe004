"""Each example does its job, as a program of its own on a tiny model."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import re
import runpy
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from runtime.manifest import read_manifest
from tests import tiny
from tests.places import ROOT
from tests.tiny import bundle as tinybundle

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LABELS = ["dog", "rain", "siren"]


def run(name: str, *arguments: object, stdin: bytes = b"") -> str:
    """What an example prints."""
    path = ROOT / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(path), *map(str, arguments)],
        capture_output=True, input=stdin, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(4):
        samples = tinybundle.clip(i, (i + 1) * tinybundle.WINDOW)
        (folder / f"{i}.wav").write_bytes(tinybundle.wav(samples, tinybundle.RATE))
    return sorted(folder.iterdir())


def test_there_are_ten_and_the_page_lists_them_all() -> None:
    page = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
    assert len(EXAMPLES) == 10
    for path in EXAMPLES:
        assert f"`examples/{path.name}`" in page
        assert f"def test_{path.stem}(" in Path(__file__).read_text("utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_they_use_the_public_api_alone(path: Path) -> None:
    import runtime

    text = path.read_text(encoding="utf-8")
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom)
            else []
        )
    }  # fmt: skip
    documented = re.findall(r"^::: (\S+)\.\w+$", (ROOT / "docs/python-api.md").read_text(), re.M)
    ours = {name for name in imported if name.split(".")[0] in ("runtime", "clap_export", "train")}
    assert ours <= {"runtime", *documented}
    assert set(re.findall(r"\bruntime\.(\w+)", text)) <= set(runtime.__all__)


def test_classify_folder(tiny_bundle: Path, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path in clips:
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "text.wav").write_text("this is not audio")
    (tmp_path / "in" / "notes.txt").write_text("nor is this meant to be")
    run("classify_folder", tiny_bundle, tmp_path / "in", tmp_path / "out.csv", *LABELS)
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        *rows, last = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == [path.name for path in clips]
    assert all(row["label"] in LABELS and 0 < float(row["score"]) <= 1 for row in rows)
    assert last["label"] == ""
    assert "text.wav" in last["problem"]


def test_watch_folder(
    tiny_bundle: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("watch", ROOT / "examples" / "watch_folder.py")
    assert spec is not None
    assert spec.loader is not None
    watch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(watch)
    (tmp_path / "0.wav").write_bytes(clips[0].read_bytes())
    later = threading.Timer(0.3, lambda: (tmp_path / "1.wav").write_bytes(b"not audio"))
    later.start()
    watch.main(str(tiny_bundle), str(tmp_path), *LABELS, pause=0.05, stop=2)
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"0\.wav: ({'|'.join(LABELS)}) \(\d\.\d\d\)", first)
    assert "cannot be decoded" in second


def test_timeline(tiny_bundle: Path, clips: list[Path]) -> None:
    lines = run("timeline", tiny_bundle, clips[3], 0.25, *LABELS).splitlines()
    found = [re.fullmatch(r"\s*([\d.]+) s -\s*([\d.]+) s  (\w+) \([\d.]+\)", x) for x in lines]
    assert all(found)
    stretches = [(float(m[1]), float(m[2]), m[3]) for m in found if m]
    seconds = 4 * tinybundle.WINDOW / tinybundle.RATE
    assert (stretches[0][0], stretches[-1][1]) == (0.0, seconds)
    assert all(a[2] != b[2] for a, b in pairwise(stretches))


def test_listen(tiny_bundle: Path) -> None:
    """Loud noise between silence: it is told where it was, whatever it is taken for."""
    noise = tinybundle.clip(1, 4 * tinybundle.RATE) * 0.9
    sound = np.concatenate([np.zeros(2 * tinybundle.RATE), noise, np.zeros(2 * tinybundle.RATE)])
    data = (sound * 32767).astype("<i2").tobytes()
    lines = run("listen", tiny_bundle, tinybundle.RATE, "dog", "dog barking", stdin=data)
    found = [
        re.fullmatch(r" *([\d.]+) s - *([\d.]+) s  (dog|dog barking) \((0\.\d\d)\)", line)
        for line in lines.splitlines()
    ]
    assert found
    for event in found:
        assert event is not None
        assert 1.5 <= float(event[1]) < float(event[2]) <= 6.5
        assert float(event[4]) >= 0.5


def test_search(tiny_bundle: Path, clips: list[Path]) -> None:
    lines = run("search", tiny_bundle, "a dog barks", *clips).splitlines()
    cosines = [float(line.split("  ")[0]) for line in lines]
    assert cosines == sorted(cosines, reverse=True)
    assert {line.split("  ")[1] for line in lines} == {str(path) for path in clips}


def test_own_labels(tiny_bundle: Path, clips: list[Path], tmp_path: Path) -> None:
    bank = tmp_path / "bank.npz"
    first = run("own_labels", tiny_bundle, bank, *clips)
    assert len(first.splitlines()) == len(clips)
    assert bank.is_file()
    assert run("own_labels", tiny_bundle, bank, *clips) == first  # from the saved bank


def test_export_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has imported torch already."""
    path = ROOT / "examples" / "export_checkpoint.py"
    ckpt = tiny.save(tmp_path / "m.safetensors")
    monkeypatch.setattr(sys, "argv", [str(path), str(ckpt), str(tmp_path / "out")])
    runpy.run_path(str(path))
    said = capsys.readouterr().out
    assert "windows of 1 s" in said
    assert "FAIL" not in said
    parity = read_manifest(tmp_path / "out").parity
    assert parity is not None
    assert parity.passed


def test_compare_bundles(tiny_bundle: Path, exported_bundle: Path, clips: list[Path]) -> None:
    *each, worst = run("compare_bundles", tiny_bundle, tiny_bundle, *clips).splitlines()
    assert len(each) == len(clips)
    assert worst == "1.000000  the worst of 4"
    assert "spaces differ" in run("compare_bundles", tiny_bundle, exported_bundle, *clips)


def test_evaluate_esc50(tiny_bundle: Path, clips: list[Path], tmp_path: Path) -> None:
    from runtime import Classifier

    (tmp_path / "audio").mkdir()
    (tmp_path / "meta").mkdir()
    rows = ["filename,fold,target,category"]
    with Classifier(tiny_bundle, ["dog bark", "rain"], top_k=1) as classifier:
        for i, path in enumerate(clips):
            (tmp_path / "audio" / path.name).write_bytes(path.read_bytes())
            best = classifier.predict(path)[0].label
            other = {"dog bark": "rain", "rain": "dog bark"}[best]
            said = best if i < 3 else other  # the last one is wrong
            rows.append(f"{path.name},{1 + i % 2},0,{said.replace(' ', '_')}")
    rows += ["missing.wav,1,0,rain", "missing.wav,1,0,dog_bark"]
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    said = run("evaluate_esc50", tiny_bundle, tmp_path)
    assert said == "3 of 4 clips, 75.0 %, 2 not read\n"
    said = run("evaluate_esc50", tiny_bundle, tmp_path, 2)
    assert said == "1 of 2 clips, 50.0 %, 0 not read\n"


def test_stream(tiny_bundle: Path, clips: list[Path]) -> None:
    pytest.importorskip("clap_export.cli.serve")
    from tests.clap_export.serve.running import running

    with running(tiny_bundle) as server:
        address = f"ws://127.0.0.1:{server.port}/v1/listen"
        told = run("stream", address, clips[3], "--labels", "dog,rain", "--hop", "0.5")
    found = [json.loads(line) for line in told.splitlines()]
    assert found[0] == {"type": "listening", "labels": ["dog", "rain"]}
    assert [m["start"] for m in found if m["type"] == "segment"][:3] == [0.0, 0.5, 1.0]
    assert found[-1]["type"] == "end"
    assert found[-1]["seconds"] == 4 * tinybundle.WINDOW / tinybundle.RATE
