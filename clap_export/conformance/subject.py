"""The bundle that a kit is made of, as its cases ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.conformance.draft import Draft
from clap_export.conformance.limits import Limits
from runtime.head import Head, digest
from runtime.labels import LabelBank
from runtime.manifest import Manifest

BUNDLE = "bundle"  # its folder in the kit
WITHOUT_TEXT = "without-text"  # the same without its text encoder, if it has one


@dataclass(frozen=True)
class Subject:
    """What cases need to know.

    Attributes:
        draft: the kit.
        manifest: of the bundle.
        bank: labels that scores are asked of, and their embeddings.
    """

    draft: Draft
    manifest: Manifest
    bank: LabelBank

    @property
    def rate(self) -> int:
        """The model's, in Hz."""
        return self.manifest.audio.sample_rate

    @property
    def window(self) -> int:
        """Samples of a window."""
        return self.manifest.audio.window_samples

    @property
    def fused(self) -> bool:
        """Whether the model has feature fusion, which other readers need not have."""
        return self.manifest.audio.long_clips == "fusion"

    @property
    def has_text(self) -> bool:
        """Whether the bundle can embed texts."""
        return self.manifest.text_graph is not None

    @property
    def limits(self) -> Limits:
        """How far answers may be off."""
        return Limits(self.manifest)

    @property
    def modes(self) -> list[str]:
        """Kinds of scores that the bundle can give."""
        calibrated = self.manifest.calibration is not None
        return ["softmax", "cosine", *(["multilabel"] if calibrated else [])]

    def given(self, **more: Any) -> dict[str, Any]:
        """An input that asks something of the bundle; None is left out."""
        return {"bundle": BUNDLE, **{k: value for k, value in more.items() if value is not None}}

    def sound(self, samples: NDArray[Any], rate: int | None = None) -> dict[str, Any]:
        """An input's sound, from an array; default at the model's rate."""
        return {"samples": self.draft.array(samples), "rate": rate or self.rate}

    def saved(self, name: str, bank: LabelBank) -> str:
        """A bank in the kit's folder of banks; returns its name."""
        (self.draft.folder / "banks").mkdir(exist_ok=True)
        path = f"banks/{name}.npz"
        bank.save(self.draft.folder / path, overwrite=True)
        return path

    def apart(self, *asked: Mapping[str, Any], of: LabelBank | None = None) -> LabelBank:
        """Labels of which the ranking of recordings is beyond doubt: none is so near to the next
        that another engine could have them the other way round. At least two stay.

        Args:
            asked: inputs of ``classify``, without labels.
            of: the labels, or a head; default those that scores are asked of.
        """
        bank = of or self.bank
        for given in asked:
            while len(bank) > 2 and (near := self._too_near(given, bank)) is not None:
                bank = part(bank, [name for name in bank.names if name != near])
        return bank

    def _too_near(self, given: Mapping[str, Any], bank: LabelBank) -> str | None:
        """A label whose score is too near to that of the one above it, if there is one."""
        path = self.saved("asked", bank)
        try:
            found = self.draft.reader.answer("classify", {**given, "bank": path, "top_k": None})
        finally:
            (self.draft.folder / path).unlink()
        gaps = np.abs(np.diff(self._as_cosines(found, part(bank, found["labels"]).head, given)))
        at = int(np.argmin(gaps))
        return (
            found["labels"][at + 1] if gaps[at] < 4 * self.limits.cosine(rate_of(given)) else None
        )

    def _as_cosines(
        self, found: Mapping[str, Any], head: Head | None, given: Mapping[str, Any]
    ) -> NDArray[np.float64]:
        """Scores of labels, best first, whose differences are at most those of cosines."""
        cosines = np.array(found["similarities"])
        scale = self.manifest.logit_scale if head is None else float(head.scales.max())
        if (given.get("scores", "softmax") if head is None else head.about.scores) == "softmax":
            return np.log(np.maximum(np.array(found["scores"]), 1e-300)) / scale
        return cosines if head is None else head.logits(cosines.astype(np.float32)) / scale


def part(bank: LabelBank, names: Sequence[str]) -> LabelBank:
    """Some labels of a bank or a head, in the order of the names."""
    rows = [bank.names.index(name) for name in names]
    embeddings = np.array(bank.embeddings[rows])
    head = bank.head
    if head is not None:
        scales, biases = head.scales[rows], head.biases[rows]
        counts = tuple(head.about.of_labels[row] for row in rows)
        sha256 = digest(embeddings, scales, biases)
        about = replace(head.about, of_labels=counts, figures=None, sha256=sha256)
        head = Head(scales, biases, about)
    return LabelBank(tuple(names), bank.templates, embeddings, bank.space_id, head=head)


def rate_of(given: Mapping[str, Any]) -> int | None:
    """The rate of an input's sound in Hz; None of a file, which has one of its own."""
    return given.get("rate")
