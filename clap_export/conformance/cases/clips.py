"""``space``, ``windows`` and ``embed``: from a recording to its windows and its embedding."""

from __future__ import annotations

import numpy as np

from clap_export.conformance import signals, wavs
from clap_export.conformance.cases.sounds import KINDS, RATES
from clap_export.conformance.kit import Tolerance
from clap_export.conformance.subject import BUNDLE, Subject
from runtime.clips.policy import PRESETS, Policy
from runtime.schema import to_plain

INTRO_SECONDS = 45  # that the policy ``past_intro`` leaves out of longer recordings


def lengths(subject: Subject) -> dict[str, int]:
    """Samples of clips around the places where something changes."""
    window, hop = subject.window, subject.manifest.audio.hop_samples
    return {
        "one-sample": 1,
        "a-third": window // 3,
        "window-less-one": window - 1,
        "window": window,
        "window-and-one": window + 1,
        "two-hops": 2 * hop,
        "long": window * 37 // 10,
    }


def policies(subject: Subject) -> dict[str, object]:
    """The presets, and policies of all parts; with their names."""
    window = subject.window / subject.rate
    own = {
        "fine-hop": Policy("fine", hop=window / 3.3),
        "long-hop": Policy("long", hop=window * 1.2),
        "filled": Policy("filled", hop=window * 0.8, tail="filled"),
        "dropped": Policy("dropped", hop=window * 0.6, tail="dropped"),
        "middle-of-4": Policy("m", "middle", 4, hop=window / 2),
        "head-of-9": Policy("h", "head", 9, tail="filled"),
        "head-aligned": Policy("h", "head", 3, hop=window / 4),
        "spaced-one": Policy("s", "spaced", 1),
        "raw-mean": Policy("r", hop=window / 2, pooling="raw_mean"),
        "energy": Policy("e", hop=window / 2, pooling="energy"),
    }
    names = [*PRESETS, "spaced:5", "head:2", "middle:2"]
    return {**{n: n for n in names}, **{n: to_plain(policy) for n, policy in own.items()}}


def space(subject: Subject) -> None:
    """What a bundle says of itself."""
    scale = Tolerance("absolute", 1e-6 * subject.manifest.logit_scale)
    subject.draft.ask("space/bundle", {"bundle": BUNDLE}, {"logit_scale": scale})


def windows(subject: Subject) -> None:
    """Where a recording is cut, by length and policy."""
    if subject.fused:
        return
    for name, n in lengths(subject).items():
        sound = subject.draft.array(signals.white(n, n))
        for policy in ["default"] if name != "a-third" else ["default", "head", "spaced"]:
            given = subject.given(samples=sound, policy=None if policy == "default" else policy)
            subject.draft.ask(f"windows/{policy}/{name}", given)
    long = subject.draft.array(signals.white(5, lengths(subject)["long"]))
    for name, policy in policies(subject).items():
        pooled = isinstance(policy, dict) and policy["pooling"] != "mean"
        if not pooled and name not in ("loudest", "rare"):
            subject.draft.ask(f"windows/{name}/long", subject.given(samples=long, policy=policy))
    count = INTRO_SECONDS * subject.rate + subject.window * 26 // 10
    song = subject.draft.array((32_767 * signals.white(9, count)).astype(np.int16))
    given = subject.given(samples=song, policy="past-intro:3")
    subject.draft.ask("windows/past-intro/song", given)


def embed(subject: Subject) -> None:
    """Embeddings of clips of awkward lengths, of files, and under each policy."""
    draft, rate = subject.draft, subject.rate
    same = {"embedding": Tolerance("cosine", subject.limits.audio(rate))}
    for name, n in lengths(subject).items():
        clip = signals.scene(rate, n, ("dog", "siren", "rain")) if n > 1 else np.full(1, 0.25)
        given = subject.given(**subject.sound(clip.astype(np.float32)))
        draft.ask(f"embed/default/{name}", given, same, optional=subject.fused)
    names = ("dog", "rain", "church bells", "siren")
    long = subject.sound(signals.scene(rate, lengths(subject)["long"], names))
    for name, policy in policies(subject).items():
        if name != "rare":
            draft.ask(f"embed/{name}/long", subject.given(**long, policy=policy), same)
    samples = (32_768 * signals.scene(rate, subject.window // 2, names)).astype(np.int16)
    draft.ask("embed/int16/half", subject.given(**subject.sound(samples)), same)
    draft.ask("embed/int16/stereo", subject.given(
        **subject.sound(np.stack([samples, samples[::-1]]))), same)  # fmt: skip
    for own in RATES:
        if own != rate:
            count = round(subject.window * 1.3 * own / rate)
            clip = signals.banded(own, count, own, 0.4 * min(own, rate))
            other = {"embedding": Tolerance("cosine", subject.limits.audio(own))}
            given = subject.given(**subject.sound(clip, own))
            draft.ask(f"embed/rate/{own}", given, other, optional=subject.fused)
    other = {"embedding": Tolerance("cosine", subject.limits.audio(44_100))}
    for name in ("16-bit", "24-bit", "float32"):
        count = round(subject.window * 0.7 * 44_100 / rate)
        clip = np.stack([signals.banded(i, count, 44_100, 0.4 * rate) for i in (1, 2)])
        file = draft.file(f"wav/embed-{name}.wav", wavs.wav(clip, 44_100, KINDS[name]))
        draft.ask(f"embed/file/{name}", subject.given(wav=file), other)
    for name in ("faithful", "faithful-middle"):
        given = subject.given(**long, policy=name)
        draft.ask(f"embed/{name}/long", given, same, optional=True)


def refused(subject: Subject) -> None:
    """Samples and policies that are none."""
    draft = subject.draft
    clip = signals.white(3, 1000)
    nan, loud = clip.copy(), clip * 1000
    nan[500:503] = np.nan
    good = subject.sound(clip)
    cases = {
        "no-samples": subject.sound(clip[:0]),
        "not-a-number": subject.sound(nan),
        "integers-as-floats": subject.sound(loud),
        "of-float64": subject.sound(loud.astype(np.float64)),
        "of-int64": subject.sound(np.arange(100)),
        "rate-too-low": subject.sound(clip, 44),
        "lost-in-resampling": subject.sound(clip[:1], 768_000),
        "too-many-channels": subject.sound(np.zeros((33, 40), np.float32)),
        "unknown-policy": {**good, "policy": "nearest"},
        "count-of-0": {**good, "policy": "spaced:0"},
        "count-of-all": {**good, "policy": "all:3"},
        "policy-max": {**good, "policy": "rare"},
        "fusion-policy": {**good, "policy": to_plain(Policy("f", "fusion"))},
        "ill-formed-policy": {**good, "policy": {"name": "x", "tail": "cut", "hopp": 1.5}},
        "policy-without-count": {**good, "policy": {"name": "x", "windows": "head"}},
        "file-missing": {"wav": "wav/not-there.wav"},
    }
    for name, given in cases.items():
        draft.ask(f"embed/refused/{name}", subject.given(**given))
    if not subject.fused:
        given = subject.given(samples=draft.array(clip[:0]))
        draft.ask("windows/refused/no-samples", given)
