"""Training clips that an evaluation set has too: by file name, recording, or sound."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime.cores import usable_cores
from runtime.errors import AudioError
from train.config.listings import listings_of
from train.data.blacklist import Overlap, write_blacklist
from train.data.fingerprint import SAME, Fingerprint, Gallery, fingerprint, of_samples
from train.data.listing import Clip, read_listing
from train.data.recording import Recording
from train.machine.progress import track

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Overlaps:
    """What was found.

    Attributes:
        clips: how many training clips were looked through.
        by_listing: those to leave out, by the listing's path in the config.
        by_reason: how many were found by ``name``, ``recording`` and ``sound``.
        silent: clips (of both sides) that could not be compared by sound: unreadable or too short.
    """

    clips: int
    by_listing: dict[str, list[Overlap]]
    by_reason: Counter[str]
    silent: int

    def write(self, path: Path) -> None:
        """Write the blacklist."""
        write_blacklist(path, self.by_listing)

    def summary(self) -> str:
        """One line: how many of how many, and by what."""
        found = sum(map(len, self.by_listing.values()))
        reasons = ", ".join(f"{n} by {reason}" for reason, n in sorted(self.by_reason.items()))
        return (
            f"{found} of {self.clips} clips overlap ({reasons or 'none'}); "
            f"{self.silent} could not be compared by sound"
        )


def between(training: Path, evaluation: Path) -> Overlaps:
    """Compare the listings of two TOML files.

    A blacklist that the training listings name is not applied: it is what gets made anew.

    Args:
        training: with ``[[listings]]``: a recipe.
        evaluation: with ``[[tasks]]``, whose listings count, or with ``[[listings]]``.

    Raises:
        ClapError: a file or a listing that cannot be read, or no listings in it.
    """
    listings = [replace(one, blacklist=None) for one in listings_of(training, tasks=False)]
    held_out = [clip for one in listings_of(evaluation, tasks=True) for clip in read_listing(one)]
    paths = Counter(one.path for one in listings)
    if twice := sorted(path for path, n in paths.items() if n > 1):
        log.info("listed more than once, in one section of the blacklist: %s", ", ".join(twice))
    clips = [(one.path, clip) for one in listings for clip in read_listing(one)]
    return compare(clips, held_out)


def compare(clips: Sequence[tuple[str, Clip]], held_out: Sequence[Clip]) -> Overlaps:
    """Find training clips that are in an evaluation set.

    Three ways, the first that applies is given as the reason:

    - ``recording``: both listings name the same recording; other parts of it count too.
    - ``sound``: their fingerprints agree.
    - ``name``: the files are called the same, suffix and case aside, unless their fingerprints say
      that they are different recordings: many sets number their files.

    Args:
        clips: training clips, each with its listing's path.
        held_out: evaluation clips.
    """
    recordings = {clip.recording: clip for clip in held_out if clip.recording is not None}
    stems: defaultdict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(held_out):
        stems[_stem(clip)].append(index)
    theirs = _fingerprints(held_out, "evaluation clips")
    gallery = Gallery(theirs)
    by_listing: dict[str, list[Overlap]] = {path: [] for path, _ in clips}
    by_reason: Counter[str] = Counter()
    ours = _fingerprints([clip for _, clip in clips], "training clips")
    compared = zip(clips, ours, strict=True)
    for (path, clip), print_ in track(compared, "comparing", total=len(clips)):
        found = gallery.scores(print_)
        best = int(found.argmax())
        named = [i for i in stems[_stem(clip)] if not (found[i] > float("-inf"))]
        if clip.recording in recordings:
            reason, other = "recording", recordings[clip.recording]
        elif found[best] >= SAME:
            reason, other = "sound", held_out[best]
        elif named:
            reason, other = "name", held_out[named[0]]
        else:
            continue
        by_reason[reason] += 1
        by_listing[path].append(Overlap(clip.name, f"{reason}: {other.name}"))
    silent = sum(not one.usable for one in (*ours, *theirs))
    return Overlaps(len(clips), by_listing, by_reason, silent)


def _fingerprints(clips: Sequence[Clip], what: str) -> list[Fingerprint]:
    """Of every clip, in threads; one without bits where the file cannot be read."""

    def made(clip: Clip) -> Fingerprint | AudioError:
        try:
            return fingerprint(Recording(clip.path, clip.member).source())
        except AudioError as error:
            return error

    empty = of_samples(np.zeros(0, np.float32))
    found: list[Fingerprint] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        results: Iterable[Fingerprint | AudioError] = pool.map(made, clips)
        for result in track(results, f"fingerprints of {what}", total=len(clips)):
            if isinstance(result, AudioError):
                log.warning("not compared by sound: %s", result)
            found.append(empty if isinstance(result, AudioError) else result)
    return found


def _stem(clip: Clip) -> str:
    return Path(clip.name).stem.lower()
