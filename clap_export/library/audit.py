"""Which labels of recordings look wrong: by their neighbours, and by groups that vectors form."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export import figure
from clap_export.library.item import Key
from clap_export.timelines.marks import cell
from runtime import files
from runtime.errors import ClapError

NEIGHBOURS = 10
MOST = 20_000  # recordings that are compared with each other
ROUNDS = 25  # of moving the centres of clusters
COPY = 0.9999  # cosine from which a neighbour is taken for a copy, which proves nothing
NAMED = 20  # labels with a colour of their own
MARKED = 200  # suspects with a ring


@dataclass(frozen=True, eq=False)
class Audit:
    """Recordings with a label each.

    Attributes:
        keys: path and member.
        labels: of each.
        agree: share of its neighbours with its label, ``[n]``.
        rather: the label that most of its neighbours have; its own where none has more.
        closeness: mean cosine to its neighbours, ``[n]``: outliers have a low one.
        cluster: number of the group that its vector is in, ``[n]``.
        information: what clusters say of labels and labels of clusters: 0 nothing, 1 all
            (normalised mutual information).
        vectors: float32 ``[n, dim]``.
    """

    keys: Sequence[Key]
    labels: Sequence[str]
    agree: NDArray[np.float64]
    rather: Sequence[str]
    closeness: NDArray[np.float64]
    cluster: NDArray[np.int64]
    information: float
    vectors: NDArray[np.float32]

    @property
    def order(self) -> list[int]:
        """Recordings, the most suspicious first."""
        order: list[int] = np.lexsort((self.closeness, self.agree)).tolist()
        return order

    @property
    def suspects(self) -> list[int]:
        """Recordings of which more neighbours have one other label, most suspicious first; none
        that has its label alone, with which no neighbour can agree."""
        counts = Counter(self.labels)
        return [
            i for i in self.order if self.rather[i] != self.labels[i] and counts[self.labels[i]] > 1
        ]


def audit(keys: Sequence[Key], labels: Sequence[str], vectors: NDArray[np.float32]) -> Audit:
    """Look at labels of recordings.

    Args:
        keys: path and member of each; of more than ``MOST``, so many are drawn.
        labels: of each.
        vectors: float32 ``[n, dim]`` of unit norm.

    Raises:
        ClapError: fewer than three recordings.
    """
    if len(keys) < 3:
        raise ClapError(f"{len(keys)} labelled recordings are too few for an audit: give more.")
    if len(keys) > MOST:
        chosen = np.sort(np.random.default_rng(0).choice(len(keys), MOST, replace=False))
        places: list[int] = chosen.tolist()
        keys, labels = [keys[i] for i in places], [labels[i] for i in places]
        vectors = vectors[chosen]
    names, numbers = np.unique(labels, return_inverse=True)
    near, cosines = _neighbours(vectors)
    votes = np.stack([(numbers[near] == i).sum(axis=1) for i in range(len(names))], axis=1)
    own = votes[np.arange(len(labels)), numbers]
    # Of equal counts its own label wins.
    rather = np.where(votes.max(axis=1) > own, votes.argmax(axis=1), numbers)
    cluster = clusters(vectors, len(names))
    return Audit(
        list(keys), list(labels), own / near.shape[1], names[rather].tolist(),
        cosines.mean(axis=1), cluster, _information(numbers, cluster), vectors,
    )  # fmt: skip


def clusters(vectors: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Groups of unit vectors, by k-means on the sphere from centres that are far apart.

    Args:
        vectors: ``[n, dim]``.
        count: of groups, at most.

    Returns:
        the group of each, int64 ``[n]``.
    """
    first = int((vectors @ vectors.mean(axis=0)).argmin())
    centres = [vectors[first]]
    nearest = vectors @ centres[0]
    for _ in range(min(count, len(vectors)) - 1):
        centres.append(vectors[int(nearest.argmin())])
        nearest = np.maximum(nearest, vectors @ centres[-1])
    means = np.stack(centres)
    group = (vectors @ means.T).argmax(axis=1)
    for _ in range(ROUNDS):
        sums = np.zeros_like(means)
        np.add.at(sums, group, vectors)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        means = np.where(norms > 0, sums / np.maximum(norms, 1e-12), means)
        again = (vectors @ means.T).argmax(axis=1)
        if (again == group).all():
            break
        group = again
    return group.astype(np.int64)


def write(found: Audit, path: Path, *, overwrite: bool) -> None:
    """Write a row for each recording, the most suspicious first, for spreadsheets too.

    Raises:
        ClapError: the file exists, or cannot be written.
    """
    with (
        files.writing(path, overwrite=overwrite) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("path", "member", "label", "rather", "agree", "closeness", "cluster"))
        for i in found.order:
            where, member = found.keys[i]
            rows.writerow((
                cell(where), cell(member or ""), cell(found.labels[i]), cell(found.rather[i]),
                f"{found.agree[i]:.3f}", f"{found.closeness[i]:.4f}", found.cluster[i],
            ))  # fmt: skip


def draw(found: Audit, path: Path, projection: str, *, overwrite: bool) -> None:
    """Draw the vectors in a plane, coloured by label, with rings around suspects.

    Args:
        found: what to draw.
        path: whose ending chooses PNG, SVG or PDF.
        projection: ``pca``, or ``umap``.
        overwrite: replace a file that is there.

    Raises:
        ClapError: matplotlib or UMAP is not installed, or the file cannot be written.
    """
    places = plane(found.vectors, projection)
    picture = figure.new(9, 7)
    axes = picture.add_subplot()
    names, counts = np.unique(found.labels, return_counts=True)
    own = names[np.argsort(-counts, kind="stable")][:NAMED]
    labels = np.array(found.labels)
    rest = ~np.isin(labels, own)
    if rest.any():
        axes.scatter(*places[rest].T, s=8, color="0.7", label="other labels", linewidths=0)
    colours: Any = [f"C{i}" for i in range(10)]
    for i, name in enumerate(own):
        marker = "o" if i < len(colours) else "^"
        some = places[labels == name]
        colour = colours[i % len(colours)]
        shown = _plain(str(name))
        axes.scatter(*some.T, s=10, color=colour, marker=marker, label=shown, linewidths=0)
    suspects = places[found.suspects[:MARKED]]
    if len(suspects):
        axes.scatter(
            *suspects.T, s=60, facecolors="none", edgecolors="black", linewidths=0.8,
            label="neighbours say otherwise",
        )  # fmt: skip
    axes.set(xticks=[], yticks=[], title=f"{len(labels):,} recordings ({projection.upper()})")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.save(picture, path, overwrite=overwrite)


def plane(vectors: NDArray[np.float32], projection: str) -> NDArray[np.float64]:
    """Vectors as points ``[n, 2]``.

    Raises:
        ClapError: UMAP is asked for, and not installed.
    """
    if projection == "umap":
        try:
            import umap  # type: ignore[import-not-found]
        except ImportError as error:
            raise ClapError(
                f"--projection umap needs UMAP, which cannot be imported ({error}). Install it: "
                "pip install umap-learn; or choose pca."
            ) from error
        return umap.UMAP(metric="cosine", random_state=0).fit_transform(vectors)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return centred @ axes[:, :-3:-1]


def _plain(name: str) -> str:
    """A name that is no formula to matplotlib, nor hidden from its legend."""
    return name.replace("$", r"\$").removeprefix("_") or "_"


def _neighbours(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest others of each, and their cosines, ``[n, k]``; copies of it come last."""
    count = min(NEIGHBOURS, len(vectors) - 1)
    near = np.empty((len(vectors), count), np.int64)
    cosines = np.empty((len(vectors), count))
    for start in range(0, len(vectors), 1024):
        some = vectors[start : start + 1024] @ vectors.T
        true = some.copy()
        some[some >= COPY] -= 3
        some[np.arange(len(some)), np.arange(start, start + len(some))] = -9
        found = np.argpartition(-some, count - 1, axis=1)[:, :count]
        near[start : start + len(some)] = found
        cosines[start : start + len(some)] = np.take_along_axis(true, found, axis=1)
    return near, cosines


def _information(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Normalised mutual information of two divisions, by the mean of their entropies."""
    joint = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(joint, (one, other), 1 / len(one))
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    there = joint > 0
    mutual = (joint[there] * np.log((joint / np.outer(rows, columns).clip(1e-300))[there])).sum()
    entropies = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (rows, columns)]
    return float(2 * mutual / sum(entropies)) if sum(entropies) > 0 else 1.0
