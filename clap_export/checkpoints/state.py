"""From a family's state dict to ours: every key is mapped, dropped for a reason, or an error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError

State = dict[str, Tensor]


@dataclass(frozen=True)
class Rule:
    """What becomes of the keys that a pattern matches as a whole.

    Attributes:
        pattern: regular expression.
        to: the new name, with ``\\1`` for groups; None drops the key.
        why: the reason for dropping it.
    """

    pattern: str
    to: str | None
    why: str = ""


def drop(pattern: str, why: str) -> Rule:
    """Leave these keys out."""
    return Rule(pattern, None, why)


def prefixed(source: str, rules: Iterable[Rule], target: str = "") -> list[Rule]:
    """The same rules for a module that sits deeper: under ``source`` there, ``target`` here."""
    return [
        Rule(re.escape(source) + r.pattern, None if r.to is None else target + r.to, r.why)
        for r in rules
    ]


def translate(where: str, state: State, rules: Iterable[Rule]) -> State:
    """Rename a state dict; the first rule that matches a key decides.

    Raises:
        ClapError: keys that no rule matches, or two that become one (all are listed).
    """
    rules = list(rules)
    found: State = {}
    problems: list[str] = []
    for name, value in state.items():
        rule = next((rule for rule in rules if re.fullmatch(rule.pattern, name)), None)
        if rule is None:
            problems.append(f"unexpected '{name}'")
            continue
        if rule.to is None:
            continue
        new = re.sub(rule.pattern, rule.to, name)
        if new in found:
            problems.append(f"'{name}' would become '{new}' a second time")
        found[new] = value
    if problems:
        raise ClapError(f"{where} does not fit its family: {'; '.join(sorted(problems))}.")
    return found


def tensors(where: str, data: object) -> State:
    """A state dict as float32 tensors by name, without the ``module.`` of DistributedDataParallel.

    Raises:
        ClapError: it is no dict of tensors.
    """
    if not isinstance(data, dict) or not data:
        raise ClapError(f"{where} holds no state dict: a {type(data).__name__} is in its place.")
    others = [str(k) for k, v in data.items() if not (isinstance(k, str) and torch.is_tensor(v))]
    if others:
        raise ClapError(f"{where}: not tensors by name in the state dict: {', '.join(others[:9])}.")
    prefix = "module." if all(name.startswith("module.") for name in data) else ""
    return {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in data.items()
    }


def holds(data: object, key: str, *prefixes: str) -> bool:
    """Whether a state dict, or the one under ``key``, has names under each of these prefixes."""
    state: Any = data.get(key, data) if isinstance(data, dict) else None
    if not isinstance(state, dict):
        return False
    names = [str(name).removeprefix("module.") for name in state]
    return all(any(name.startswith(prefix) for name in names) for prefix in prefixes)


def fit(where: str, model: ClapModel, state: State) -> None:
    """Load a complete state dict into a model.

    Raises:
        ClapError: tensors missing, unexpected, of other shapes or not finite (all are listed).
    """
    wanted = model.state_dict()
    problems = [f"missing '{name}'" for name in wanted if name not in state]
    problems += [f"unexpected '{name}'" for name in state if name not in wanted]
    for name in wanted.keys() & state.keys():
        value = state[name]
        if not isinstance(value, Tensor):
            problems.append(f"'{name}' is a {type(value).__name__}, not a tensor")
        elif wanted[name].shape != value.shape:
            have, want = tuple(value.shape), tuple(wanted[name].shape)
            problems.append(f"'{name}' has shape {have}, the config asks for {want}")
        elif value.is_floating_point() and not torch.isfinite(value).all():
            problems.append(f"'{name}' has values that are not finite")
    if problems:
        raise ClapError(f"{where} does not fit its config: {'; '.join(sorted(problems))}.")
    model.load_state_dict(state)


def count(state: State, pattern: str) -> int:
    """Number of different values of a pattern's first group: how many layers there are."""
    return len({m[1] for name in state if (m := re.match(pattern, name))})


def size(where: str, state: State, name: str, axis: int = 0) -> int:
    """Length of one axis of a tensor.

    Raises:
        ClapError: the tensor is not there, or has too few axes.
    """
    if name not in state or state[name].ndim <= axis:
        raise ClapError(f"{where} has no usable tensor '{name}', so its architecture is unknown.")
    return state[name].shape[axis]
