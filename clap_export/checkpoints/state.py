"""From a family's state dict to ours: every key is mapped, dropped for a reason, or an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from clap_export.model.clap import ClapModel, shapes
from clap_export.model.config import ClapConfig
from runtime.errors import ClapError

_HALF = (torch.float16, torch.bfloat16)


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


@dataclass(frozen=True)
class State(Mapping[str, Tensor]):
    """A state dict that knows where it is from, so that what is wrong with it can be said.

    Attributes:
        where: the file or folder.
        tensors: by name; floating-point ones are float32.
        rounding: of tensors that were stored in half precision, the largest relative error.
    """

    where: str
    tensors: Mapping[str, Tensor]
    rounding: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, where: str, data: object) -> State:
        """The state in an object that was read from a file.

        Raises:
            ClapError: it is no dict of plain tensors.
        """
        if not isinstance(data, dict) or not data:
            raise ClapError(
                f"{where} holds no state dict: a {type(data).__name__} is in its place."
            )
        others = [
            str(name)[:80]
            for name, value in data.items()
            if not (isinstance(name, str) and torch.is_tensor(value)) or value.is_complex()
        ]
        if others:
            raise ClapError(
                f"{where}: not tensors by name in the state dict: {', '.join(others[:9])}."
            )
        rounding = {
            name: torch.finfo(value.dtype).eps / 2
            for name, value in data.items()
            if value.dtype in _HALF
        }
        tensors = {
            name: value.float() if value.is_floating_point() else value
            for name, value in data.items()
        }
        return cls(where, tensors, rounding)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def changed(self, tensors: Mapping[str, Tensor]) -> State:
        """Other tensors from the same place."""
        return State(self.where, tensors, self.rounding)

    def size(self, name: str, axis: int = 0) -> int:
        """Length of one axis of a tensor.

        Raises:
            ClapError: the tensor is not there, has too few axes, or no values.
        """
        if name not in self or self[name].ndim <= axis or not self[name].numel():
            raise ClapError(
                f"{self.where} has no usable tensor '{name}', so its architecture is unknown."
            )
        return self[name].shape[axis]

    def count(self, pattern: str) -> int:
        """Number of different values of a pattern's first group: how many layers there are."""
        return len({m[1] for name in self if (m := re.match(pattern, name))})

    def translated(self, rules: Iterable[Rule]) -> State:
        """The same tensors under our names; the first rule that matches a key decides.

        Raises:
            ClapError: keys that no rule matches, or two that become one (all are listed).
        """
        rules = list(rules)
        found: dict[str, Tensor] = {}
        problems: list[str] = []
        for name, value in self.items():
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
            raise ClapError(f"{self.where} does not fit its family: {_listed(problems)}.")
        return self.changed(found)

    def model(self, config: ClapConfig) -> ClapModel:
        """The model of a config, filled with this state, in evaluation mode.

        Shapes are compared before the model is made: a config that asks for more than the file
        holds costs nothing.

        Raises:
            ClapError: tensors missing, unexpected, of other shapes or kinds or not finite (all are
                listed).
        """
        self.check(shapes(config, self.where))
        model = ClapModel(config)
        self._fill(model)
        return model.eval()

    def fit(self, model: ClapModel) -> None:
        """Load this state, which must be complete, into a model.

        Raises:
            ClapError: as :meth:`model`.
        """
        self.check(model.state_dict())
        self._fill(model)

    def check(self, wanted: Mapping[str, Tensor]) -> None:
        """Compare names, shapes and kinds with those of a model, which may be without values.

        Raises:
            ClapError: listing all that do not fit.
        """
        problems = [f"missing '{name}'" for name in wanted if name not in self]
        problems += [f"unexpected '{name}'" for name in self if name not in wanted]
        for name in wanted.keys() & self.keys():
            problems += _misfit(name, self[name], wanted[name])
        if problems:
            raise ClapError(f"{self.where} does not fit its config: {_listed(problems)}.")

    def _fill(self, model: ClapModel) -> None:
        own = model.state_dict()
        model.load_state_dict(
            # Counters of batches are integers. Some scripts store them in half precision with all
            # the rest, where they overflow; nothing is computed from them.
            {
                name: value if own[name].is_floating_point() else value.nan_to_num().long()
                for name, value in self.items()
            }
        )


def _misfit(name: str, value: Any, wanted: Tensor) -> list[str]:
    if not isinstance(value, Tensor):
        return [f"'{name}' is a {type(value).__name__}, not a tensor"]
    if wanted.shape != value.shape:
        have, want = tuple(value.shape), tuple(wanted.shape)
        return [f"'{name}' has shape {have}, the config asks for {want}"]
    if wanted.is_floating_point() and not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        return [f"'{name}' holds {kind} where the model has real numbers"]
    if wanted.is_floating_point() and not torch.isfinite(value).all():
        return [f"'{name}' has values that are not finite"]
    return []


def _listed(problems: list[str]) -> str:
    return "; ".join(sorted(problems))
