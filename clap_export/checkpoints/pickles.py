"""A reader of pickles that builds plain values and never runs what a file asks for.

Python's own unpickler calls whatever a pickle names, and sets whatever state it brings. This one
knows the opcodes of protocols 2 to 5 that checkpoints are made of. A global stays a name, and a
table of functions of ours decides what is made of it; anything else is refused.

Numbers in a pickle are never believed: lengths are compared with the bytes that are there, and the
count of opcodes is limited, so that memory stays in proportion to the file.
"""

from __future__ import annotations

import argparse
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clap_export.checkpoints import pickled_numpy
from clap_export.checkpoints.pickled_numpy import ForeignError, PickleError

MAX_OPCODES = 2_000_000  # a checkpoint of 500 tensors with its optimiser has about 60,000
MAX_INTEGER_BYTES = 64
MAX_NAME = 256
MAX_COPIES = 4  # bytes of arrays, and items of containers, for each byte of the pickle
_MARK = object()
# Keys of other kinds are not needed, and hashing tuples that share their parts can take for ever.
_KEYS = (str, bytes, int, float, type(None))

# The stack is empty, or what lies there is of another kind than the opcode takes.
_MISFITS = (
    AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, struct.error,
)  # fmt: skip

Maker = Callable[..., Any]


@dataclass(frozen=True)
class Name:
    """A global of a pickle: never looked up, only compared."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Reader:
    """One pickle in a buffer.

    Args:
        data: the bytes; more may follow the pickle.
        position: where it begins; after :meth:`read`, where it ended.
        makers: what is made of a name when the pickle calls it, besides what numpy and the
            standard library put into checkpoints.
        persistent: what is made of a persistent id.
    """

    data: bytes | memoryview
    position: int = 0
    makers: Mapping[str, Maker] = field(default_factory=dict)
    persistent: Callable[[Any], Any] | None = None
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    copied: int = 0

    def read(self) -> Any:
        """The object.

        Raises:
            ForeignError: it asks for anything outside the tables.
            PickleError: it is damaged.
        """
        try:
            for _ in range(MAX_OPCODES):
                code = bytes(self.take(1))
                if code == pickle.STOP:
                    return self.pop()
                step = _STEPS.get(code)
                if step is None:
                    raise PickleError(f"opcode {code!r} at byte {self.position - 1}")
                step(self)
        except PickleError:
            raise
        except _MISFITS as error:
            raise PickleError(f"opcodes that do not fit at byte {self.position}") from error
        raise PickleError(f"more than {MAX_OPCODES} opcodes")

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        if not 0 <= count <= len(self.data) - self.position:
            raise PickleError(f"it ends at byte {len(self.data)}, in the middle of a value")
        self.position += count
        return memoryview(self.data)[self.position - count : self.position]

    def number(self, layout: str) -> Any:
        """The next number, of a layout of `struct`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """The next line: a part of a global's name."""
        rest = bytes(memoryview(self.data)[self.position : self.position + MAX_NAME])
        text, end, _ = rest.partition(b"\n")
        if not end:
            raise PickleError(f"a name without an end at byte {self.position}")
        self.position += len(text) + 1
        return text.decode("utf-8")

    def pop(self) -> Any:
        """The value on top of the stack."""
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("a mark in the place of a value")
        return value

    def since_mark(self) -> list[Any]:
        """The values above the last mark, which goes too."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                found = self.stack[index + 1 :]
                del self.stack[index:]
                return found
        raise PickleError("no mark where a list of values should begin")

    def integer(self, layout: str) -> int:
        """An integer of any length, within reason."""
        count = self.number(layout)
        if count > MAX_INTEGER_BYTES:
            raise PickleError(f"an integer of {count} bytes")
        return int.from_bytes(self.take(count), "little", signed=True)

    def last(self, count: int) -> tuple[Any, ...]:
        """The values on top of the stack, the deepest first."""
        return tuple(reversed([self.pop() for _ in range(count)]))

    # Containers are changed in place, since the memo may hold them too.

    def extend(self, values: list[Any]) -> None:
        """Append to the list on top of the stack."""
        if not isinstance(self.stack[-1], list):
            raise PickleError("values appended to something that is no list")
        self.stack[-1].extend(values)

    def add(self, values: list[Any]) -> None:
        """Add to the set on top of the stack."""
        if not isinstance(self.stack[-1], set):
            raise PickleError("values added to something that is no set")
        self.stack[-1].update(map(_key, values))

    def set_items(self, values: list[Any]) -> None:
        """Set keys, each with its value behind it, in the dict on top of the stack."""
        if not isinstance(self.stack[-1], dict) or len(values) % 2:
            raise PickleError("items set in something that is no dict")
        self.stack[-1].update(zip(map(_key, values[::2]), values[1::2], strict=True))

    def new_dict(self) -> None:
        """A dict of the values since the mark."""
        values = self.since_mark()
        self.stack.append({})
        self.set_items(values)

    def name(self, module: Any, name: Any) -> Name:
        """A global."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("a global whose name is no text")
        if len(module) + len(name) > MAX_NAME:
            raise PickleError(f"a global whose name has {len(module) + len(name)} characters")
        return Name(module, name)

    def call(self) -> None:
        """Call a name, with the arguments on top of the stack."""
        what, arguments = self.last(2)
        if not isinstance(what, Name) or not isinstance(arguments, tuple):
            raise PickleError("a call of something that has no name")
        self.stack.append(self.made(what, arguments))

    def made(self, what: Name, arguments: tuple[Any, ...]) -> Any:
        """What a pickle's call of a name gives.

        Raises:
            ForeignError: the name is in no table.
        """
        maker = self.makers.get(str(what)) or _MAKERS.get(str(what))
        if maker is None:
            raise ForeignError(f"it asks for {what}")
        value = maker(*arguments)
        self.charge(value)
        return value

    def charge(self, value: Any) -> None:
        """Count what was made of parts that the memo may give again and again.

        Raises:
            PickleError: by far more than the file holds.
        """
        if isinstance(value, dict | set | np.ndarray):
            self.copied += value.nbytes if isinstance(value, np.ndarray) else len(value)
        if self.copied > MAX_COPIES * len(self.data):
            raise PickleError("the same parts are copied over and over")

    def build(self) -> None:
        """Give state to the value on top of the stack."""
        target, state = self.last(2)
        if isinstance(target, pickled_numpy.Dtype):
            target.set_order(state)
        elif isinstance(target, pickled_numpy.Array):
            value = pickled_numpy.array_of(state)
            self.charge(value)
            self.memo.update(dict.fromkeys(target.memo_keys, value))
            target = value
        elif isinstance(target, argparse.Namespace):
            if not all(isinstance(key, str) for key in state):
                raise PickleError("an attribute whose name is no text")
            self.charge(state)
            vars(target).update(state)
        elif not isinstance(target, dict):
            # State dicts carry `_metadata` about module versions here, which nobody needs.
            raise ForeignError(f"it sets the inner state of a {type(target).__name__}")
        self.stack.append(target)

    def refer(self) -> None:
        """Take the value of a persistent id."""
        if self.persistent is None:
            raise PickleError("a reference to a storage that is not in the file")
        self.stack.append(self.persistent(self.pop()))

    def remember(self, key: int) -> None:
        """Put the value on top of the stack into the memo."""
        value = self.memo[key] = self.stack[-1]
        if isinstance(value, pickled_numpy.Array):
            value.memo_keys.append(key)


def _key(value: Any) -> Any:
    if not isinstance(value, _KEYS):
        raise PickleError(f"a key that is a {type(value).__name__}")
    return value


def _ordered(items: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in items}


def _encoded(text: str, _encoding: Any = "latin1") -> bytes:
    """Protocol 2 writes bytes as a text of the same code points."""
    return text.encode("latin-1")


def _members(items: Any = ()) -> set[Any]:
    if not isinstance(items, list | tuple):
        raise PickleError("a set of something that is no list")
    return set(map(_key, items))


def _new(what: Any, *_base: Any) -> Any:
    """Protocol 1 makes objects by their class, its base and the base's value."""
    if isinstance(what, Name) and str(what) == "argparse.Namespace":
        return argparse.Namespace()
    raise ForeignError(f"it asks for {what}" if isinstance(what, Name) else "it makes an object")


_MAKERS: dict[str, Maker] = {
    **pickled_numpy.MAKERS,
    "collections.OrderedDict": _ordered,
    "_codecs.encode": _encoded,
    "argparse.Namespace": lambda: argparse.Namespace(),
}
for _library in ("builtins", "__builtin__"):
    _MAKERS |= {f"{_library}.set": _members, f"{_library}.frozenset": _members}
for _library in ("copyreg", "copy_reg"):
    _MAKERS[f"{_library}._reconstructor"] = _new


def _push(make: Callable[[Reader], Any]) -> Callable[[Reader], None]:
    return lambda reader: reader.stack.append(make(reader))


def _text(layout: str) -> Callable[[Reader], None]:
    return _push(lambda r: str(r.take(r.number(layout)), "utf-8", "surrogatepass"))


def _bytes(layout: str) -> Callable[[Reader], None]:
    return _push(lambda r: bytes(r.take(r.number(layout))))


def _old_text(layout: str) -> Callable[[Reader], None]:
    return _push(lambda r: str(r.take(r.number(layout)), "latin-1"))


_STEPS: dict[bytes, Callable[[Reader], Any]] = {
    pickle.PROTO: lambda r: r.take(1),
    pickle.FRAME: lambda r: r.take(8),
    pickle.MARK: _push(lambda _: _MARK),
    pickle.POP: lambda r: r.stack.pop(),
    pickle.POP_MARK: lambda r: r.since_mark(),
    pickle.NONE: _push(lambda _: None),
    pickle.NEWTRUE: _push(lambda _: True),
    pickle.NEWFALSE: _push(lambda _: False),
    pickle.BININT: _push(lambda r: r.number("<i")),
    pickle.BININT1: _push(lambda r: r.number("<B")),
    pickle.BININT2: _push(lambda r: r.number("<H")),
    pickle.LONG1: _push(lambda r: r.integer("<B")),
    pickle.LONG4: _push(lambda r: r.integer("<I")),
    pickle.BINFLOAT: _push(lambda r: r.number(">d")),
    pickle.BINUNICODE: _text("<I"),
    pickle.SHORT_BINUNICODE: _text("<B"),
    pickle.BINUNICODE8: _text("<Q"),
    pickle.SHORT_BINBYTES: _bytes("<B"),
    pickle.BINBYTES: _bytes("<I"),
    pickle.BINBYTES8: _bytes("<Q"),
    pickle.BYTEARRAY8: _bytes("<Q"),
    pickle.SHORT_BINSTRING: _old_text("<B"),
    pickle.BINSTRING: _old_text("<I"),
    pickle.EMPTY_TUPLE: _push(lambda _: ()),
    pickle.TUPLE1: _push(lambda r: r.last(1)),
    pickle.TUPLE2: _push(lambda r: r.last(2)),
    pickle.TUPLE3: _push(lambda r: r.last(3)),
    pickle.TUPLE: _push(lambda r: tuple(r.since_mark())),
    pickle.EMPTY_LIST: _push(lambda _: []),
    pickle.LIST: _push(lambda r: r.since_mark()),
    pickle.APPEND: lambda r: r.extend([r.pop()]),
    pickle.APPENDS: lambda r: r.extend(r.since_mark()),
    pickle.EMPTY_DICT: _push(lambda _: {}),
    pickle.DICT: lambda r: r.new_dict(),
    pickle.SETITEM: lambda r: r.set_items([*r.last(2)]),
    pickle.SETITEMS: lambda r: r.set_items(r.since_mark()),
    pickle.EMPTY_SET: _push(lambda _: set()),
    pickle.ADDITEMS: lambda r: r.add(r.since_mark()),
    pickle.FROZENSET: _push(lambda r: _members(r.since_mark())),
    pickle.GLOBAL: _push(lambda r: r.name(r.line(), r.line())),
    pickle.STACK_GLOBAL: _push(lambda r: r.name(*r.last(2))),
    pickle.REDUCE: lambda r: r.call(),
    pickle.NEWOBJ: lambda r: r.call(),
    pickle.BUILD: lambda r: r.build(),
    pickle.BINPERSID: lambda r: r.refer(),
    pickle.BINPUT: lambda r: r.remember(r.number("<B")),
    pickle.LONG_BINPUT: lambda r: r.remember(r.number("<I")),
    pickle.MEMOIZE: lambda r: r.remember(len(r.memo)),
    pickle.BINGET: _push(lambda r: r.memo[r.number("<B")]),
    pickle.LONG_BINGET: _push(lambda r: r.memo[r.number("<I")]),
}
