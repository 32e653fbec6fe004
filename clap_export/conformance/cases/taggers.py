"""``tagger``: the labels inside the graph."""

from __future__ import annotations

import json

import onnx
from onnx import TensorProto, helper, numpy_helper

from clap_export.conformance import signals
from clap_export.conformance.cases.clips import lengths
from clap_export.conformance.subject import BUNDLE, Subject
from clap_export.freeze.graph import freeze
from runtime.bundle import Bundle
from runtime.tagger_file import KEY, LABELS

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
    bundle = Bundle(draft.folder / BUNDLE)
    for mode, top_k in (("softmax", None), (subject.modes[-1], 2)):
        bank = subject.apart(*(subject.given(**s, scores=mode) for s in sounds.values()))
        data = freeze(bundle, bank, mode, top_k).SerializeToString(deterministic=True)
        file = draft.file(f"taggers/{mode}.onnx", data)
        for name, sound in sounds.items():
            limits = subject.limits.ranked(mode, sound["rate"])
            draft.ask(f"tagger/{mode}/{name}", {"tagger": file, **sound}, limits)
    few = {"tagger": "taggers/softmax.onnx", **sounds["short"], "top_k": 1}
    draft.ask("tagger/softmax/top-1", few, subject.limits.ranked("softmax", subject.rate))
    _damaged(subject, sounds["short"])


def _damaged(subject: Subject, sound: dict[str, object]) -> None:
    """Small files in a tagger's form: none of them reaches an engine."""
    draft, bank = subject.draft, subject.bank
    model = freeze(Bundle(draft.folder / BUNDLE), bank, "softmax", None)
    said = {entry.key: entry.value for entry in model.metadata_props}
    labels = json.loads(said[KEY])
    cases = {
        "other-hash-of-labels": {**said, KEY: json.dumps({**labels, "labels_sha256": "0" * 64})},
        "no-metadata": {},
        "no-manifest": {KEY: said[KEY]},
        "unknown-key": {**said, KEY: json.dumps({**labels, "colour": 1})},
        "fewer-labels": {**said, KEY: json.dumps({**labels, "labels": labels["labels"][1:]})},
    }
    for name, metadata in cases.items():
        file = draft.file(f"taggers/damaged-{name}.onnx", _small(subject, metadata))
        draft.ask(f"tagger/refused/{name}", {"tagger": file, **sound})
    text = draft.file("taggers/damaged-text.onnx", b"no graph at all\n")
    draft.ask("tagger/refused/text", {"tagger": text, **sound})
    draft.ask("tagger/refused/missing", {"tagger": "taggers/not-there.onnx", **sound})


def _small(subject: Subject, metadata: dict[str, str]) -> bytes:
    """A graph with the labels and a tagger's outputs, which computes nothing."""
    names = ("scores", "similarity", "embedding")
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", [LABELS], [name]) for name in names]
    rows = subject.bank.embeddings
    graph = helper.make_graph(
        nodes, "damaged",
        [value("waveform", TensorProto.FLOAT, ["batch", subject.window])],
        [value(name, TensorProto.FLOAT, list(rows.shape)) for name in names],
        [numpy_helper.from_array(rows.astype("<f4"), LABELS)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_version = ""
    for key, text in metadata.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=text))
    return model.SerializeToString(deterministic=True)
