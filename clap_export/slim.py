"""A bundle without its text encoder, for devices whose labels come as saved banks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runtime.bundle import Bundle
from runtime.errors import ClapError
from runtime.files import publish, scratch
from runtime.manifest import Manifest, write_manifest


def slim(bundle: Bundle, out: Path) -> Manifest:
    """Write what a bundle needs to hear, without what it needs to read.

    Every file that stays is the same, and so are the embedding spaces: label banks of the whole
    bundle fit. A signature is not copied, as it is over the manifest: sign the result.

    Args:
        bundle: the whole one.
        out: folder to make; must not exist.

    Returns:
        the manifest of the result.

    Raises:
        BundleError: the bundle is damaged, or has no text encoder already.
        ClapError: ``out`` exists or cannot be written.
    """
    result = without_text(bundle.manifest)
    if out.exists() or out.is_symlink():
        raise ClapError(f"'{out}' exists already: remove it, or give another folder.")
    with scratch(out) as folder:
        made = folder / "bundle"
        made.mkdir()
        for name in result.files:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(bundle.read(name, check_hash=True).data)
        write_manifest(made, result)
        publish(made, out)
    return result


def without_text(manifest: Manifest) -> Manifest:
    """What the manifest of a bundle says when its text encoder is left out.

    Raises:
        BundleError: there is none in it.
    """
    spec, graph = manifest.text_encoder
    left, engines = {spec.tokenizer, graph.file}, manifest.engines
    if engines is not None and engines.text is not None:
        left.add(engines.text.file)
    return replace(
        manifest,
        text=None,
        text_graph=None,
        files={name: entry for name, entry in manifest.files.items() if name not in left},
        engines=engines and replace(engines, text=None),
    )
