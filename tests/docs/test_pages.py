"""What the pages say of the project is so: paths, functions, tables, drawings, links."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clap_export.checkpoints.families import FAMILIES
from tests.docs.pages import BLOCKS, TEXTS
from tests.kinds import kind_of
from tests.originals import families
from tests.places import ROOT
from train.config import bridge as bridge_config
from train.config import contrastive as train_config
from train.config import distil as distil_config
from train.config.listings import tasks_of

DOCS = ROOT / "docs"
NAMED = re.compile(
    r"`((?:runtime|clap_export|train|tests|benchmarks|docs|examples|models)/[^`\s]*)`"
)
WALK = re.compile(r"^\| .+ \| `([\w/.]+\.py)` \| `(\w+)` \|$", re.MULTILINE)


def module(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_readme_is_read_in_a_minute() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 130


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_paths_that_are_named_exist(page: str) -> None:
    for name in NAMED.findall(TEXTS[page]):
        assert (ROOT / name).exists(), name


def test_the_strangers_walk_ends_where_it_says() -> None:
    steps = WALK.findall(TEXTS["architecture.md"])
    assert len(steps) >= 12
    for path, name in steps:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in defined, f"{path} defines no {name}"


def test_the_drawing_of_the_rooms_is_that_of_the_layers() -> None:
    """``python docs/generate.py`` draws it anew."""
    text = TEXTS["architecture.md"]
    generate = module(DOCS / "generate.py")
    assert generate.drawn(text) == text
    assert generate.drawn(text.replace("  cli", "  ilc")) == text


def test_the_table_of_families_is_what_the_tests_measured() -> None:
    assert families.BEGIN + families.table() + families.END in TEXTS["checkpoints.md"]


def test_the_tables_of_speed_are_those_of_the_committed_reports() -> None:
    """``python benchmarks/cpu/readme.py`` writes them anew."""
    made = module(ROOT / "benchmarks" / "cpu" / "readme.py")
    for text in TEXTS.values():
        assert made.written(text) == text
    for name in made.TABLES:
        holders = [page for page, text in TEXTS.items() if f"<!-- {name} -->" in text]
        assert len(holders) == 1, f"{name} is in {holders}"
    torn = TEXTS["cpu-speed.md"].replace("| median |", "| mean |")
    assert torn != TEXTS["cpu-speed.md"]
    assert made.written(torn) == TEXTS["cpu-speed.md"]


def test_recipes_that_are_named_are_read() -> None:
    every = "\n".join(TEXTS.values())
    named = set(re.findall(r"train/recipes/[\w-]+\.toml", every))
    assert named == {f"train/recipes/{p.name}" for p in (ROOT / "train/recipes").glob("*.toml")}
    for path in map(ROOT.joinpath, named):
        kind = kind_of(path)
        if kind == "distil":
            assert distil_config.load(path).student.name
        elif kind == "tasks":
            assert tasks_of(path).tasks
        elif kind == "bridge":
            assert bridge_config.load(path).tagger.kind
        else:
            config = train_config.load(path)
            assert config.init or config.model.name


@pytest.mark.parametrize("page", [*sorted(TEXTS), "models/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page if (ROOT / page).exists() else DOCS / page
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        there = path.parent / target if target else path
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in slugs, f"{target}#{anchor}"


def test_every_page_is_in_the_sites_navigation_and_in_the_readme() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for path in DOCS.glob("*.md"):
        assert f"- {path.name}" in nav, path.name
        if path.name != "index.md":
            assert f"(docs/{path.name})" in TEXTS["README.md"], path.name


def test_programs_in_the_pages_use_the_public_api_alone() -> None:
    import runtime

    for block in BLOCKS:
        if block.language == "python":
            for name in re.findall(r"\bruntime\.(\w+)", block.text):
                assert name in runtime.__all__, f"{block.page}: runtime.{name}"


def test_the_reference_has_every_command() -> None:
    text = module(DOCS / "generate.py").reference()
    for name in ("verify", "inspect", "eval", "labels", "classify", "build", "bench", "demo"):
        assert f"### `clap-export {name}`" in text
    for name in ("run", "evaluate", "distil"):
        assert f"### `python -m train {name}`" in text
    assert "<code>--ckpt PATH</code>" in text
    assert "--labels" in text


def test_every_public_name_has_its_reference() -> None:
    import runtime

    described = re.findall(r"^::: runtime\.(\w+)$", TEXTS["python-api.md"], re.MULTILINE)
    assert set(described) == set(runtime.__all__) - {"__version__"}


def test_every_finding_is_in_the_format() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "clap_export").rglob("*.py"))
    made = {name for text in sources for name in re.findall(r'Finding\(\s*"([\w-]+)"', text)}
    (row,) = re.findall(r"^\| `findings` \|.*$", TEXTS["bundle-format.md"], re.MULTILINE)
    assert made == set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", row))


def test_families_in_the_format_are_those_of_the_command() -> None:
    (row,) = re.findall(r"^\| `source` \|.*$", TEXTS["bundle-format.md"], re.MULTILINE)
    named = re.search(r"\(([^)]*)\)", row)
    assert named is not None
    assert tuple(re.findall(r"`(\w+)`", named[1])) == FAMILIES


def test_bounds_in_the_format_are_those_of_the_readers() -> None:
    from runtime import audio_spec, manifest, onnx_file, prompts, schema, tokenizer
    from runtime.labels import MOST_LETTERS

    text = TEXTS["bundle-format.md"]
    for bound in (
        f"{schema.MOST_DEPTH} brackets", f"numbers of {schema.MOST_DIGITS} digits",
        f"{manifest.MOST_MANIFEST >> 20} MiB", f"{audio_spec.MOST_RATE // 1000} kHz",
        f"a {audio_spec.MOST_OVERLAP}th", f"{onnx_file.MOST_NODES:,} of them",
        f"{onnx_file.MOST_TENSORS:,} tensors", f"{prompts.MOST_LETTERS:,} characters",
        f"{MOST_LETTERS:,} characters", f"{tokenizer.MOST_LETTERS:,} characters",
    ):  # fmt: skip
        assert bound in text, bound


def test_exit_codes_in_the_page_are_those_of_the_command() -> None:
    from clap_export.command import ending

    rows = re.findall(r"^\| ([\d, ]+) \|", TEXTS["errors-and-processes.md"], re.MULTILINE)
    said = {int(code) for row in rows for code in row.split(",")}
    signals = {ending.BY_SIGNAL + number for number in (1, 2, 15)}
    assert said == signals | {
        ending.DONE, ending.GATE_FAILED, ending.BAD_INPUT, ending.FAULT, ending.PIPE_CLOSED,
    }  # fmt: skip


@pytest.mark.slow
def test_the_site_is_built_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//")
    for path in site.glob("*.html"):
        assert not loaded.search(path.read_text(encoding="utf-8")), path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\"?(?:https?:)?//", path.read_text("utf-8")), path.name
    assert "embed_audio" in (site / "python-api.html").read_text(encoding="utf-8")
