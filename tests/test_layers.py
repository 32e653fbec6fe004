"""Who may import whom (lazy imports counted), and what starts without what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from clap_export.cli import VERBS
from tests.places import ROOT

HEAVY = {"torch", "torchaudio", "torchvision", "transformers", "timm", "onnx", "onnxscript"}
OURS = {"clap_export", "train"}

# First match wins. A forbidden name forbids what lies below it too.
FORBIDDEN: list[tuple[str, set[str]]] = [
    ("runtime", HEAVY | OURS | {"click", "rich", "safetensors"}),
    (
        "clap_export/model",
        {"onnx", "onnxruntime", "runtime.backends", "runtime.encoder", "runtime.classifier"},
    ),
    ("clap_export/checkpoints", {"onnx", "onnxruntime"}),
    ("clap_export/export", {"onnxruntime", "clap_export.checkpoints"}),
    (
        "clap_export/precision",
        (HEAVY - {"onnx"}) | {"onnxruntime", "clap_export.checkpoints", "clap_export.model"},
    ),
    ("clap_export/engine/constraints.py", HEAVY - {"onnx"}),  # the types for TensorRT 8.6
    (
        "clap_export/engine",  # an edge device builds engines without them
        HEAVY | {"onnxruntime", "clap_export.checkpoints", "clap_export.model"},
    ),
    ("clap_export/parity/checkpoint.py", {"onnx", "clap_export.export"}),
    ("clap_export/parity", HEAVY | {"clap_export.model"}),
    ("clap_export/bench/peers", {"onnx"}),
    ("clap_export/bench/ceilings.py", HEAVY - {"torch"}),
    ("clap_export/bench", HEAVY | {"clap_export.model"}),
    ("clap_export/command", HEAVY),
    ("clap_export/freeze", (HEAVY - {"onnx"}) | {"onnxruntime", "click", "rich"}),
    ("clap_export/conformance", (HEAVY - {"onnx"}) | {"onnxruntime", "click", "rich"}),
    ("clap_export/triton", HEAVY | {"onnxruntime", "click", "rich"}),
    ("clap_export/timelines", HEAVY | {"click", "rich"}),
    ("clap_export/serve", HEAVY | {"click", "rich"}),
    ("clap_export/library", HEAVY | {"onnxruntime", "click", "rich"}),
    ("clap_export/heads", HEAVY | {"onnxruntime", "click", "rich"}),
    ("clap_export/cli", HEAVY),
    ("clap_export", set()),
    (
        "train",
        {"onnx", "onnxruntime", "tensorrt", "runtime.backends", "runtime.classifier"}
        | {f"clap_export.{name}" for name in ("export", "precision", "engine", "bench", "cli")},
    ),
]

# The rooms of each package from the ground up: one imports only those named before it.
ROOMS = {
    "clap_export": "metrics figure invented slim timelines freeze triton command sounds "
    "conformance model checkpoints export parity engine bench precision library heads serve "
    "cli __main__".split(),
    "train": "machine losses schedule config tagger data zero_shot distil contrastive bridge "
    "published formats average __main__".split(),
}

SOURCES = sorted(
    path
    for package in ("runtime", "clap_export", "train")
    for path in (ROOT / package).rglob("*.py")
)


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at any depth; `from a import b` counts as a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            module = node.module or ""
            names.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_follow_the_layers(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    banned = next(names for prefix, names in FORBIDDEN if relative.startswith(prefix))
    found = {
        name
        for name in imported(path)
        if any(name == bad or name.startswith(f"{bad}.") for bad in banned)
    }
    assert not found


def room(module: str) -> str:
    """The part of a package that a module lies in: the name behind the first dot."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_import_climbs(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    floors = ROOMS.get(package, [])
    here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    above = set(floors[floors.index(here) + 1 :]) if here in floors else set()
    mine = {name for name in imported(path) if name.startswith(f"{package}.")}
    assert not {name for name in mine if room(name) in above}
    if package == "train":
        assert not {name for name in imported(path) if name.startswith("clap_export.cli")}
    if package == "clap_export":
        assert not {name for name in imported(path) if name.split(".")[0] == "train"}


def test_every_room_has_its_floor() -> None:
    for package, floors in ROOMS.items():
        found = {
            room(".".join(p.relative_to(ROOT).with_suffix("").parts))
            for p in SOURCES
            if p.is_relative_to(ROOT / package)
        }
        assert found - {"__init__"} == set(floors)


def test_the_table_catches_a_lazy_import(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text("def f():\n    from torch import nn\n    import onnx.helper\n")
    assert imported(path) >= {"torch", "torch.nn", "onnx.helper"}


def run_without(blocked: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which some modules cannot be imported."""
    block = f"import sys\nfor name in {sorted(blocked)!r}: sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", block + code], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize(
    "verb",
    ["", *VERBS],
    ids=lambda v: v or "main",
)
def test_help_starts_without_torch(verb: str) -> None:
    arguments = [verb, "--help"] if verb else ["--help"]
    code = f"from clap_export.cli import main\nmain({arguments!r}, prog_name='clap-export')"
    done = run_without(HEAVY | {"onnxruntime", "rich", "numpy"}, code)
    assert done.returncode == 0, done.stderr
    assert "Usage: clap-export" in done.stdout


def test_missing_packages_are_one_sentence(tmp_path: Path) -> None:
    code = "from clap_export.cli import main\nmain({!r}, prog_name='clap-export')"
    ckpt = tmp_path / "model.pt"
    ckpt.write_bytes(b"x" * 100)
    export = code.format(["--ckpt", str(ckpt), "--out", str(tmp_path / "out")])
    for blocked, extra in (({"torch"}, "export"), ({"rich"}, "cli")):
        done = run_without(blocked, export)
        assert done.returncode == 2
        assert f"pip install clap-export[{extra}]" in done.stderr
        assert "Traceback" not in done.stderr
    entry = "from clap_export.__main__ import entry\nentry()"
    done = run_without({"click"}, entry)
    assert done.returncode != 0
    assert "pip install clap-export[cli]" in done.stderr


def test_classify_and_bench_work_without_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    from tests.tiny import bundle as tinybundle

    clip = tmp_path / "clip.wav"
    clip.write_bytes(tinybundle.wav(tinybundle.clip(9000), 16000))
    code = "from clap_export.cli import main\nmain({!r}, prog_name='clap-export')"
    classify = ["classify", str(tiny_bundle), str(clip), "--labels", "dog,cat", "--json"]
    done = run_without(HEAVY, code.format(classify))
    assert done.returncode == 0, done.stderr
    assert '"predictions"' in done.stdout
    bench = ["bench", str(tiny_bundle), "--clip", str(clip), "--runs", "3", "--batch", "1,2"]
    done = run_without(HEAVY, code.format(bench))
    assert done.returncode == 0, done.stderr


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES
}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other."""

    def reached(start: str) -> set[str]:
        seen, waiting = set[str](), [start]
        while waiting:
            for name in arrows[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    far = {name: reached(name) for name in arrows}
    return [{name, *(o for o in far[name] if name in far[o])} for name in far if name in far[name]]


def test_no_modules_import_each_other() -> None:
    """Packages' own ``__init__`` apart, which only hand on what lies below them."""
    modules = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}
    arrows = {name: imported(path) & modules.keys() for name, path in modules.items()}
    assert circles(arrows) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}] * 3
