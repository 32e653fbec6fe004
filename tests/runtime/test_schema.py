"""Strict reading: everything that does not fit is reported, all of it at once."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from runtime import schema
from runtime.errors import ClapError, LabelError, SchemaError
from runtime.schema import Text, Within


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


# Bounds


@dataclass(frozen=True)
class Bounded:
    count: Annotated[int, Within(1, 8)] = 1
    share: Annotated[float, Within(0, 1)] = 0.5
    measured: Annotated[float, Within(-math.inf, math.inf, nan=True)] = 0.0
    plain: float = 0.0
    name: Annotated[str, Text(5)] = ""
    maybe: Annotated[int, Within(1, 8)] | None = None
    axes: tuple[Annotated[int, Within(1, 8)], ...] = ()
    table: dict[Annotated[str, Text(5)], Annotated[int, Within(1, 8)]] = field(
        default_factory=dict[str, int]
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"count": 9}, "'count' must be from 1 to 8, is 9"),
        ({"count": 0}, "'count' must be from 1 to 8, is 0"),
        ({"count": 2**70}, "'count' must be from 1 to 8"),
        ({"count": 10**5000}, "'count' must be from 1 to 8, is a number of thousa"),
        ({"count": 2.0}, "'count' must be int, is float"),
        ({"count": True}, "'count' must be int, is bool"),
        ({"share": math.nan}, "'share' must be from 0 to 1, is nan"),
        ({"share": 10**400}, "'share' is too large a number"),
        ({"share": -math.inf}, "'share' must be from 0 to 1, is -inf"),
        ({"plain": math.inf}, "'plain' must be finite, is inf"),
        ({"plain": math.nan}, "'plain' must be finite, is nan"),
        ({"name": "123456"}, "'name' has 6 characters, at most 5"),
        ({"name": "a\x1b[2J"}, r"'name' holds control characters: 'a\\x1b\[2J'"),
        ({"name": "\u202eb"}, r"'name' holds control characters: '\\u202eb'"),
        ({"maybe": 9}, "'maybe' must be from 1 to 8"),
        ({"axes": [1, 9]}, r"'axes\[1\]' must be from 1 to 8"),
        ({"table": {"a": 9}}, "'table.a' must be from 1 to 8"),
        ({"table": {"\x1b": 1}}, r"'table, the key '\\x1b'' holds control characters"),
        ({"x\x1b": 1}, r"unknown key 'x\\x1b'"),
        ({"y" * 1000: 1}, r"unknown key 'y+"),
    ],
)
def test_a_value_beyond_its_bound(data: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        schema.read(Bounded, data, "doc")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_values_at_their_bounds() -> None:
    for data in ({"count": 1}, {"count": 8}, {"share": 0}, {"share": 1.0}, {"name": "é狗\u200d12"}):
        schema.read(Bounded, data, "doc")
    assert math.isnan(schema.read(Bounded, {"measured": math.nan}, "doc").measured)
    assert schema.read(Bounded, {"measured": math.inf}, "doc").measured == math.inf


def test_many_problems_are_counted_not_listed() -> None:
    with pytest.raises(SchemaError, match=r"and 950 more$"):
        schema.read(Bounded, {"axes": [9] * 1000}, "doc")


# JSON


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 100_000, "nested more than 100 deep"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ('{"x": {"\x7f": 1, "\x7f": 2}}', r"the key '\\x7f' is there twice"),
        ("1" * 400, "a number has 400 digits"),
        ("-" + "1" * 100_000, "a number has 100001 digits"),
        (r'"\ud800"', "surrogates not allowed"),
        (r'{"\udfff\ud800": 1}', "surrogates not allowed"),
        ("", "Expecting value"),
        ('"[[[', "Unterminated"),
    ],
)
def test_json_that_is_not_read(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=f"^the file cannot be read as JSON .*{message}"):
        schema.read_json(text.encode(), "the file", LabelError)


def test_json_that_is_read(tmp_path: Path) -> None:
    deep = "[" * 100 + "]" * 100
    for text in (deep, '"' + "[" * 10_000 + '"', r'"\ud83d\ude00 \\ud800 \""', "[1e5, -7, null]"):
        assert schema.read_json(text.encode()) == json.loads(text)
    many = json.dumps([["a", "]"]] * 1000)
    assert schema.read_json(many.encode()) == json.loads(many)
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert schema.read_json(path) == {}
    path.write_bytes(b"\xff")
    with pytest.raises(SchemaError, match=r"x\.json cannot be read as JSON \('utf-8'"):
        schema.read_json(path)
    with pytest.raises(SchemaError, match="is a folder"):
        schema.read_json(tmp_path)
    with pytest.raises(SchemaError, match="does not exist"):
        schema.read_json(tmp_path / "none")
