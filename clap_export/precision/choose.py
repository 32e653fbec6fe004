"""``--precision``: from a verified FP32 bundle to the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from clap_export.metrics import enough_for_worst
from clap_export.parity.accuracy import Labelled
from clap_export.precision import race
from clap_export.precision.lower import (
    LEAST_HELD,
    Lowered,
    check_bfloat16,
    held_back,
    to_bf16,
    to_fp16,
    to_int8,
)
from runtime import audio_files, tuned
from runtime.backends import no_bfloat16
from runtime.errors import ClapError
from runtime.manifest import IN_FILES, Parity, Precision, amend, read_manifest

CALIBRATED = ("int8", "int8+bf16", "auto")  # need recordings
LOWER: dict[Precision, Callable[..., Lowered]] = {
    "fp16": to_fp16,
    "bf16": to_bf16,
    "int8": to_int8,
}


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


def check_possible(precision: str, count: int) -> None:
    """Refuse what cannot be made or measured here before any work is done.

    Args:
        precision: that was asked for.
        count: of recordings; see :data:`lower.LEAST_HELD`.

    Raises:
        ClapError: INT8 or ``auto`` with fewer than twice as many, or nothing here computes in
            bfloat16.
    """
    if precision in IN_FILES:
        check_bfloat16(precision)
    if precision in CALIBRATED and count < 2 * LEAST_HELD:
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

    What was timed is beside the bundle (:mod:`runtime.tuned`): of ``auto``, and of a precision that
    one engine alone computes in.

    Args:
        fp32: a verified bundle.
        folder: where more bundles may be made.
        precision: one of :data:`runtime.manifest.Precision`, or ``auto``.
        clips: recordings to calibrate and to measure with; needed for INT8 and ``auto``.
        listing: labelled recordings for the gates of accuracy.
        progress: called with the name of each stage.

    Returns:
        the chosen bundle and its gates; for ``auto`` its manifest has the race.

    Raises:
        ClapError: see :func:`to_int8` and :func:`to_bf16`.
    """
    verified = read_manifest(fp32).parity
    assert verified is not None  # the caller verified it
    if precision == "fp32":
        return fp32, verified
    made: dict[str, tuple[Path, Parity]] = {"fp32": (fp32, verified)}
    for name in _made_for(precision):
        out = folder / name
        if name == "int8+bf16":  # of the same files
            if "int8" not in made:
                continue
            held, of = held_back(clips), made["int8"][0]
            lowered = to_bf16(of, out, held, listing, progress, fp32=fp32)
        else:
            lowered = LOWER[name](fp32, out, clips, listing, progress)
        if lowered.parity.passed:
            made[name] = (out, lowered.parity)
        elif precision != "auto":  # nothing can be made of what failed
            return out, lowered.parity
    if precision != "auto":
        best, parity = made[precision]
        if precision in IN_FILES:
            _time([best], clips, progress)
        return best, parity
    entries = _time([out for out, _ in made.values()], clips, progress)
    best, parity = made[entries[0].manifest.audio_graph.precision]
    amend(best, read_manifest(best), race=race.chosen(entries))
    return best, parity


def _made_for(precision: str) -> tuple[Precision, ...]:
    """What is made on the way to a precision."""
    if precision == "int8+bf16":
        return ("int8", "int8+bf16")
    if precision != "auto":
        return (cast(Precision, precision),)
    return ("fp16", "int8") if no_bfloat16() else ("fp16", "bf16", "int8", "int8+bf16")


def _time(
    bundles: Sequence[Path], clips: Sequence[Path], progress: Callable[[str], None]
) -> list[race.Entry]:
    """Race bundles, and write beside the quickest what it is to be run with."""
    progress("racing precisions and engines")
    clip = clips[0] if clips else None
    entries = race.race(bundles, race.Course(race.engines()), clip, progress)
    best = entries[0].bundle
    tuned.write(best, race.decide([entry for entry in entries if entry.bundle == best]))
    return entries
