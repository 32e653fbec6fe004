"""``space`` and ``embed`` of bundles with one thing wrong.

Their graphs are a few bytes each: what is wrong shows before an engine sees them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from clap_export.conformance import signals
from clap_export.conformance.subject import BUNDLE, Subject
from runtime.manifest import MANIFEST
from runtime.schema import to_plain


def damage(subject: Subject) -> None:
    """Ask for each of them."""
    for name, change in _MANIFESTS.items():
        table = _table(subject)
        change(table)
        _asked(subject, name, table)
    stub = _STUB
    audio = subject.manifest.audio_graph.file
    _asked(subject, "altered-file", _table(subject), {audio: stub[:-1] + b"?"})
    _asked(subject, "cut-off-file", _table(subject), {audio: stub[:10]})
    _asked(subject, "missing-file", _table(subject), {audio: None})
    _asked(subject, "two-things", _table(subject), {name: b"" for name in _files(subject)})
    folder = "damaged/not-json"
    subject.draft.file(f"{folder}/{MANIFEST}", b'{"format": "clap-export-bundle",\n')
    subject.draft.ask("space/damaged/not-json", {"bundle": folder}, optional=True)
    subject.draft.ask("space/damaged/missing", {"bundle": "damaged/not-there"})
    _graph(subject)


def _files(subject: Subject) -> list[str]:
    manifest = subject.manifest
    graph, text = manifest.text_graph, manifest.text
    rest = [graph.file, text.tokenizer] if graph is not None and text is not None else []
    return [manifest.audio_graph.file, *rest]


_STUB = b"this stands for a file of a bundle"


def _table(subject: Subject) -> dict[str, Any]:
    """The manifest, of files that are all the same few bytes."""
    table = to_plain(subject.manifest)
    entry = {"sha256": hashlib.sha256(_STUB).hexdigest(), "bytes": len(_STUB)}
    return {**table, "engines": None, "files": {name: dict(entry) for name in _files(subject)}}


def _asked(
    subject: Subject,
    name: str,
    table: dict[str, Any],
    changed: dict[str, bytes | None] | None = None,
) -> None:
    folder = f"damaged/{name}"
    subject.draft.file(f"{folder}/{MANIFEST}", json.dumps(table, indent=2).encode())
    for file in _files(subject):
        data = (changed or {}).get(file, _STUB)
        if data is not None:
            subject.draft.file(f"{folder}/{file}", data)
    subject.draft.ask(f"space/damaged/{name}", {"bundle": folder})


def _graph(subject: Subject) -> None:
    """A graph that is cut off, with a hash that is true: what is in it is looked at, too."""
    audio = subject.manifest.audio_graph.file
    data = (subject.draft.folder / BUNDLE / audio).read_bytes()
    data = data[: min(1000, len(data) // 2)]
    table = _table(subject)
    table["files"][audio] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    folder = "damaged/cut-off-graph"
    subject.draft.file(f"{folder}/{MANIFEST}", json.dumps(table, indent=2).encode())
    for file in _files(subject):
        subject.draft.file(f"{folder}/{file}", data if file == audio else _STUB)
    sound = subject.sound(signals.white(1, 100))
    subject.draft.ask("embed/damaged/cut-off-graph", {"bundle": folder, **sound}, optional=True)


def _set(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value

    return change


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        for key in path[:-1]:
            table = table[key]
        del table[path[-1]]

    return change


def _several(table: dict[str, Any]) -> None:
    table["colour"] = "red"
    del table["space_id"]
    table["audio"]["fill"] = "loop"
    table["embedding_dim"] = "many"


def _elsewhere(table: dict[str, Any]) -> None:
    table["files"]["../manifest.json"] = {"sha256": "0" * 64, "bytes": 1}


_MANIFESTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "unknown-key": _set("colour", value="red"),
    "unknown-inner-key": _set("audio", "mel", "colour", value="red"),
    "missing-key": _drop("logit_scale"),
    "missing-inner-key": _drop("audio", "window_samples"),
    "several-problems": _several,
    "wrong-type": _set("embedding_dim", value="many"),
    "text-for-a-number": _set("audio", "sample_rate", value="fast"),
    "number-out-of-bounds": _set("audio", "sample_rate", value=1_000_000),
    "unknown-choice": _set("audio", "fill", value="loop"),
    "ill-formed-policy": _set("policy", "count", value=3),
    "hop-beyond-the-window": _set("audio", "hop_samples", value=1 << 23),
    "template-without-a-place": _set("default_template", value="a sound"),
    "empty-space": _set("space_id", value=" "),
    "other-format": _set("format", value="bundle"),
    "later-version": _set("format_version", value=99),
    "outside-the-folder": _elsewhere,
    "not-a-table": _set("audio", value=[]),
    "half-without-text": _set("text_graph", value=None),
}
