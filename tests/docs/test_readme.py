"""Every command and every line of Python in the README works."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.sounds.catalogue import write_demo_sounds
from tests.fakes.tensorrt_builder import machine
from tests.labelled import needs_audio
from tests.originals import families
from tests.places import MINI, ROOT
from train.config import contrastive as train_config
from train.config import distil as distil_config

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.M | re.S)
SHELL = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
INLINE = re.findall(r"`((?:make|pip install|python -m) [^`]*)`", TEXT)


def commands(program: str) -> list[str]:
    return [line for line in SHELL if line.startswith(program)]


@pytest.fixture(scope="module")
def folder(mini_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "models").symlink_to(MINI.parent)
    sounds = write_demo_sounds(folder / "sounds", seconds=7.3)
    sounds[0].rename(folder / "street.wav")
    sounds[1].rename(folder / "long.wav")
    (folder / "labels.txt").write_text("dog\nrain\nsiren\n", encoding="utf-8")
    rows = [f"sounds/{path.name},{path.stem.replace('_', ' ')}\n" for path in sounds[2:]]
    (folder / "labelled.csv").write_text("".join(["path,label\n", *rows]), encoding="utf-8")
    return folder


def test_every_kind_of_command_is_covered() -> None:
    known = ("clap-export ", "make ", "python -m train ")
    assert [line for line in SHELL if not line.startswith(known)] == []
    assert len(commands("clap-export")) >= 7
    assert len(PYTHON) == 1


def test_the_table_of_families_is_what_the_tests_measured() -> None:
    assert families.BEGIN + families.table() + families.END in TEXT


def test_the_tables_of_speed_are_those_of_the_committed_reports() -> None:
    path = ROOT / "benchmarks" / "cpu" / "readme.py"
    spec = importlib.util.spec_from_file_location("readme", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.written(TEXT) == TEXT
    torn = TEXT.replace("| median |", "| mean |")
    assert module.written(torn) == TEXT


def test_the_commands_run_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for line in commands("clap-export"):
        arguments = shlex.split(line, comments=True)[1:]
        if "trt" in arguments or arguments[0] == "build":
            continue  # see below
        if arguments[0] == "bench":
            arguments += ["--runs", "3"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
    assert (folder / "bench.png").is_file()
    assert "|" in (folder / "bench.md").read_text()


def test_the_commands_of_engines_run_ahead_of_time_or_on_a_fake_gpu(
    folder: Path, mini_bundle: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lines = [line for line in commands("clap-export") if "trt" in line or " build " in line]
    assert len(lines) == 3
    (tmp_path / "models").symlink_to(MINI.parent)
    shutil.copytree(mini_bundle, tmp_path / "bundle")
    for line in lines:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            if "--compute-capability" in line:
                request.getfixturevalue("tensorrt_rtx")
            else:
                machine(patch)
            result = CliRunner().invoke(main, shlex.split(line, comments=True)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"


def test_the_python_runs(
    folder: Path,
    mini_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    if not Path("bundle").exists():
        Path("bundle").symlink_to(mini_bundle)
    (block,) = PYTHON
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Prediction(label=" in printed
    assert "missing.wav" in printed
    assert "does not exist" in printed
    assert [line for line in block.splitlines() if "import" in line] == ["import runtime"]


def test_make_targets_exist_and_the_demo_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in commands("make"):
        assert re.search(rf"^{line.split()[1]}:", makefile, re.M), line
    (recipe,) = re.findall(r"^\t\$\(BIN\)/clap-export (demo .*FILES.*)$", makefile, re.M)
    monkeypatch.chdir(tmp_path)
    Path("models").symlink_to(MINI.parent)
    arguments = shlex.split(recipe.replace("$(FILES)", str(folder / "street.wav")))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "street.wav" in result.output
    assert "verify:" in result.output


def test_extras_that_are_named_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for name in re.findall(r"pip install \"\.\[(\w+)\]\"", TEXT):
        assert re.search(rf"^{name} = \[", project, re.M), name


def test_recipes_that_are_named_are_read() -> None:
    named = re.findall(r"train/recipes/[\w-]+\.toml", TEXT)
    assert named
    for name in named:
        if "[teacher]" in (ROOT / name).read_text(encoding="utf-8"):
            assert distil_config.load(ROOT / name).student.name
        else:
            config = train_config.load(ROOT / name)
            assert config.init or config.model.name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


@pytest.mark.slow
@needs_audio
def test_the_evaluate_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from train.__main__ import main as train_main

    monkeypatch.chdir(ROOT)
    (line,) = commands("python -m train evaluate")
    result = CliRunner().invoke(train_main, shlex.split(line)[3:])
    assert result.exit_code == 0, result.output
    assert "esc10" in result.output
