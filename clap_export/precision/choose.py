"""``--precision``: from a verified FP32 bundle to the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from clap_export.metrics import enough_for_worst
from clap_export.parity.accuracy import Labelled
from clap_export.precision.lower import LEAST_HELD, to_fp16, to_int8
from clap_export.precision.race import race
from runtime import audio_files
from runtime.errors import ClapError
from runtime.manifest import Parity, amend, read_manifest


def recordings(paths: Sequence[Path]) -> list[Path]:
    """Recordings among files and folders, the latter searched to any depth.

    Raises:
        ClapError: a path that does not exist, a folder without recordings, or nothing at all.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ClapError(f"--calibrate: {', '.join(missing)} does not exist.")
    found = {path: list(audio_files.find(path)) if path.is_dir() else [path] for path in paths}
    empty = [str(path) for path, inside in found.items() if not inside]
    if empty:
        suffixes = ", ".join(sorted(audio_files.SUFFIXES))
        raise ClapError(
            f"--calibrate: no recordings ({suffixes}) were found in {', '.join(empty)}."
        )
    # A recording that is given twice is heard once: the halves must not share any.
    return list({path.resolve(): path for inside in found.values() for path in inside}.values())


def check_recordings(precision: str, count: int) -> None:
    """Refuse too few recordings before any work is done; see :data:`lower.LEAST_HELD`.

    Raises:
        ClapError: ``int8`` or ``auto`` with fewer than twice as many.
    """
    if precision in ("int8", "auto") and count < 2 * LEAST_HELD:
        raise ClapError(
            f"--precision {precision} needs at least {2 * LEAST_HELD} recordings to --calibrate "
            f"with, {count} were given: half of them are held back to measure the result on. Give "
            f"{2 * enough_for_worst()} or more, of the kind that the model will hear."
        )


def choose(
    fp32: Path,
    folder: Path,
    precision: str,
    clips: Sequence[Path],
    listing: Sequence[Labelled] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Path, Parity]:
    """Make a bundle of a precision, or of the quickest that passes its gates.

    Args:
        fp32: a verified bundle.
        folder: where more bundles may be made.
        precision: ``fp32``, ``fp16``, ``int8`` or ``auto``.
        clips: recordings to calibrate and to measure with; needed for ``int8`` and ``auto``.
        listing: labelled recordings for the gates of accuracy.
        progress: called with the name of each stage.

    Returns:
        the chosen bundle and its gates; for ``auto`` its manifest has the race.

    Raises:
        ClapError: see :func:`to_int8`.
    """
    verified = read_manifest(fp32).parity
    assert verified is not None  # the caller verified it
    if precision == "fp32":
        return fp32, verified
    made = {"fp32": (fp32, verified)}
    for name, lower in (("fp16", to_fp16), ("int8", to_int8)):
        if precision in (name, "auto"):
            out = folder / name
            parity = lower(fp32, out, clips, listing, progress).parity
            if precision == name:
                return out, parity
            if parity.passed:
                made[name] = (out, parity)
    progress("racing precisions and engines")
    entries = race([out for out, _ in made.values()], clips[0])
    best, parity = made[entries[0].precision]
    entries = [replace(entries[0], chosen=True), *entries[1:]]
    amend(best, read_manifest(best), race=tuple(entries))
    return best, parity
