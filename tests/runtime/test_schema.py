"""Strict reading: everything that does not fit is reported, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from runtime import schema
from runtime.errors import ClapError, SchemaError


@dataclass(frozen=True)
class Inner:
    size: int
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size is negative")


@dataclass(frozen=True)
class Outer:
    name: str
    ratio: float
    flag: bool
    inner: Inner
    maybe: Inner | None
    items: tuple[int, ...]
    table: dict[str, float]


GOOD = {
    "name": "x",
    "ratio": 2,
    "flag": True,
    "inner": {"size": 3},
    "maybe": None,
    "items": [1, 2],
    "table": {"k": 1},
}


def test_reads_every_supported_type() -> None:
    value = schema.read(Outer, GOOD, "doc")
    assert value == Outer("x", 2.0, True, Inner(3, "a"), None, (1, 2), {"k": 1.0})
    assert isinstance(value.ratio, float)
    assert isinstance(value.table["k"], float)


def test_to_plain_is_the_inverse() -> None:
    value = schema.read(Outer, {**GOOD, "maybe": {"size": 1, "kind": "b"}}, "doc")
    plain = schema.to_plain(value)
    assert plain["maybe"] == {"size": 1, "kind": "b"}
    assert plain["items"] == [1, 2]
    assert schema.read(Outer, plain, "doc") == value


def test_lists_all_problems_at_once() -> None:
    data = {
        "ratio": "2",
        "flag": 1,
        "inner": {"size": True, "kind": "c", "more": 0},
        "maybe": 5,
        "items": [1, "2"],
        "table": [],
        "typo": 0,
    }
    with pytest.raises(SchemaError) as caught:
        schema.read(Outer, data, "doc.json")
    message = str(caught.value)
    assert message.startswith("doc.json: ")
    for part in (
        "unknown key 'typo'",
        "unknown key 'inner.more'",
        "missing key 'name'",
        "'ratio' must be float, is str",
        "'flag' must be bool, is int",
        "'inner.size' must be int, is bool",
        "'inner.kind' is 'c', must be one of 'a', 'b'",
        "'maybe' must be a table, is int",
        "'items[1]' must be int, is str",
        "'table' must be a table, is list",
    ):
        assert part in message


def test_a_dataclass_own_check_is_reported_with_its_path() -> None:
    with pytest.raises(SchemaError, match="'inner': size is negative"):
        schema.read(Outer, {**GOOD, "inner": {"size": -1}}, "doc")


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_top_level_must_be_a_table(data: object) -> None:
    with pytest.raises(ClapError, match="must be a table"):
        schema.read(Outer, data, "doc")
