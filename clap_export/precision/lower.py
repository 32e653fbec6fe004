"""From a bundle in FP32 to one in INT8 that passes its gates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from clap_export.evaluate import Item, Run, agreement, evaluate
from clap_export.precision import int8, ranges
from clap_export.precision.phrases import PHRASES
from runtime import Encoder
from runtime.backends import open_backend
from runtime.bundle import Bundle, Check, FileEntry, Parity, sha256_file, write_manifest
from runtime.encoder import mean_embedding
from runtime.errors import ClapError
from runtime.tokenizer import TextTokenizer

MOST_WINDOWS = 64  # that are run to see activations; half of the recordings, the rest is for gates
# Cosines that INT8 must keep to FP32; and on a listing, what it may lose and must agree on.
COSINE, LOST, AGREEMENT = 0.99, 0.005, 0.99
# Layers stay in FP32 whose rounding moves the embedding more than so many times as far as that of
# the median layer; tried in turn until the gates are passed.
LEFT_OUT = (30.0, 10.0, 3.0, 1.0)
EPSILON = 1e-8  # of float32's own rounding: no layer is left out for less
ALONE = 8  # inputs on which each layer's own effect is measured


@dataclass(frozen=True)
class Lowered:
    """A bundle that was made.

    Attributes:
        parity: its gates, each against the FP32 bundle.
        left_out: names of the layers that stayed in FP32.
    """

    parity: Parity
    left_out: tuple[str, ...]


def to_int8(
    source: Path,
    out: Path,
    clips: Sequence[Path],
    listing: Sequence[Item] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Lowered:
    """Write an INT8 bundle beside an FP32 one.

    Args:
        source: the bundle in FP32.
        out: folder to make; must not exist.
        clips: real recordings, as the model will hear them: half of them show the activations,
            half are the gate of cosines.
        listing: labelled recordings for the gates of accuracy; none for no such gates.
        progress: called with the name of each stage.

    Raises:
        ClapError: a bundle of another precision, no recordings, or fusion, which takes whole clips.
        AudioError: a recording cannot be used.
    """
    bundle = Bundle(source)
    _check(bundle, clips)
    shown, held = clips[::2], clips[1::2] or clips
    with Encoder(bundle, check_hashes=False) as encoder:
        progress("activations of the audio encoder")
        windows = np.concatenate([encoder.windows_of(clip) for clip in shown])
        audio = _Graph(bundle.path(bundle.manifest.audio_graph.file))
        picked = _spread(len(windows), MOST_WINDOWS)
        audio.observe([{"waveform": windows[i : i + 1]} for i in picked], progress)
        progress("activations of the text encoder")
        text = _Graph(bundle.path(bundle.manifest.text_graph.file))
        spec = bundle.manifest.text
        tokens = TextTokenizer(bundle.path(spec.tokenizer), spec)
        text.observe([dict(tokens([phrase])) for phrase in PHRASES], progress)
        wanted = _Numbers.of(encoder, held, listing, progress)
    shutil.copytree(source, out)
    # Several limits may leave out the same layers: one try is enough.
    for left in dict.fromkeys((audio.worst(times), text.worst(times)) for times in LEFT_OUT):
        for graph, nodes in zip((audio, text), left, strict=True):
            graph.write(out, nodes)
        manifest = replace(
            bundle.manifest,
            audio_graph=replace(bundle.manifest.audio_graph, precision="int8"),
            text_graph=replace(bundle.manifest.text_graph, precision="int8"),
            files={
                name: FileEntry(sha256_file(out / name), (out / name).stat().st_size)
                for name in bundle.manifest.files
            },
        )
        write_manifest(out, manifest)
        with Encoder(out, check_hashes=False) as encoder:
            found = _Numbers.of(encoder, held, listing, progress)
        parity = found.against(wanted)
        if parity.passed:
            break
    write_manifest(out, replace(manifest, parity=parity))
    return Lowered(parity, (*left[0], *left[1]))


def _check(bundle: Bundle, clips: Sequence[Path]) -> None:
    precision = bundle.manifest.audio_graph.precision
    if precision != "fp32":
        raise ClapError(f"{bundle.folder} is in {precision}: give a bundle in fp32.")
    if bundle.manifest.audio.long_clips == "fusion":
        raise ClapError(f"{bundle.folder} has feature fusion, which int8 cannot do yet: use fp32.")
    if not clips:
        raise ClapError(
            "int8 needs real recordings to see what values the model's layers take: "
            "name some with --calibrate."
        )


class _Graph:
    """One encoder: its FP32 graph, the layers in it, and how far each one's rounding is felt."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.model = onnx.load(path)
        self.layers = int8.layers(self.model.graph)
        self.steps: dict[str, ranges.Steps] = {}
        self.effects: dict[str, float] = {}

    def observe(
        self, feeds: Sequence[dict[str, np.ndarray]], progress: Callable[[str], None]
    ) -> None:
        """Choose steps, and measure what each layer alone in INT8 does to the embedding."""
        names = [layer.data for layer in self.layers]
        names += [layer.after for layer in self.layers if layer.after]
        self.steps = ranges.observe(self.model, names, feeds)
        some = [feeds[i] for i in _spread(len(feeds), ALONE)]
        wanted = _embed(self.model, some)
        for i, layer in enumerate(self.layers):
            progress(f"{self.name}: effect of layer {i + 1} of {len(self.layers)}")
            found = _embed(int8.quantise(self.model, self.steps, {layer.node}, tables=False), some)
            self.effects[layer.node] = float(1 - (found * wanted).sum(axis=1).mean())

    def worst(self, times: float) -> tuple[str, ...]:
        """The layers whose effect is more than so many times the median's."""
        limit = times * max(float(np.median([*self.effects.values()])), EPSILON)
        return tuple(node for node, effect in self.effects.items() if effect > limit)

    def write(self, folder: Path, left: Collection[str]) -> None:
        """Write the graph with some layers in FP32."""
        graph = int8.quantise(self.model, self.steps, self.effects.keys() - set(left))
        onnx.checker.check_model(graph, full_check=True)
        (folder / self.name).write_bytes(graph.SerializeToString(deterministic=True))


def _spread(count: int, most: int) -> np.ndarray:
    """Indices evenly over so many things, at most ``most``."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def _embed(model: onnx.ModelProto, feeds: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """Embeddings ``[feeds, dim]`` of inputs of one row each."""
    backend = open_backend(model.SerializeToString())
    found = [backend.run(feed)[backend.output_names[0]] for feed in feeds]
    backend.close()
    return np.concatenate(found).astype(np.float64)


@dataclass(frozen=True)
class _Numbers:
    """What a bundle gives for the gates' recordings and texts."""

    audio: np.ndarray
    text: np.ndarray
    run: Run | None
    provider: str

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        clips: Sequence[Path],
        listing: Sequence[Item],
        progress: Callable[[str], None],
    ) -> _Numbers:
        precision = encoder.manifest.audio_graph.precision
        progress(f"gates: {precision}")
        rows = encoder.embed_clips(encoder.windows_of(clip) for clip in clips)
        audio = np.stack([mean_embedding(found) for found in rows])
        run = None
        if listing:
            run = evaluate(encoder, listing, (), lambda s: progress(f"gates: {precision}, {s}"))
        return cls(audio, encoder.embed_text(PHRASES), run, encoder.open_audio().provider)

    def against(self, wanted: _Numbers) -> Parity:
        cosines = {
            "audio": (self.audio * wanted.audio).sum(axis=1).min(),
            "text": (self.text * wanted.text).sum(axis=1).min(),
        }
        checks = [
            _at_most(f"{side} embedding, 1 - cosine to FP32", 1 - float(value), 1 - COSINE)
            for side, value in cosines.items()
        ]
        if self.run is not None and wanted.run is not None:
            lost = wanted.run.accuracy.top1 - self.run.accuracy.top1
            checks.append(_at_most("listing, top-1 accuracy lost to FP32", lost, LOST, "share"))
            other = 1 - agreement(self.run, wanted.run)
            limit = 1 - AGREEMENT
            checks.append(_at_most("listing, other top-1 label than FP32", other, limit, "share"))
        return Parity(all(check.passed for check in checks), self.provider, tuple(checks))


def _at_most(name: str, value: float, limit: float, unit: str = "") -> Check:
    return Check(name, value, round(limit, 6), unit, bool(value <= limit + 1e-9))
