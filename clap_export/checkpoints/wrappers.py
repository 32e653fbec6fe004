"""A family's state dict inside whatever training code wrapped around it.

Scripts save a model under a key (``{"model": …}``, Lightning's ``state_dict``), and its tensors
under the names of the modules around it (``module.`` of DistributedDataParallel, ``_orig_mod.`` of
torch.compile, ``model.`` of a LightningModule), in any combination. Each family has tensors that no
other has; where all of them are found under one prefix, the state is there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from clap_export.checkpoints.state import State
from runtime.errors import ClapError

log = logging.getLogger(__name__)

F = TypeVar("F", bound=str)

MAX_DEPTH = 4  # of dicts in dicts
MAX_DICTS = 10_000  # looked into; an optimiser has one for each tensor
# Modules that wrap another one, at whatever depth, and add nothing to it.
_TRANSPARENT = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_AVERAGED = re.compile(r"(^|[._/])(ema|swa|averaged?|shadow)([._/]|$)|Ema|EMA")
# Beside a wrapped model; nothing is computed from it in use.
_BESIDE = {"n_averaged"}  # of torch.optim.swa_utils.AveragedModel


@dataclass(frozen=True)
class _Found:
    """A state dict that is a family's.

    Attributes:
        family: which one.
        path: keys that lead to it, joined by slashes.
        prefix: in front of the family's own names.
        data: the state dict, without transparent modules in its names.
    """

    family: str
    path: str
    prefix: str
    data: dict[Any, Any]

    @property
    def averaged(self) -> bool:
        """Whether these are a moving average of the weights."""
        return bool(_AVERAGED.search(self.path) or _AVERAGED.search(self.prefix))

    @property
    def place(self) -> str:
        """What to call it."""
        return "/".join(filter(None, (self.path, f"{self.prefix}*" if self.prefix else ""))) or "/"


def find(where: str, data: object, marks: Mapping[F, tuple[str, ...]]) -> tuple[F, State] | None:
    """The family and the bare state dict in an object, or None if there is none.

    Where a file holds a model's weights and their moving average, the weights are taken, as the
    families' own code does, and a warning says so.

    Args:
        where: the file.
        data: what it holds.
        marks: of each family, beginnings of names that all of its state dicts have, and no other
            family's.

    Raises:
        ClapError: there are several, or other tensors beside it.
    """
    found = [match for path, state in _dicts(data) for match in _matches(path, state, marks)]
    plain = [match for match in found if not match.averaged]
    if not found:
        return None
    if plain and len(plain) < len(found):
        other = next(match for match in found if match.averaged)
        log.warning(
            "%s holds weights (%s) and their moving average (%s): the weights are used",
            where, plain[0].place, other.place,
        )  # fmt: skip
    chosen = plain or found
    if len(chosen) > 1:
        raise ClapError(
            f"{where} holds several models: {', '.join(match.place for match in chosen[:9])}. "
            "Save the one that is wanted by itself."
        )
    (match,) = chosen
    family = next(family for family in marks if family == match.family)
    return family, State.of(where, _bare(match))


def _dicts(data: object) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every dict within reach with its path, each once."""
    waiting: list[tuple[str, Any, int]] = [("", data, 0)]
    seen: set[int] = set()
    while waiting and len(seen) < MAX_DICTS:
        path, value, depth = waiting.pop(0)
        if not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        yield path, value
        if depth < MAX_DEPTH:
            waiting += [
                (f"{path}/{key}".strip("/"), inner, depth + 1)
                for key, inner in value.items()
                if isinstance(inner, dict) and isinstance(key, str)
            ]


def _matches(
    path: str, state: dict[Any, Any], marks: Mapping[F, tuple[str, ...]]
) -> Iterator[_Found]:
    names = [name for name in state if isinstance(name, str)]
    if not any("." in name for name in names):
        return
    bare = {name: _without_transparent(name) for name in names}
    cleaned = {bare.get(key, key): value for key, value in state.items()}
    if len(cleaned) < len(state):
        cleaned = state  # two names would become one: leave both, and let them be listed
    for family, beginnings in marks.items():
        for prefix in sorted(_prefixes(cleaned, beginnings)):
            yield _Found(family, path, prefix, cleaned)


def _without_transparent(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _TRANSPARENT)


def _prefixes(state: dict[Any, Any], beginnings: tuple[str, ...]) -> set[str]:
    """The prefixes under which each of these beginnings is found."""
    found: list[set[str]] = []
    for beginning in beginnings:
        places: set[str] = set()
        for name in state:
            at = name.find(beginning) if isinstance(name, str) else -1
            if at == 0 or (at > 0 and name[at - 1] == "."):
                places.add(name[:at])
        found.append(places)
    return set.intersection(*found)


def _bare(match: _Found) -> dict[Any, Any]:
    """The tensors without their prefix.

    Those of other modules stay under their names, so that the family's rules name them; an
    average's, and what belongs to averaging, are left out.
    """
    return {
        name.removeprefix(match.prefix) if isinstance(name, str) else name: value
        for name, value in match.data.items()
        if not isinstance(name, str)
        or (match.prefix and name.startswith(match.prefix))
        or not (name in _BESIDE or _AVERAGED.search(name.split(".")[0]))
    }
