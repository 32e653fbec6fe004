"""All that a config may say, as Markdown: read off the dataclasses that read it."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

ATTRIBUTE = re.compile(r"^ {4}([a-z_0-9, ]+): (.+?)(?=^ {4}[a-z]|\Z)", re.DOTALL | re.MULTILINE)
NAMES: dict[object, str] = {
    str: "text", int: "whole number", float: "number", bool: "true or false", dict: "table",
    object: "anything",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Attributes:
        kind: what may stand there, in words.
        default: as TOML has it; None for what must be given.
        meaning: from the docstring; empty where a name says it all.
    """

    name: str
    kind: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table of a config.

    Attributes:
        path: as its header has it: ``[loop]``, ``[[listings]]``; empty for what stands on top.
        about: the first paragraph of its docstring.
    """

    path: str
    about: str
    keys: tuple[Key, ...]


def root(kind: str) -> type:
    """What reads the config of a ``run``, a ``distil`` or a ``bridge``."""
    from train.config.bridge import BridgeRecipe
    from train.config.contrastive import TrainConfig
    from train.config.distil import DistilConfig

    return {"run": TrainConfig, "distil": DistilConfig, "bridge": BridgeRecipe}[kind]


def tables(config: type) -> Iterator[Table]:
    """The tables of a config, each before those inside it; one that two places share comes once."""
    yield from _tables(config, "", "[{}]", {})


def page(config: type) -> str:
    """The tables of a config in Markdown."""
    parts: list[str] = []
    for table in tables(config):
        parts.append(f"### `{table.path}`" if table.path else "### On top")
        parts.append(table.about)
        parts.append("\n".join(_line(key) for key in table.keys))
    return "\n\n".join(filter(None, parts)) + "\n"


def _line(key: Key) -> str:
    default = "" if key.default is None else f"; `{key.default}`" if key.default else "; optional"
    meaning = f": {key.meaning}" if key.meaning else ""
    return f"- `{key.name}` ({key.kind}{default}){meaning}"


def _tables(config: type, path: str, header: str, shown: dict[type, str]) -> Iterator[Table]:
    about, meanings = _documented(config)
    hints, inner = get_type_hints(config, include_extras=False), []
    keys: list[Key] = []
    for one in fields(config):
        found, many = _table_of(hints[one.name])
        kind, default = _words(hints[one.name]), _default(one)
        if found is not None:
            kind, default = "tables" if many else "table", None if default is None else ""
            name = f"{path}.{one.name}" if path else one.name
            inner.append((found, name, "[[{}]]" if many else "[{}]"))
        keys.append(Key(one.name, kind, default, meanings.get(one.name, "")))
    shown[config] = header.format(path) if path else ""
    yield Table(shown[config], about, tuple(keys))
    for found, name, form in inner:
        if found in shown:
            yield Table(form.format(name), f"As `{shown[found]}`.", ())
        else:
            yield from _tables(found, name, form, shown)


def _documented(config: type) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and what it says of each attribute."""
    text = inspect.getdoc(config) or ""
    about, _, rest = text.partition("\n\nAttributes:\n")
    meanings: dict[str, str] = {}
    for names, meaning in ATTRIBUTE.findall(rest):
        said = _markdown(re.sub(r"\s+", " ", meaning))
        meanings |= {name.strip(): said for name in names.split(",")}
    return _markdown(about.split("\n\n")[0].replace("\n", " ")), meanings


def _markdown(text: str) -> str:
    """A docstring's marks as Markdown's."""
    text = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", text.strip())
    return text.replace("``", "`")


def _default(one: Field[Any]) -> str | None:
    value = one.default
    if value is MISSING and one.default_factory is not MISSING:
        value = one.default_factory()
    if value is MISSING:
        return None
    if value is None or is_dataclass(value) or value in ((), {}):
        return ""
    return _toml(value)


def _toml(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


def _parts(hint: Any) -> list[Any]:
    """What a hint may be, without None."""
    if get_origin(hint) is Annotated:
        return _parts(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [part for one in get_args(hint) if one is not type(None) for part in _parts(one)]
    return [hint]


def _table_of(hint: Any) -> tuple[type | None, bool]:
    """The dataclass that a hint names, and whether as a list."""
    for part in _parts(hint):
        if is_dataclass(part) and isinstance(part, type):
            return part, False
        if get_origin(part) in (tuple, list):
            inner = _parts(get_args(part)[0])[0]
            if is_dataclass(inner) and isinstance(inner, type):
                return inner, True
    return None, False


def _words(hint: Any) -> str:
    """A hint in words."""
    found: list[str] = []
    for part in _parts(hint):
        origin, inside = get_origin(part), get_args(part)
        if origin is Literal:
            found += [f"`{_toml(value)}`" for value in inside]
        elif origin in (tuple, list):
            found.append(f"list of {_words(inside[0])}")
        elif origin is dict:
            values = _words(inside[1])
            found.append("table" if inside[1] is Any else f"table, its values: {values}")
        else:
            found.append(NAMES.get(part, getattr(part, "__name__", str(part))))
    return " or ".join(dict.fromkeys(found))
