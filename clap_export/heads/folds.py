"""Recordings in parts that are left out in turn, groups kept together and labels spread evenly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clap_export.heads.examples import Examples

MOST = 5  # parts


def split(examples: Examples) -> NDArray[np.int64] | None:
    """The part of each recording, int64 ``[n]``; None where a label has one group alone.

    Groups with the rarest labels are placed first, and of these the largest, each where its labels
    are least. The same examples are always split in the same way.
    """
    right, groups = examples.right, examples.groups
    numbers, which = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(numbers), right.shape[1]), np.int64)
    np.add.at(counts, which, right)
    parts = min(MOST, int((counts > 0).sum(axis=0).min()))
    if parts < 2:
        return None
    # A part without a rare label measures nothing of it.
    spread = np.where(counts > 0, (counts > 0).sum(axis=0), len(numbers) + 1).min(axis=1)
    shares = counts / counts.sum(axis=0)
    held = np.zeros((parts, right.shape[1]))
    of_group = np.zeros(len(numbers), np.int64)
    for group in np.lexsort((-counts.sum(axis=1), spread)):
        # What the sum of squares grows by, which is least where all parts have the same.
        place = int(np.round(held @ shares[group], 9).argmin())
        of_group[group] = place
        held[place] += shares[group]
    return of_group[which]
