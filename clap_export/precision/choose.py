"""``--precision``: from a verified FP32 bundle to the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from clap_export.parity.accuracy import Item
from clap_export.precision.lower import to_fp16, to_int8
from clap_export.precision.race import race
from runtime.bundle import Parity, read_manifest, write_manifest
from runtime.errors import ClapError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")


def recordings(paths: Sequence[Path]) -> list[Path]:
    """Recordings among files and folders, the latter searched to any depth.

    Raises:
        ClapError: a path that does not exist, or nothing found at all.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ClapError(f"--calibrate: {', '.join(missing)} does not exist.")
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [p for p in inside if p == path or p.suffix.lower() in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if paths and not found:
        raise ClapError(f"--calibrate: no recordings ({', '.join(SUFFIXES)}) were found there.")
    return found


def choose(
    fp32: Path,
    folder: Path,
    precision: str,
    clips: Sequence[Path],
    listing: Sequence[Item] = (),
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
    write_manifest(best, replace(read_manifest(best), race=tuple(entries)))
    return best, parity
