"""``tune``: what bundles are best run with on this machine, kept beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from clap_export.precision import race
from runtime import tuned
from runtime.bundle import Bundle
from runtime.errors import ClapError
from runtime.tuned import Tuned


def tune(
    bundles: Sequence[Path],
    clip: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[Path, Tuned]:
    """Race bundles, and write beside each what it is quickest with.

    Args:
        bundles: folders, such as one model in several precisions.
        clip: a recording to run; None for noise.
        progress: called with whose turn it is.

    Returns:
        the choice of each, the quickest bundle first.

    Raises:
        ClapError: a bundle with engines of its own, or that is damaged or given twice; or a choice
            cannot be written.
    """
    folders = [folder.resolve() for folder in bundles]
    for folder, asked in zip(folders, bundles, strict=True):
        if folders.count(folder) > 1:
            raise ClapError(f"{asked} is given twice: name each bundle once.")
        if Bundle(asked).manifest.engines is not None:
            raise ClapError(
                f"{asked} holds TensorRT engines, which it runs on unless told otherwise: there is "
                "nothing to choose. Tune the bundle that they were built from."
            )
        tuned.check_writable(asked)
    entries = race.race(bundles, race.Course.whole(), clip, progress)
    best = {
        folder: race.decide([entry for entry in entries if entry.bundle == folder])
        for folder in dict.fromkeys(entry.bundle for entry in entries)
    }
    for folder, choice in best.items():
        tuned.write(folder, choice)
    return best
