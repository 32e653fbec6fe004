"""Recordings in parts that are left out in turn, groups kept together and labels spread evenly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clap_export.heads.examples import Examples

MOST = 5  # parts


def split(examples: Examples) -> NDArray[np.int64] | None:
    """The part of each recording, int64 ``[n]``; None where a label has one group alone.

    The largest groups are placed first, each where the rarest of its labels is least. The same
    examples are always split in the same way.
    """
    right, groups = examples.right, examples.groups
    numbers, which = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(numbers), right.shape[1]), np.int64)
    np.add.at(counts, which, right)
    parts = min(MOST, int((counts > 0).sum(axis=0).min()))
    if parts < 2:
        return None
    sizes = counts.sum(axis=1)
    # Labels with few groups first: a part without one of them teaches nothing of it.
    rarest = np.where(counts > 0, (counts > 0).sum(axis=0), len(numbers) + 1).argmin(axis=1)
    scarce = (counts > 0).sum(axis=0)[rarest]
    held = np.zeros((parts, right.shape[1]), np.int64)
    of_group = np.zeros(len(numbers), np.int64)
    for group in np.lexsort((-sizes, scarce)):
        place = np.lexsort((held.sum(axis=1), held[:, rarest[group]]))[0]
        of_group[group] = place
        held[place] += counts[group]
    return of_group[which]
