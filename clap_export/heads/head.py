"""A head, from labelled vectors: its penalty chosen, its scores calibrated, its figures measured on
recordings that were left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clap_export import __version__
from clap_export.heads import calibrate, folds
from clap_export.heads.examples import Examples
from clap_export.heads.fit import Linear, fit
from clap_export.metrics import average_precision
from runtime.head import MOST_NAME, About, Figures, Head, digest
from runtime.labels import LabelBank
from runtime.library.description import Description
from runtime.plain_text import printable

PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # that are tried
UNTRIED = 10.0  # where there are too few recordings to leave any out
Calibration = Literal["temperature", "platt", "none"]


@dataclass(frozen=True, eq=False)
class Learned:
    """A fit with its correction.

    Attributes:
        plain: as it was fitted.
        linear: corrected.
        penalty: that was chosen.
        calibration: kind of the correction.
    """

    plain: Linear
    linear: Linear
    penalty: float
    calibration: Calibration


def make(
    examples: Examples, said: Description, several: bool, progress: Callable[[str], None]
) -> LabelBank:
    """Fit a head.

    Args:
        examples: labelled vectors.
        said: of the library that they are of.
        several: each label is there or not; else a recording has one of them.
        progress: is told how far it is.

    Raises:
        ClapError: scikit-learn is not installed.
    """
    progress("fitting")
    learned = learn(examples, several)
    figures = measured(examples, several, progress)
    embeddings, scales = directions(learned.linear.weights)
    biases = learned.linear.biases.astype(np.float32)
    for values in (embeddings, scales, biases):
        values.setflags(write=False)
    about = About(
        "multilabel" if several else "softmax", said.clip_space_id, len(examples.vectors),
        tuple(examples.right.sum(axis=0).tolist()), learned.penalty, learned.calibration, figures,
        _tools(), digest(embeddings, scales, biases),
    )  # fmt: skip
    head = Head(scales, biases, about)
    return LabelBank(examples.names, (), embeddings, said.space_id, head=head)


def learn(examples: Examples, several: bool) -> Learned:
    """Fit with the penalty that does best on recordings that are left out in turn, and correct the
    logits by what they were for these.

    Args:
        examples: labelled vectors.
        several: see :func:`make`.
    """
    parts = folds.split(examples)
    vectors, right = examples.vectors, examples.right
    if parts is None:
        plain = fit(vectors, right, several, UNTRIED)
        return Learned(plain, plain, UNTRIED, "none")
    left_out = {penalty: _left_out(examples, parts, several, penalty) for penalty in PENALTIES}
    corrections = {p: _correction(logits, right, several) for p, logits in left_out.items()}

    def loss(penalty: float) -> float:
        scales, shifts = corrections[penalty]
        return calibrate.log_loss(left_out[penalty] * scales + shifts, right, several)

    best = min(PENALTIES, key=loss)
    plain = fit(vectors, right, several, best)
    kind: Calibration = "platt" if several else "temperature"
    return Learned(plain, plain.corrected(*corrections[best]), best, kind)


def measured(
    examples: Examples, several: bool, progress: Callable[[str], None] = lambda _: None
) -> Figures | None:
    """What heads give to recordings that they have not seen in any way: of each part that is left
    out, by a head whose penalty and calibration come from the others too.

    Args:
        examples: labelled vectors.
        several: see :func:`make`.
        progress: is told how far it is.

    Returns:
        None where a label has one group alone.
    """
    parts = folds.split(examples)
    if parts is None:
        return None
    right = examples.right
    plain, logits = np.zeros(right.shape), np.zeros(right.shape)
    count = int(parts.max()) + 1
    for part in range(count):
        progress(f"measuring, part {part + 1} of {count}")
        out = parts == part
        learned = learn(examples.only(np.flatnonzero(~out)), several)
        plain[out] = learned.plain.logits(examples.vectors[out])
        logits[out] = learned.linear.logits(examples.vectors[out])
    scores = calibrate.probabilities(logits, several)
    best = logits.argmax(axis=1)
    hits = right[np.arange(len(right)), best]
    # Rounding may take a sum of shares a little above 1.
    of_labels = tuple(
        min(1.0, average_precision(scores[:, i], right[:, i])) for i in range(right.shape[1])
    )
    error = (
        calibrate.error(scores.ravel(), right.ravel())
        if several
        else calibrate.error(scores.max(axis=1), hits)
    )
    return Figures(
        count, printable(examples.grouped_by)[:MOST_NAME], float(hits.mean()),
        float(np.mean(of_labels)), of_labels,
        calibrate.log_loss(logits, right, several), calibrate.log_loss(plain, right, several),
        error,
    )  # fmt: skip


def directions(
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights ``[labels, dim]`` as unit vectors, and their norms ``[labels]``."""
    norms = np.linalg.norm(weights, axis=1)
    none = norms == 0  # of a label that says nothing any direction will do
    units = weights / np.where(none, 1, norms)[:, np.newaxis]
    units[none, 0] = 1
    return units.astype(np.float32), norms.astype(np.float32)


def _left_out(
    examples: Examples, parts: NDArray[np.int64], several: bool, penalty: float
) -> NDArray[np.float64]:
    """Logits ``[n, labels]`` of each recording by a fit without its part."""
    logits = np.zeros(examples.right.shape)
    for part in range(int(parts.max()) + 1):
        out = parts == part
        some = fit(examples.vectors[~out], examples.right[~out], several, penalty)
        logits[out] = some.logits(examples.vectors[out])
    return logits


def _correction(
    logits: NDArray[np.float64], right: NDArray[np.bool_], several: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales and shifts, one for each label."""
    if several:
        return calibrate.platt(logits, right)
    labels = logits.shape[1]
    return np.full(labels, calibrate.temperature(logits, right)), np.zeros(labels)


def _tools() -> dict[str, str]:
    from sklearn import __version__ as sklearn

    return {"clap-export": __version__, "scikit-learn": sklearn, "numpy": np.__version__}
