"""Write a bundle: graphs, tokenizer and manifest, in one rename."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from clap_export import __version__
from clap_export.export.graph import OPSET, export_audio, export_text
from clap_export.export.health import examine
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.config import ClapConfig
from runtime.bundle import entries
from runtime.clips.policy import Policy
from runtime.errors import ClapError
from runtime.files import publish, scratch
from runtime.manifest import (
    FORMAT,
    FORMAT_VERSION,
    Graph,
    Manifest,
    TextSpec,
    write_manifest,
)

AUDIO_FILE, TEXT_FILE, TOKENIZER_FILE = "audio.onnx", "text.onnx", "tokenizer.json"


def write_bundle(
    checkpoint: Checkpoint, out: Path, progress: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Export a checkpoint to a bundle folder of FP32 ONNX graphs.

    Everything is written to a temporary folder beside ``out`` and renamed, so that ``out`` is
    there whole or not at all. The bundle is not verified yet.

    Args:
        checkpoint: a loaded model.
        out: folder to make; must not exist.
        progress: called with the name of each stage.

    Raises:
        ClapError: ``out`` exists or cannot be written.
    """
    check_free(out)
    with making(out) as folder:
        part = folder / "bundle"
        part.mkdir()
        manifest = _fill(checkpoint, part, progress)
        publish(part, out)
    return manifest


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """A scratch folder to make ``out`` in; what goes wrong inside names ``out``, as users know it.

    Raises:
        ClapError: it cannot be made, or what is done inside fails to write.
    """
    with scratch(out) as folder:
        try:
            yield folder
        except ClapError as error:
            said = str(error)
            if str(folder) not in said:
                raise
            raise type(error)(said.replace(str(folder), str(out))) from error


def check_free(out: Path) -> None:
    """Refuse an output folder before any work is done.

    Raises:
        ClapError: it exists, or its parent is not a folder that can be written.
    """
    if out.exists() or out.is_symlink():
        raise ClapError(f"--out {out} exists already. Remove it, or give another folder.")
    if not out.parent.is_dir():
        raise ClapError(f"--out {out}: the folder {out.parent} does not exist. Make it first.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ClapError(f"--out {out}: the folder {out.parent} cannot be written.")


def _fill(checkpoint: Checkpoint, folder: Path, progress: Callable[[str], None]) -> Manifest:
    config, model = checkpoint.model.config, checkpoint.model
    text = text_spec(config)
    progress("audio graph")
    export_audio(model, folder / AUDIO_FILE)
    progress("text graph")
    export_text(model, text, folder / TEXT_FILE)
    (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer, encoding="utf-8")
    progress("health and manifest")
    manifest = Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        name=config.name,
        source=checkpoint.source,
        space_id=checkpoint.space_id(),
        embedding_dim=config.embedding_dim,
        logit_scale=model.scale().item(),
        calibration=config.calibration,
        default_template=config.default_template,
        audio=config.audio,
        policy=Policy.of(config.audio),
        text=text,
        audio_graph=Graph(AUDIO_FILE, "fp32", OPSET),
        text_graph=Graph(TEXT_FILE, "fp32", OPSET),
        files=entries(folder, (AUDIO_FILE, TEXT_FILE, TOKENIZER_FILE)),
        tools={"clap-export": __version__, **{n: metadata.version(n) for n in ("torch", "onnx")}},
        findings=(*checkpoint.findings, *examine(model, text, folder / TOKENIZER_FILE)),
        parity=None,
        race=(),
        engines=None,
    )
    assert math.isfinite(manifest.logit_scale)  # the loader refuses weights that are not finite
    write_manifest(folder, manifest)
    return manifest


def text_spec(config: ClapConfig) -> TextSpec:
    """How the runtime must prepare texts for this model."""
    encoder = config.text_encoder
    inputs = ("input_ids", "attention_mask") + ("token_type_ids",) * encoder.token_type_ids
    return TextSpec(TOKENIZER_FILE, encoder.max_tokens, encoder.pad_id, inputs, encoder.suffix)
