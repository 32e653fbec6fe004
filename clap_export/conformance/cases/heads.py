"""Heads, where banks are: labels whose scores were learned with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from clap_export.conformance import signals
from clap_export.conformance.archives import archive
from clap_export.conformance.cases import ranking
from clap_export.conformance.cases.clips import lengths
from clap_export.conformance.cases.ranking import NAMES
from clap_export.conformance.cases.words import asked
from clap_export.conformance.heads import KINDS, Kind, made, saturated
from clap_export.conformance.subject import Subject
from runtime import bank_file, schema
from runtime.head import digest
from runtime.labels import LabelBank


def banks(subject: Subject) -> None:
    """A head's file: what it holds, and what is no head."""
    for kind in KINDS:
        meta, arrays = _parts(made(subject, kind))
        asked(subject, f"head/{kind}", archive(meta, **arrays))
    asked(subject, "head/deflated", archive(meta, compressed=True, **arrays))
    unmeasured = {**meta, "head": {**meta["head"], "figures": None, "calibration": "none"}}
    asked(subject, "head/no-figures", archive(unmeasured, **arrays))
    for name, (said, given) in {**_wrong(meta, arrays), **_ill_said(meta, arrays)}.items():
        asked(subject, f"refused/head-{name}", archive(said, **given))


def scores(subject: Subject) -> None:
    """Recordings, looked for with heads: as a whole, and over time."""
    short = subject.sound(signals.scene(subject.rate, subject.window // 3, ("dog",)))
    long = subject.sound(signals.scene(subject.rate, lengths(subject)["long"], NAMES))
    for kind in KINDS:
        head, name = made(subject, kind), f"head-{kind}"
        ranking.asked(subject, f"{name}/short", short, head)
        ranking.asked(subject, f"{name}/long", long, head)
        ranking.asked(subject, f"{name}/own-scores", {**long, "scores": kind}, head)
        ranking.asked(subject, f"{name}/top-1", {**long, "top_k": 1}, head)
        ranking.bounded(subject, name, long, head)
        if not subject.fused:
            ranking.asked(subject, f"{name}/rare", {**long, "policy": "rare"}, head)
        _same_for_all(subject, kind, short, head)


def _same_for_all(subject: Subject, kind: Kind, sound: dict[str, Any], head: LabelBank) -> None:
    """What does not depend on how far the labels are apart."""
    file = subject.saved(f"head-{kind}", head)
    given = subject.given(**sound, bank=file)
    for other in ("cosine", *(other for other in KINDS if other != kind)):
        subject.draft.ask(f"classify/refused/head-{kind}-{other}", {**given, "scores": other})
    if kind == "multilabel":
        equal = subject.given(**sound, bank=subject.saved("head-equal", saturated(head)))
        limits = subject.limits.ranked(None, subject.rate, head.head)
        subject.draft.ask("classify/head-multilabel/equal", equal, limits, optional=subject.fused)
    given = subject.given(
        wav="wav/scene-stereo.wav", bank=file, hop=subject.window / subject.rate / 3
    )
    ranking.timed(subject, f"head-{kind}/third", given, head.head)


Parts = tuple[dict[str, Any], dict[str, Any]]  # what a head's `meta` says, and its other arrays


def _parts(bank: LabelBank) -> Parts:
    head = bank.head
    assert head is not None
    meta = bank_file.HeadMeta(
        bank_file.HEAD_FORMAT, bank_file.FORMAT_VERSION, bank.space_id, bank.names, head.about
    )
    arrays = {"embeddings": np.array(bank.embeddings), "scales": head.scales, "biases": head.biases}
    return schema.to_plain(meta), arrays


def _saying(meta: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**meta, "head": {**meta["head"], **changes}}


def _wrong(meta: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Parts]:
    """Files with wrong arrays."""

    def signed(**changes: Any) -> Parts:
        """Other numbers, with their hash."""
        given = {**arrays, **changes}
        return _saying(meta, sha256=digest(*given.values())), given

    def without(name: str) -> Parts:
        return meta, {key: value for key, value in arrays.items() if key != name}

    scales, biases = arrays["scales"], arrays["biases"]
    return {
        "altered-scale": (meta, {**arrays, "scales": scales * np.float32(1.01)}),
        "altered-bias": (meta, {**arrays, "biases": biases + np.float32(0.01)}),
        "no-scales": without("scales"),
        "no-biases": without("biases"),
        "no-embeddings": without("embeddings"),
        "neither": (meta, {"embeddings": arrays["embeddings"]}),
        "unknown-array": (meta, {**arrays, "colours": scales}),
        "fewer-scales": signed(scales=scales[1:]),
        "no-numbers": signed(biases=biases[:0]),
        "scales-of-two-axes": signed(scales=scales[None]),
        "biases-of-float64": (meta, {**arrays, "biases": biases.astype(np.float64)}),
        "scale-below-zero": signed(scales=-scales),
        "scale-infinite": signed(scales=scales * np.float32(np.inf)),
        "bias-not-a-number": signed(biases=biases * np.float32(np.nan)),
        "not-of-unit-norm": signed(embeddings=arrays["embeddings"] * np.float32(1.5)),
        "bias-and-scale": signed(scales=-scales, biases=biases[1:]),
    }


def _ill_said(meta: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Parts]:
    """Files that say something wrong of themselves."""
    plain = {
        "format": bank_file.FORMAT, "format_version": bank_file.FORMAT_VERSION,
        "space_id": meta["space_id"], "names": meta["names"], "templates": [],
    }  # fmt: skip
    counts, figures = meta["head"]["of_labels"], meta["head"]["figures"]
    said = {
        "meta-of-a-bank": plain,
        "other-space": {**meta, "space_id": "another"},
        "other-version": {**meta, "format_version": 2},
        "names-twice": {**meta, "names": [meta["names"][0]] * len(counts)},
        "head-of-null": {**meta, "head": None},
        "missing-keys": {**meta, "head": {"scores": "softmax"}},
        "unknown-key": _saying(meta, colour="red"),
        "scores-cosine": _saying(meta, scores="cosine"),
        "calibration-by-eye": _saying(meta, calibration="by eye"),
        "penalty-below-zero": _saying(meta, penalty=-1.0),
        "penalty-of-a-text": _saying(meta, penalty="10"),
        "recordings-of-half": _saying(meta, recordings=3.5),
        "count-too-large": _saying(meta, of_labels=[1 << 60, *counts[1:]]),
        "fewer-counts": _saying(meta, of_labels=counts[1:]),
        "fewer-figures": _saying(meta, figures={**figures, "of_labels": [0.5]}),
        "accuracy-above-one": _saying(meta, figures={**figures, "accuracy": 1.5}),
        "one-fold": _saying(meta, figures={**figures, "folds": 1}),
        "figures-of-a-list": _saying(meta, figures=[1]),
        "tool-of-a-number": _saying(meta, tools={"clap-export": 1}),
        "hash-too-long": _saying(meta, sha256="0" * 65),
    }
    return {name: (document, arrays) for name, document in said.items()}
