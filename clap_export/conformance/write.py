"""Write a kit: a bundle, what is asked of it, and what this runtime answers."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from clap_export import __version__, invented
from clap_export.conformance import kit, schema
from clap_export.conformance.cases import (
    clips,
    damage,
    heads,
    ranking,
    sounds,
    streams,
    taggers,
    words,
)
from clap_export.conformance.draft import Draft
from clap_export.conformance.subject import BUNDLE, WITHOUT_TEXT, Subject
from clap_export.slim import without_text
from clap_export.sounds.catalogue import SOUNDS
from runtime.bundle import Bundle
from runtime.encoder import Encoder
from runtime.errors import AudioWarning, ClapError
from runtime.files import publish, scratch
from runtime.labels import LabelBank
from runtime.manifest import Manifest, write_manifest

PACKAGES = ("numpy", "soxr", "soundfile", "tokenizers", "onnxruntime")


def write(
    source: Path,
    out: Path,
    labels: LabelBank | Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> kit.Kit:
    """Write a kit of a bundle. The same bundle gives the same bytes, on the same machine.

    Args:
        source: the bundle's folder.
        out: folder to make; must not exist.
        labels: names, or a bank, that scores are asked of; default those of the demonstration.
        progress: called with the name of each stage.

    Returns:
        the kit's document.

    Raises:
        ClapError: ``out`` exists or cannot be written, or the bundle cannot be used.
    """
    if out.exists() or out.is_symlink():
        raise ClapError(f"'{out}' exists already: remove it, or give another folder.")
    if not out.parent.is_dir():
        raise ClapError(f"'{out}': the folder '{out.parent}' does not exist. Make it first.")
    manifest = Bundle(source).manifest
    with scratch(out) as folder, _quiet():
        made = folder / "kit"
        made.mkdir()
        _copy(source, made / BUNDLE, manifest)
        if manifest.text is not None:
            _copy(source, made / WITHOUT_TEXT, without_text(manifest))
        draft = Draft(made)
        progress("labels")
        subject = Subject(draft, manifest, _bank(made / BUNDLE, manifest, labels))
        _ask(subject, progress)
        document = _document(subject)
        (made / kit.DOCUMENT).write_text(kit.to_text(document), encoding="utf-8")
        text = json.dumps(schema.SCHEMA, indent=1) + "\n"
        (made / kit.SCHEMA).write_text(text, encoding="utf-8")
        publish(made, out)
    return document


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of recordings, texts and labels: that they are odd is what they are for."""
    log = logging.getLogger("runtime")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)
            yield
    finally:
        log.setLevel(before)


def _ask(subject: Subject, progress: Callable[[str], None]) -> None:
    progress("sounds")
    sounds.decode(subject.draft)
    sounds.broken(subject.draft)
    sounds.resample(subject.draft, subject.rate)
    stages: dict[str, Sequence[Callable[[Subject], None]]] = {
        "windows and embeddings": (clips.space, clips.windows, clips.embed, clips.refused),
        "texts and banks": (words.texts, words.without_text, words.banks),
        "scores": (ranking.classify, ranking.timeline),
        "streams": (streams.listen,),
        "taggers": (taggers.tagger,),
        "heads": (heads.banks, heads.scores),
        "damaged bundles": (damage.damage,),
    }
    for name, asking in stages.items():
        progress(name)
        for ask in asking:
            ask(subject)


def _copy(source: Path, target: Path, manifest: Manifest) -> None:
    """The bundle's files: links to them where the file system has links, else copies."""
    target.mkdir()
    for name in manifest.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:
            shutil.copyfile(source / name, target / name)
    write_manifest(target, manifest)


def _bank(bundle: Path, manifest: Manifest, labels: LabelBank | Sequence[str] | None) -> LabelBank:
    """The labels that scores are asked of."""
    if isinstance(labels, LabelBank):
        labels.check_fits(manifest)
        return replace(labels, head=None)  # all kinds of scores are asked of them
    if manifest.text_graph is None:
        return invented.bank(manifest, labels or tuple(SOUNDS))
    with Encoder(bundle, providers=("cpu",), threads=1) as encoder:
        return LabelBank.build(encoder, labels or tuple(SOUNDS))


def _document(subject: Subject) -> kit.Kit:
    manifest = subject.manifest
    found = {"clap-export": __version__}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return kit.Kit(
        kit.FORMAT, kit.FORMAT_VERSION, BUNDLE, manifest.space_id,
        manifest.policy.clip_space_id(manifest.space_id, manifest.audio), found,
        tuple(subject.draft.cases),
    )  # fmt: skip
