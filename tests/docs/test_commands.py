"""Every command and every line of Python in the pages works; a block that is not run says why."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest
import soundfile
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.sounds.catalogue import SOUNDS, write_demo_sounds
from runtime import schema
from tests import tiny
from tests.docs.pages import BLOCKS, TEXTS, commands
from tests.fakes.tensorrt_builder import machine
from tests.places import RECIPES, ROOT
from train.__main__ import main as train_main
from train.config import bridge as bridge_config
from train.config import contrastive as train_config
from train.config.distil import TextLessonConfig
from train.config.toml_file import read_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RUN = ("clap-export ", "make ", "pip install ", "openssl ")
WITH_COMMANDS = sorted({b.page for b in BLOCKS if commands("clap-export", b.page)})
LONG = ("cpu-speed.md", "nvidia-gpus.md", "precision.md")  # a fifth of a minute and more, each
WITH_PYTHON = sorted({b.page for b in BLOCKS if b.language == "python"})
EXCUSED = [block for block in BLOCKS if block.excuse is not None]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands name; its clap-mini is a tiny model."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "models").mkdir()
    tiny.save(folder / "models" / "clap-mini.safetensors")
    sounds = write_demo_sounds(folder / "sounds", seconds=2.3)
    sounds[0].rename(folder / "street.wav")
    sounds[1].rename(folder / "long.wav")
    for i, seconds in enumerate((1.1, 1.3)):  # enough of them to calibrate with
        write_demo_sounds(folder / "sounds" / f"more-{i}", seconds=seconds)
    (folder / "labels.txt").write_text("dog\nrain\nsiren\n", encoding="utf-8")
    rows = [f"sounds/{path.name},{path.stem.replace('_', ' ')}\n" for path in sounds[2:]]
    (folder / "labelled.csv").write_text("".join(["path,label\n", *rows]), encoding="utf-8")
    samples = SOUNDS["rain"](3 * tiny.RATE, 3.0)[: 2 * tiny.WINDOW + 100]
    soundfile.write(folder / "model-rate.wav", samples, tiny.RATE)
    ckpt = str(folder / "models" / "clap-mini.safetensors")
    done = CliRunner().invoke(main, ["--ckpt", ckpt, "--out", str(folder / "bundle")])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def desk(
    request: pytest.FixtureRequest, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A working directory of its own for a page, which makes ``bundle`` itself if it says so."""
    page: str = request.param
    shutil.copytree(prepared, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    if any("--out bundle" in line for line in commands("clap-export", page)):
        shutil.rmtree("bundle")
    return page


def test_blocks_are_run_or_say_why_not() -> None:
    assert {block.language for block in BLOCKS} <= {
        "",
        "text",
        "sh",
        "python",
        "toml",
        "c",
        "cpp",
        "js",
    }
    for block in BLOCKS:
        if block.language == "sh" and block.excuse is None:
            assert [line for line in block.lines if not line.startswith(RUN)] == [], block.page
    for block in EXCUSED:
        print(f"{block.page}: not run, {block.excuse}:\n{block.text}")
        assert block.language == "sh", "a program that cannot run does not belong here"
        assert len(str(block.excuse)) > 15
    # A count, so that an excuse is never added in passing.
    assert len(EXCUSED) == 29


@pytest.mark.parametrize(
    "desk",
    [pytest.param(p, marks=pytest.mark.slow if p in LONG else ()) for p in WITH_COMMANDS],
    indirect=True,
)
def test_commands_run_in_order(
    desk: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in commands(("clap-export ", "openssl "), desk):
        program, *arguments = shlex.split(line)
        if program == "openssl":
            subprocess.run([program, *arguments], check=True)
            continue
        if arguments[0] == "bench":
            arguments += ["--runs", "3"]
        with monkeypatch.context() as patch:
            if "--compute-capability" in arguments:
                request.getfixturevalue("tensorrt_rtx")
            elif "trt" in arguments or arguments[0] == "build":
                machine(patch)
            result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        assert all(Path(name).exists() for name in written(arguments)), line


def written(arguments: list[str]) -> list[str]:
    """What a command was told to write."""
    pairs = pairwise(arguments)
    outputs = ("--out", "-o", "--markdown", "--plot")
    return [value for option, value in pairs if option in outputs]


@pytest.mark.parametrize("desk", WITH_PYTHON, indirect=True)
def test_python_runs(
    desk: str,
    capsys: pytest.CaptureFixture[str],
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # a reader of questions gets none
    if not Path("bundle").exists():
        Path("bundle").symlink_to(prepared / "bundle")
    if desk in ("freeze.md", "devices.md"):
        given = ["freeze", "bundle", "labels.txt", "-o", "tagger.onnx"]
        assert CliRunner().invoke(main, given).exit_code == 0
    if desk in ("library.md", "heads.md"):
        given = ["embed", "bundle", "sounds", "--out", "library"]
        assert CliRunner().invoke(main, given).exit_code == 0
    if desk == "heads.md":
        for line in ("head library labelled.csv -o head.npz", "tag library dog,rain --name street"):
            assert CliRunner().invoke(main, line.split()).exit_code == 0
    names: dict[str, object] = {}
    for block in BLOCKS:
        if (block.page, block.language) == (desk, "python"):
            exec(compile(block.text, desk, "exec"), names)
    printed = capsys.readouterr().out
    if desk == "README.md":
        assert "Prediction(label=" in printed
        (block,) = [b for b in BLOCKS if (b.page, b.language) == (desk, "python")]
        assert re.findall(r"import.*", block.text) == ["import runtime"]
    if desk == "errors-and-processes.md":
        assert printed.count("does not exist") == 2
    if desk == "bundle-format.md":
        from runtime import Encoder

        with Encoder("bundle") as encoder:
            ours = encoder.embed_audio("model-rate.wav")[0]
        assert abs(ours - names["embedding"]).max() < 1e-6


def test_the_demo_runs(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "make demo" in " ".join(commands("make"))
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^\t\$\(BIN\)/clap-export (demo .*FILES.*)$", makefile, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("models").symlink_to(prepared / "models")
    arguments = shlex.split(recipe.replace("$(FILES)", str(prepared / "street.wav")))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "street.wav" in result.output
    assert "verify:" in result.output


@pytest.mark.parametrize(
    "line",
    [
        line
        for block in EXCUSED
        for line in block.lines
        if line.startswith(("clap-export ", "python -m train "))
    ],
)
def test_options_of_commands_that_are_not_run_exist(line: str) -> None:
    group, arguments = main, shlex.split(line)[1:]
    if line.startswith("python"):
        group, arguments = train_main, arguments[2:]
        if arguments[0].endswith(".toml"):
            arguments.insert(0, "run")
    with click.Context(group, info_name=group.name) as context:
        if arguments[0].startswith("--"):  # an export, which has no verb
            name, command, rest = group.name, group, arguments
        else:
            name, command, rest = group.resolve_command(context, arguments)
        assert command is not None
        command.make_context(name, rest, parent=context)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    found = [line.split()[1] for line in commands("make")]
    found += [name for text in TEXTS.values() for name in re.findall(r"`make (\w+)", text)]
    assert {"demo", "test", "docs", "dist"} <= set(found)
    for name in found:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_extras_that_are_named_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        name
        for text in TEXTS.values()
        for names in re.findall(r"pip install [^`\n]*\"\.\[([\w,]+)\]\"", text)
        for name in names.split(",")
    }
    assert {"cpu", "gpu", "openvino", "trt", "rtx", "cli", "export", "train", "dev"} <= named
    assert named <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    "text", [b.text for b in BLOCKS if b.language == "toml"], ids=lambda text: text.split()[0]
)
def test_configs_are_read(text: str, tmp_path: Path) -> None:
    shutil.copytree(RECIPES, tmp_path, dirs_exist_ok=True)
    mine = tmp_path / "mine.toml"
    if "default_template" in text:  # a bridge's is whole
        mine.write_text(text, encoding="utf-8")
        assert bridge_config.load(mine).out
        return
    if text.startswith("[texts]"):  # of a distillation
        mine.write_text(text, encoding="utf-8")
        assert schema.read(TextLessonConfig, read_toml(mine)["texts"], "texts").epochs
        return
    base = "" if "extends" in text else 'extends = "clap2022.toml"\n'
    if text.startswith("init"):  # in place of a model of its own
        base += 'without = ["model", "audio_init", "text_init"]\n'
    mine.write_text(base + text, encoding="utf-8")
    assert train_config.load(mine).out
