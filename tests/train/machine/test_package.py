"""Files inside installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

import runtime
from runtime.errors import ClapError
from train.machine import package


def test_what_lies_inside_a_package() -> None:
    folder = Path(str(runtime.__file__)).parent
    assert package.find("package:runtime/backends", "teacher") == folder / "backends"
    assert package.find("org/name", "teacher") == "org/name"
    for name in ("no_such_package", "no_such_package.part", ""):
        with pytest.raises(ClapError, match=f"^teacher: the Python package {name} is not inst"):
            package.find(f"package:{name}/model", "teacher")
