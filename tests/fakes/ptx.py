"""The part of PTX that the runtime's kernels use, run by numpy over all threads of a grid.

Threads that a branch parted go on from the lowest instruction where one waits, until they meet
again. Registers hold noise before they are written, and memory is asked for by address, so that a
wrong one is found out.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

TYPES = {
    "pred": np.bool_, "s16": np.int16, "u32": np.uint32, "u64": np.uint64, "f32": np.float32,
}  # fmt: skip
POISON = {np.bool_: True, np.int16: 12345, np.uint32: 0xDEADBEEF, np.uint64: 0xDEADBEEFDEADBEEF,
          np.float32: np.nan}  # fmt: skip
COMPARE = {"ge": operator.ge, "lt": operator.lt, "eq": operator.eq}
SPECIAL = ("%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x", "%ctaid.y")
MOST_STEPS = 1_000_000

Memory = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Instruction:
    """``@guard name.modifiers operands``; a guard of ``!%p`` is one that must not hold."""

    guard: str
    name: str
    modifiers: tuple[str, ...]
    operands: tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """An entry of a module.

    Attributes:
        params: type of each by name, in order.
        registers: type of each by name.
        code: its instructions.
        labels: number of the instruction that follows each.
    """

    params: dict[str, Any]
    registers: dict[str, Any]
    code: list[Instruction]
    labels: dict[str, int]


def parse(text: str) -> dict[str, Kernel]:
    """The kernels of a PTX text by name."""
    text = re.sub(r"//.*", "", text)
    head = text[: text.index(".visible")].split()
    assert head == [".version", "6.0", ".target", "sm_50", ".address_size", "64"], head
    entries = re.findall(r"\.visible \.entry (\w+)\(([^)]*)\)\s*{([^}]*)}", text)
    return {name: _kernel(params, body) for name, params, body in entries}


def _kernel(params: str, body: str) -> Kernel:
    registers: dict[str, Any] = {}
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for statement in body.split(";"):
        while found := re.match(r"\s*(\w+):", statement):
            labels[found[1]] = len(code)
            statement = statement[found.end() :]
        words = statement.replace(",", " ").split()
        if not words:
            continue
        if words[0] == ".reg":
            registers |= {name: TYPES[words[1][1:]] for name in words[2:]}
            continue
        guard = words.pop(0)[1:] if words[0].startswith("@") else ""
        name, *modifiers = words[0].split(".")
        code.append(Instruction(guard, name, tuple(modifiers), tuple(words[1:])))
    assert code[-1].name == "ret", "a kernel must end with ret"
    declared = [line.split() for line in params.split(",")]
    return Kernel({n: TYPES[kind[1:]] for _, kind, n in declared}, registers, code, labels)


def run(
    kernel: Kernel,
    grid: tuple[int, int],
    threads: int,
    arguments: dict[str, int],
    memory: Memory,
) -> None:
    """Run a kernel on a grid of ``[x, y]`` blocks of so many threads.

    Args:
        kernel: as :func:`parse` gave it.
        grid: blocks along x and y.
        threads: of a block, along x.
        arguments: of the kernel by name.
        memory: bytes at an address, or an error.
    """
    _Grid(kernel, grid, threads, arguments, memory).run()


class _Grid:
    def __init__(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        threads: int,
        arguments: dict[str, int],
        memory: Memory,
    ) -> None:
        self.kernel, self.arguments, self.memory = kernel, arguments, memory
        y, x, thread = (a.reshape(-1).astype(np.uint32) for a in np.indices((*grid[::-1], threads)))
        self.count = len(thread)
        wide, many = (np.full(self.count, n, np.uint32) for n in (threads, grid[0]))
        self.values = dict(zip(SPECIAL, (thread, wide, x, many, y), strict=True))
        for name, kind in kernel.registers.items():
            self.values[name] = np.full(self.count, POISON[kind], kind)
        self.at = np.zeros(self.count, np.int64)  # next instruction of each thread

    def run(self) -> None:
        end = len(self.kernel.code)
        for _ in range(MOST_STEPS):
            here = int(self.at.min())
            if here == end:
                return
            waiting = self.at == here
            active: Any = slice(None) if waiting.all() else np.flatnonzero(waiting)
            self._step(self.kernel.code[here], active)
        raise AssertionError("the kernel does not end")

    def _step(self, instruction: Instruction, active: Any) -> None:
        name, kind = instruction.name, TYPES.get((instruction.modifiers or ("",))[-1])
        assert not instruction.guard or name == "bra", "only branches may have a guard"
        self.at[active] += 1
        if name == "ret":
            self.at[active] = len(self.kernel.code)
        elif name == "bra":
            threads = np.arange(self.count)[active]
            if instruction.guard:
                holds = self.values[instruction.guard.lstrip("!")][active]
                threads = threads[~holds if instruction.guard[0] == "!" else holds]
            self.at[threads] = self.kernel.labels[instruction.operands[0]]
        elif name == "st":
            address, value = instruction.operands
            self._memory(address, kind, active, self._read(value, kind, active))
        else:
            target, *sources = instruction.operands
            register = self.values[target]
            value = self._value(instruction, sources, kind, active)
            assert value.dtype == register.dtype, f"{instruction}: {value.dtype} into {target}"
            register[active] = value

    def _value(self, instruction: Instruction, sources: list[str], kind: Any, active: Any) -> Any:
        name, modifiers = instruction.name, instruction.modifiers
        if name == "ld" and modifiers[0] == "param":
            param = sources[0].strip("[]")
            assert self.kernel.params[param] == kind, f"{instruction}: {param} has another type"
            return np.full(self.count, self.arguments[param], kind)[active]
        if name == "ld":
            return self._memory(sources[0], kind, active)
        if "wide" in modifiers:
            one, two = (self._read(source, kind, active) for source in sources[:2])
            product = one.astype(np.uint64) * two
            return product if name == "mul" else product + self._read(sources[2], np.uint64, active)
        read = [self._read(source, kind, active) for source in sources]
        match name:
            case "mov":
                return read[0]
            case "cvta":
                assert modifiers == ("to", "global", "u64")
                return read[0]
            case "cvt":
                return read[0].astype(TYPES[modifiers[-2]])
            case "setp":
                return COMPARE[modifiers[0]](read[0], read[1])
            case "add":
                return read[0] + read[1]
            case "sub":
                return read[0] - read[1]
            case "mul":
                return read[0] * read[1]
            case "mad":
                assert modifiers[0] == "lo"
                return read[0] * read[1] + read[2]
            case "fma":  # rounded once: float64 holds the product of two float32
                a, b, c = (value.astype(np.float64) for value in read)
                return (a * b + c).astype(np.float32)
        raise AssertionError(f"not known here: {instruction}")

    def _read(self, operand: str, kind: Any, active: Any) -> Any:
        if operand in self.values:
            assert self.values[operand].dtype == kind, f"{operand} is not {kind.__name__}"
            return self.values[operand][active]
        if operand.startswith("0f"):
            number = np.array(int(operand[2:], 16), np.uint32).view(np.float32)
        else:
            number = np.array(int(operand), kind)
        return np.broadcast_to(number, self.at[active].shape)

    def _memory(self, operand: str, kind: Any, active: Any, store: Any = None) -> Any:
        register, _, offset = operand.strip("[]").partition("+")
        size = np.dtype(kind).itemsize
        addresses = self.values[register][active] + np.uint64(int(offset or 0))
        assert not (addresses % size).any(), "an address is not aligned"
        first, last = int(addresses.min()), int(addresses.max())
        block = self.memory(first, last - first + size).view(kind)
        index = ((addresses - np.uint64(first)) // np.uint64(size)).astype(np.int64)
        if store is None:
            return block[index]
        block[index] = store
        return None
