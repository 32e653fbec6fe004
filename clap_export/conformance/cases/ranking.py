"""``classify`` and ``timeline``: recordings and labels to scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from clap_export.conformance import signals, wavs
from clap_export.conformance.cases.clips import lengths, policies
from clap_export.conformance.cases.sounds import KINDS
from clap_export.conformance.kit import absolute
from clap_export.conformance.limits import SECONDS
from clap_export.conformance.subject import Subject, part, rate_of
from runtime.head import Head
from runtime.labels import LabelBank

NAMES = ("dog", "siren", "rain", "church bells")


def classify(subject: Subject) -> None:
    """Whole recordings, with every kind of scores and bounds."""
    clips = {
        "short": signals.scene(subject.rate, subject.window // 3, ("dog",)),
        "long": signals.scene(subject.rate, lengths(subject)["long"], NAMES),
    }
    for name, clip in clips.items():
        sound = subject.sound(clip)
        for mode in subject.modes:
            asked(subject, f"{mode}/{name}", {**sound, "scores": mode})
        if "multilabel" not in subject.modes:
            bank = subject.saved("plain-labels", subject.bank)
            given = subject.given(**sound, bank=bank, scores="multilabel")
            subject.draft.ask(f"classify/multilabel/{name}", given)
    sound = subject.sound(clips["long"])
    for top_k in (1, 2, 1000):
        asked(subject, f"top-{top_k}", {**sound, "top_k": top_k})
    for mode in subject.modes:
        bounded(subject, mode, {**sound, "scores": mode})
    wanted = ("rare", "loudest", "back-to-back", "spaced:5", "fine-hop", "filled")
    for name, policy in policies(subject).items():
        if name in wanted:
            asked(subject, f"policy/{name}", {**sound, "policy": policy})
    if not subject.fused:
        asked(subject, "policy/rare-cosine", {**sound, "policy": "rare", "scores": "cosine"})
    _file(subject)
    _ties(subject, sound)
    _names(subject, sound)
    _refused(subject, subject.sound(clips["short"]))


def asked(subject: Subject, name: str, given: dict[str, Any], of: LabelBank | None = None) -> None:
    """With labels whose order is beyond doubt.

    Args:
        subject: that is asked.
        name: of the case, behind its task.
        given: its input without bundle and labels.
        of: the labels, or a head; default those of the subject.
    """
    whole = subject.given(**given)
    bank = subject.apart(whole, of=of)
    path = subject.saved(f"classify-{name.replace('/', '-').replace(':', '-')}", bank)
    limits = subject.limits.ranked(given.get("scores"), rate_of(given), bank.head)
    optional = subject.fused and "policy" not in given
    subject.draft.ask(f"classify/{name}", {**whole, "bank": path}, limits, optional=optional)


def bounded(
    subject: Subject, kind: str, given: dict[str, Any], of: LabelBank | None = None
) -> None:
    """A threshold in the middle of the widest gap, and one above all scores; see :func:`asked`."""
    bank = subject.apart(subject.given(**given), of=of)
    path = subject.saved(f"threshold-{kind}", bank)
    whole = subject.given(**given, bank=path)
    scores = np.array(subject.draft.reader.answer("classify", whole)["scores"])
    at = int(np.argmin(np.diff(scores)))
    limits = subject.limits.ranked(given.get("scores"), subject.rate, bank.head)
    for name, threshold in (
        ("some", float(scores[at] + scores[at + 1]) / 2),
        ("none-of-these", float(scores[0]) + 0.25),
    ):
        more = {**whole, "threshold": threshold}
        subject.draft.ask(f"classify/{kind}/{name}", more, limits, optional=subject.fused)


def _file(subject: Subject) -> None:
    count = round(lengths(subject)["long"] * 44_100 / subject.rate)
    clip = signals.scene(44_100, count, NAMES)
    data = wavs.wav(np.stack([clip, 0.5 * clip[::-1]]), 44_100, KINDS["24-bit"])
    file = subject.draft.file("wav/scene-stereo.wav", data)
    for mode in subject.modes:
        asked(subject, f"file/{mode}", {"wav": file, "scores": mode})


def _ties(subject: Subject, sound: dict[str, Any]) -> None:
    """Labels of the same embedding: they come in the bank's order."""
    bank = part(subject.bank, subject.apart(subject.given(**sound)).names[:3])
    rows = np.concatenate([bank.embeddings, bank.embeddings[::-1]])
    names = (*bank.names, *(f"again {name}" for name in bank.names[::-1]))
    path = subject.saved("ties", LabelBank(names, bank.templates, rows, bank.space_id))
    for mode in subject.modes:
        asked = subject.given(**sound, bank=path, scores=mode)
        limits = subject.limits.ranked(mode, subject.rate)
        subject.draft.ask(f"classify/ties/{mode}", asked, limits, optional=subject.fused)


def _names(subject: Subject, sound: dict[str, Any]) -> None:
    """Names that go through the text encoder, with and without a template."""
    if not subject.has_text:
        return
    bank = subject.apart(subject.given(**sound))
    limits = subject.limits.ranked("softmax", subject.rate)
    asked = subject.given(**sound, labels=list(bank.names))
    fused = subject.fused
    subject.draft.ask("classify/names/default-template", asked, limits, optional=fused)
    other = {**asked, "template": "a {} nearby", "labels": list(bank.names[:2])}
    subject.draft.ask("classify/names/own-template", other, limits, optional=fused)


def _refused(subject: Subject, sound: dict[str, Any]) -> None:
    bank = subject.saved("plain-labels", subject.bank)
    good = subject.given(**sound, bank=bank)
    cases: dict[str, dict[str, Any]] = {
        "top-0": {**good, "top_k": 0},
        "unknown-scores": {**good, "scores": "percent"},
        "template-for-a-bank": {**good, "template": "a {}"},
    }
    if subject.has_text:
        words = subject.given(**sound)
        cases |= {
            "no-labels": {**words, "labels": []},
            "labels-twice": {**words, "labels": ["rain", "rain"]},
            "blank-label": {**words, "labels": ["rain", " "]},
            "control-in-a-label": {**words, "labels": ["rain", "b\x07ell"]},
            "template-without-a-place": {**words, "labels": ["rain"], "template": "a sound"},
            "template-with-two-places": {**words, "labels": ["rain"], "template": "{} {}"},
            "label-too-long": {**words, "labels": ["r" * 1001]},
        }
    for name, given in cases.items():
        subject.draft.ask(f"classify/refused/{name}", given)


def timeline(subject: Subject) -> None:
    """Each window's scores."""
    window = subject.window / subject.rate
    clips = {
        "long": signals.scene(subject.rate, lengths(subject)["long"], NAMES),
        "short": signals.scene(subject.rate, subject.window // 3, ("dog",)),
        "one-window": signals.scene(subject.rate, subject.window, ("rain",)),
    }
    bank = subject.saved("plain-labels", subject.bank)
    hops = {"own-hop": None, "third": window / 3, "odd": window * 0.371, "wide": window * 1.6}
    for name, clip in clips.items():
        for hop_name, hop in hops.items() if name == "long" else [("third", window / 3)]:
            given = subject.given(**subject.sound(clip), bank=bank, hop=hop)
            timed(subject, f"{name}/{hop_name}", given)
    for mode in subject.modes[1:]:
        given = subject.given(**subject.sound(clips["long"]), bank=bank, scores=mode)
        timed(subject, f"{mode}/long", given)
    given = subject.given(wav="wav/scene-stereo.wav", bank=bank, hop=window / 2)
    timed(subject, "file/half", given)
    good = subject.given(**subject.sound(clips["short"]), bank=bank)
    for name, hop in (("negative-hop", -0.5), ("hop-below-a-sample", 1e-9)):
        subject.draft.ask(f"timeline/refused/{name}", {**good, "hop": hop})


def timed(subject: Subject, name: str, given: dict[str, Any], head: Head | None = None) -> None:
    """A recording over time.

    Args:
        subject: that is asked.
        name: of the case, behind its task.
        given: its input, with a bank.
        head: of the bank, if it has one.
    """
    score = subject.limits.score(given.get("scores"), rate_of(given), head)
    limits = {"starts": absolute(SECONDS), "ends": absolute(SECONDS), "scores": absolute(score)}
    subject.draft.ask(f"timeline/{name}", given, limits)
