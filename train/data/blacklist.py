"""Clips to leave out of training, because an evaluation set has them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ClapError
from runtime.files import writing
from train.config.text_file import read_text


@dataclass(frozen=True)
class Overlap:
    """A training clip that is also in an evaluation set.

    Attributes:
        name: of the training clip, as in its listing.
        reason: how it was found, and which clip it is there.
    """

    name: str
    reason: str


def write_blacklist(path: Path, found: Mapping[str, Sequence[Overlap]]) -> None:
    """One section for each listing, by its path in the config, with a line for each clip.

    A listing without overlaps gets its empty section: it shows that it was looked through.
    """
    lines = ["# Training clips that are in an evaluation set: name, tab, how they were found."]
    for listing, overlaps in found.items():
        lines += ["", f"[{listing}]", *(f"{one.name}\t{one.reason}" for one in overlaps)]
    with writing(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_blacklist(path: Path, listing: str) -> set[str]:
    """Names of a listing's clips that are to be left out.

    Args:
        path: the file.
        listing: path of the listing as the config gives it.

    Raises:
        ClapError: unreadable, or made without this listing.
    """
    lines = read_text(path, "blacklist").splitlines()
    sections: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in lines:
        if line.startswith("[") and line.endswith("]") and "\t" not in line:
            names = sections.setdefault(line[1:-1], set())
        elif line.strip() and not line.startswith("#"):
            names.add(line.partition("\t")[0])
    if listing not in sections:
        raise ClapError(
            f"blacklist {path} has no section for listing {listing}; it has "
            f"{', '.join(sections) or 'none'}. Make it again: python -m train overlap"
        )
    return sections[listing]
