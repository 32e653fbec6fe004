"""The reference of a config's keys has all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.kinds import kind_of
from tests.places import ROOT
from train.config.describe import page, root, tables

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = ROOT / "train" / "recipes"
EVERYWHERE = {"extends", "without", "sha256"}


@dataclass(frozen=True)
class Inner:
    """A table that two places share.

    Attributes:
        first, second: of ``both``, as :class:`Outer` has
            them.
    """

    first: int
    second: float | None = None


@dataclass(frozen=True)
class Outer:
    """On top. More of it.

    Not this.

    Attributes:
        mode: what is done.
        inner: one of them.
    """

    mode: Literal["on", "off"]
    rows: tuple[Inner, ...] = ()
    inner: Inner = field(default_factory=lambda: Inner(1))
    names: tuple[str, ...] = ("a", "b")
    plain: bool = False
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)


def test_a_page_by_hand() -> None:
    assert (
        page(Outer)
        == """### On top

On top. More of it.

- `mode` (`"on"` or `"off"`): what is done.
- `rows` (tables; optional)
- `inner` (table; optional): one of them.
- `names` (list of text; `["a", "b"]`)
- `plain` (true or false; `false`)
- `kept` (table, its values: list of text; optional)

### `[[rows]]`

A table that two places share.

- `first` (whole number): of `both`, as `Outer` has them.
- `second` (number; optional): of `both`, as `Outer` has them.

### `[inner]`

As `[[rows]]`.
"""
    )


def used(table: dict[str, Any], path: str = "") -> set[str]:
    """Paths of all keys that a TOML file gives, without the places in lists."""
    found: set[str] = set()
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        found.add(name)
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            if isinstance(row, dict):
                found |= used(row, name)
    return found


def described(kind: str) -> set[str]:
    found: set[str] = set()
    for table in tables(root(kind)):
        path = table.path.strip("[]")
        found |= {f"{path}.{key.name}" if path else key.name for key in table.keys}
        if shared := re.fullmatch(r"As `\[+([\w.]+)\]+`\.", table.about):
            below = [name for name in found if name.startswith(f"{shared[1]}.")]
            found |= {path + name.removeprefix(shared[1]) for name in below}
    return found


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_key_of_every_recipe_is_described(recipe: Path) -> None:
    given = tomllib.loads(recipe.read_text(encoding="utf-8"))
    kind = kind_of(recipe)
    known = described("run" if kind == "tasks" else kind)
    # Tables whose keys are the user's own.
    free = re.compile(r"(.*\.)?(where|exclude|rename|groups|options|figures)\.")
    unknown = {
        name for name in used(given) - known
        if name.split(".")[0] not in EVERYWHERE and not free.match(name)
    }  # fmt: skip
    assert not unknown


@pytest.mark.parametrize("kind", ["run", "distil", "bridge"])
def test_the_command_prints_it(kind: str) -> None:
    command = [sys.executable, "-m", "train", "options", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, page(root(kind))), done.stderr
