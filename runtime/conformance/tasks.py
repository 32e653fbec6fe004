"""What a reader of bundles is asked, by task; docs/conformance.md describes the tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import audio, schema
from runtime.bundle import Bundle
from runtime.classifier import Classifier, Segment
from runtime.clips.policy import Policy
from runtime.conformance import wire
from runtime.encoder import Encoder
from runtime.errors import ClapError
from runtime.labels import LabelBank
from runtime.listening.events import Events, Rule
from runtime.listening.listener import Listener
from runtime.scores import Prediction
from runtime.tagger import Tagger
from runtime.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from typing import TypeAlias

    Input: TypeAlias = Mapping[str, Any]
    Outputs: TypeAlias = dict[str, Any]

KEPT = 4  # bundles that stay open


@dataclass(frozen=True)
class Reader:
    """This runtime as a reader of one kit.

    Attributes:
        kit: its folder.
        provider: that runs the graphs.
    """

    kit: Path
    provider: str = "cpu"

    def answer(self, task: str, given: Input) -> Outputs:
        """The outputs of a task, by name: numbers, texts, lists and arrays.

        Raises:
            ClapError: what the runtime says of such input, or a task that is not known.
        """
        work = TASKS.get(task)
        if work is None:
            raise ClapError(f"the task '{task}' is not known: {', '.join(TASKS)} are.")
        return work(self, given)

    def path(self, name: str) -> Path:
        """A file or folder of the kit."""
        return self.kit / name

    def sound(self, given: Input) -> tuple[Any, int | None]:
        """What is heard: a path, or an array and its rate."""
        if "wav" in given:
            return self.path(given["wav"]), None
        return wire.to_array(given["samples"], self.kit), given["rate"]

    def encoder(self, given: Input) -> Encoder:
        """The encoders of a bundle under a policy; they stay open for the next question."""
        policy = json.dumps(given.get("policy"), sort_keys=True)
        return _encoder(self.path(given["bundle"]), policy, self.provider)

    def classifier(self, given: Input) -> Classifier:
        """A classifier of the labels, or of the bank."""
        bank = given.get("bank")
        return Classifier(
            self.encoder(given), given["labels"] if bank is None else self.path(bank),
            templates=given.get("template"), scores=given.get("scores"),
            threshold=given.get("threshold"), top_k=given.get("top_k"),
        )  # fmt: skip


@lru_cache(maxsize=KEPT)
def _encoder(folder: Path, policy: str, provider: str) -> Encoder:
    # One thread: sums of several may differ from run to run.
    return Encoder(folder, providers=(provider,), threads=1, windows=_policy(json.loads(policy)))


def _policy(given: object) -> Policy | str | None:
    if isinstance(given, dict):
        return schema.read(Policy, cast("dict[str, object]", given), "policy")
    return given  # pyright: ignore[reportReturnType] - the encoder says what is wrong with others


def _space(reader: Reader, given: Input) -> Outputs:
    bundle = Bundle(reader.path(given["bundle"]))
    manifest, spec = bundle.manifest, bundle.manifest.audio
    return {
        "space_id": manifest.space_id,
        "clip_space_id": manifest.policy.clip_space_id(manifest.space_id, spec),
        "sample_rate": spec.sample_rate,
        "window_samples": spec.window_samples,
        "hop_samples": spec.hop_samples,
        "embedding_dim": manifest.embedding_dim,
        "logit_scale": manifest.logit_scale,
    }


def _decode(reader: Reader, given: Input) -> Outputs:
    found = audio.read(reader.path(given["wav"]))
    return {"samples": found.samples, "rate": found.rate, "warning": found.warning}


def _resample(reader: Reader, given: Input) -> Outputs:
    samples = wire.to_array(given["samples"], reader.kit)
    return {"samples": audio.resample(samples, given["rate"], given["to"])}


def _windows(reader: Reader, given: Input) -> Outputs:
    encoder = reader.encoder(given)
    samples = wire.to_array(given["samples"], reader.kit)
    with encoder.clip(samples, encoder.manifest.audio.sample_rate) as clip:
        pieces = list(clip.pieces(encoder.batch_size))
    rows = [cast("NDArray[np.float32]", piece.rows) for piece in pieces]
    return {
        "windows": np.concatenate(rows),
        "starts": [start for piece in pieces for start in piece.starts],
        "ends": [end for piece in pieces for end in piece.ends],
    }


def _embed(reader: Reader, given: Input) -> Outputs:
    return {"embedding": reader.encoder(given).embed_audio(*reader.sound(given))[0]}


def _tokens(reader: Reader, given: Input) -> Outputs:
    bundle = Bundle(reader.path(given["bundle"]))
    text, _ = bundle.manifest.text_encoder
    return dict(TextTokenizer(bundle.read(text.tokenizer), text)(given["texts"]))


def _embed_text(reader: Reader, given: Input) -> Outputs:
    return {"embeddings": reader.encoder(given).embed_text(given["texts"])}


def _bank(reader: Reader, given: Input) -> Outputs:
    bank = LabelBank.load(reader.path(given["bank"]))
    bank.check_fits(Bundle(reader.path(given["bundle"])).manifest)
    found: Outputs = {
        "names": list(bank.names),
        "templates": list(bank.templates),
        "embeddings": np.array(bank.embeddings),
    }
    head = bank.head
    if head is not None:
        found |= {"scores": head.about.scores, "scales": head.scales, "biases": head.biases}
    return found


def _ranked(predictions: Sequence[Prediction]) -> Outputs:
    return {
        "labels": [found.label for found in predictions],
        "scores": [found.score for found in predictions],
        "similarities": [found.similarity for found in predictions],
    }


def _classify(reader: Reader, given: Input) -> Outputs:
    return _ranked(reader.classifier(given).predict(*reader.sound(given)))


def _timeline(reader: Reader, given: Input) -> Outputs:
    classifier = reader.classifier(given)
    segments = classifier.timeline(*reader.sound(given), hop=given.get("hop"))
    rows = [{found.label: found.score for found in segment.predictions} for segment in segments]
    return {
        "starts": [segment.start for segment in segments],
        "ends": [segment.end for segment in segments],
        "labels": list(classifier.labels),
        "scores": np.array([[row[n] for n in classifier.labels] for row in rows], np.float32),
    }


def segments_of(reader: Reader, given: Input) -> tuple[list[Segment], int]:
    """What a stream's chunks are heard as, and how many windows its gate kept from the encoder."""
    classifier = reader.classifier(given)
    samples = wire.to_array(given["samples"], reader.kit)
    listener = Listener(classifier, given["rate"], hop=given["hop"], gate=given.get("gate"))
    gaps = {gap["before"]: gap["seconds"] for gap in given.get("gaps", ())}
    found: list[Segment] = []
    at = 0
    for number, size in enumerate(given["chunks"]):
        if number in gaps:
            found += listener.gap(gaps[number])
        found += listener.feed(samples[..., at : at + size])
        at += size
    return found + listener.flush(), listener.counts.silent


def events_of(segments: Sequence[Segment], given: Input) -> list[Outputs]:
    """The events in segments, in the order in which they end."""
    events = Events(
        Rule(**given["rule"]), smooth=given.get("smooth", 1),
        smoothing=given.get("smoothing", "median"),
    )  # fmt: skip
    found = [event for segment in segments for event in events.push(segment)] + events.finish()
    return [
        {"label": e.label, "start": e.start, "end": e.end, "peak": e.peak, "peak_at": e.peak_at}
        for e in found
        if e.phase == "ended"
    ]


def _listen(reader: Reader, given: Input) -> Outputs:
    segments, silent = segments_of(reader, given)
    return {"events": events_of(segments, given), "segments": len(segments), "silent": silent}


def _tagger(reader: Reader, given: Input) -> Outputs:
    tagger = Tagger(
        reader.path(given["tagger"]), providers=(reader.provider,), threads=1,
        top_k=given.get("top_k"),
    )  # fmt: skip
    with tagger:
        return _ranked(tagger.predict(*reader.sound(given)))


TASKS: dict[str, Callable[[Reader, Input], Outputs]] = {
    "space": _space,
    "decode": _decode,
    "resample": _resample,
    "windows": _windows,
    "embed": _embed,
    "tokens": _tokens,
    "embed_text": _embed_text,
    "bank": _bank,
    "classify": _classify,
    "timeline": _timeline,
    "listen": _listen,
    "tagger": _tagger,
}
