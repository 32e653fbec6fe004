"""``tagger``: the labels inside the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from clap_export.conformance import signals
from clap_export.conformance.cases.clips import lengths
from clap_export.conformance.heads import made
from clap_export.conformance.subject import BUNDLE, Subject
from clap_export.freeze.graph import freeze
from runtime.bundle import Bundle
from runtime.labels import LabelBank
from runtime.tagger_file import BIASES, KEY, LABELS, SCALES

NAMES = ("dog", "rain", "siren")


def tagger(subject: Subject) -> None:
    """Taggers of the bundle, asked for short and long recordings; and some that are damaged."""
    if subject.fused:
        return
    draft = subject.draft
    clip = signals.scene(subject.rate, lengths(subject)["long"], NAMES)
    count = round(len(clip) * 44_100 / subject.rate)
    sounds = {
        "short": subject.sound(signals.scene(subject.rate, subject.window // 3, ("dog",))),
        "long": subject.sound(clip),
        "44100": subject.sound(signals.scene(44_100, count, NAMES), 44_100),
    }
    for mode, top_k in (("softmax", None), (subject.modes[-1], 2)):
        _asked(subject, mode, sounds, mode, top_k)
    # One is enough: with a large model each is a large file.
    _asked(subject, "head", sounds, None, 2, made(subject, "multilabel"))
    few = {"tagger": "taggers/softmax.onnx", **sounds["short"], "top_k": 1}
    draft.ask("tagger/softmax/top-1", few, subject.limits.ranked("softmax", subject.rate))
    _damaged(subject, sounds["short"])
    _damaged_heads(subject, sounds["short"])


def _asked(
    subject: Subject, name: str, sounds: Mapping[str, dict[str, Any]], mode: str | None,
    top_k: int | None, of: LabelBank | None = None,
) -> None:  # fmt: skip
    """With labels, or a head, whose order is beyond doubt for all sounds."""
    draft = subject.draft
    wanted = {} if mode is None else {"scores": mode}
    bank = subject.apart(*(subject.given(**s, **wanted) for s in sounds.values()), of=of)
    model = freeze(Bundle(draft.folder / BUNDLE), bank, mode, top_k)
    file = draft.file(f"taggers/{name}.onnx", model.SerializeToString(deterministic=True))
    for key, sound in sounds.items():
        limits = subject.limits.ranked(mode, sound["rate"], bank.head)
        draft.ask(f"tagger/{name}/{key}", {"tagger": file, **sound}, limits)


def _damaged(subject: Subject, sound: dict[str, Any]) -> None:
    """Small files in a tagger's form: none of them reaches an engine."""
    draft, arrays = subject.draft, {LABELS: np.array(subject.bank.embeddings)}
    said, labels = _said(subject, subject.bank)
    cases = {
        "other-hash-of-labels": {**said, KEY: json.dumps({**labels, "labels_sha256": "0" * 64})},
        "no-metadata": {},
        "no-manifest": {KEY: said[KEY]},
        "unknown-key": {**said, KEY: json.dumps({**labels, "colour": 1})},
        "unknown-version": {**said, KEY: json.dumps({**labels, "format_version": 3})},
        "fewer-labels": {**said, KEY: json.dumps({**labels, "labels": labels["labels"][1:]})},
    }
    for name, metadata in cases.items():
        _refused(subject, name, _small(subject, metadata, arrays), sound)
    _refused(subject, "text", b"no graph at all\n", sound)
    draft.ask("tagger/refused/missing", {"tagger": "taggers/not-there.onnx", **sound})


def _damaged_heads(subject: Subject, sound: dict[str, Any]) -> None:
    """The same of taggers with a head."""
    bank = made(subject, "softmax")
    head = bank.head
    assert head is not None
    said, own = _said(subject, bank)
    arrays = {LABELS: np.array(bank.embeddings), SCALES: head.scales, BIASES: head.biases}
    constants = {
        "altered-scale": {**arrays, SCALES: head.scales * np.float32(1.01)},
        "no-biases": {key: value for key, value in arrays.items() if key != BIASES},
        "fewer-scales": {**arrays, SCALES: head.scales[1:]},
        "bias-not-a-number": {**arrays, BIASES: head.biases * np.float32(np.nan)},
    }
    for name, given in constants.items():
        _refused(subject, f"head-{name}", _small(subject, said, given), sound)
    changes = {
        "version-of-none": {"format_version": 1},
        "null": {"head": None},
        "unknown-key": {"head": {**own["head"], "colour": 1}},
        "fewer-counts": {"head": {**own["head"], "of_labels": []}},
    }
    for name, change in changes.items():
        metadata = {**said, KEY: json.dumps({**own, **change})}
        _refused(subject, f"head-{name}", _small(subject, metadata, arrays), sound)


def _said(subject: Subject, bank: LabelBank) -> tuple[dict[str, str], dict[str, Any]]:
    """A tagger's metadata, and what it says of the labels."""
    model = freeze(Bundle(subject.draft.folder / BUNDLE), bank, None, None)
    said = {entry.key: entry.value for entry in model.metadata_props}
    return said, json.loads(said[KEY])


def _refused(subject: Subject, name: str, data: bytes, sound: dict[str, Any]) -> None:
    file = subject.draft.file(f"taggers/damaged-{name}.onnx", data)
    subject.draft.ask(f"tagger/refused/{name}", {"tagger": file, **sound})


def _small(
    subject: Subject, metadata: dict[str, str], constants: dict[str, NDArray[np.float32]]
) -> bytes:
    """A graph with the labels and a tagger's outputs, which computes nothing."""
    names = ("scores", "similarity", "embedding")
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", [LABELS], [name]) for name in names]
    graph = helper.make_graph(
        nodes, "damaged",
        [value("waveform", TensorProto.FLOAT, ["batch", subject.window])],
        [value(name, TensorProto.FLOAT, list(constants[LABELS].shape)) for name in names],
        [numpy_helper.from_array(v.astype("<f4"), name) for name, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_version = ""
    for key, text in metadata.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=text))
    return model.SerializeToString(deterministic=True)
