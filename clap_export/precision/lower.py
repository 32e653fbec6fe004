"""From a bundle in FP32 to one of lower precision that passes its gates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from clap_export.metrics import enough_for_worst
from clap_export.parity.accuracy import Labelled
from clap_export.parity.clips import awkward_clips
from clap_export.parity.engines import providers_of
from clap_export.parity.fp32 import Numbers
from clap_export.parity.inner import spectrograms
from clap_export.parity.phrases import PHRASES
from clap_export.precision import fp16, int8, ranges
from clap_export.precision.probe import effects
from runtime import Encoder
from runtime.audio_graph import graph_inputs
from runtime.backends import no_bfloat16
from runtime.bundle import Bundle, entries
from runtime.errors import ClapError
from runtime.manifest import IN_FILES, Finding, Graph, Manifest, Parity, Precision, amend
from runtime.tokenizer import TextTokenizer

MOST_WINDOWS = 64  # that are run to see activations
# A layer stays in FP32 if its rounding moves the embedding more than this many times as far as the
# median layer's does. The values are tried in order until the gates pass.
LEFT_OUT = (30.0, 10.0, 3.0, 1.0)
EPSILON = 1e-8  # of float32's own rounding: no layer is left out for less
ALONE = 8  # inputs on which each layer's own effect is measured
LEAST_HELD = 6  # held-out recordings that the gates need: a bound from fewer is of no use


@dataclass(frozen=True)
class Lowered:
    """A bundle that was made.

    Attributes:
        parity: its gates, each against the FP32 bundle.
        left_out: names of the layers that stayed in FP32.
    """

    parity: Parity
    left_out: tuple[str, ...]


def to_fp16(
    source: Path,
    out: Path,
    clips: Sequence[Path] = (),
    listing: Sequence[Labelled] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Lowered:
    """Write an FP16 bundle beside an FP32 one.

    Args:
        source: the bundle in FP32.
        out: folder to make; must not exist.
        clips: recordings for the gate of cosines; without any, the made ones of ``verify``.
        listing: labelled recordings for the gates of accuracy; none for no such gates.
        progress: called with the name of each stage.

    Raises:
        ClapError: a bundle of another precision.
        AudioError: a recording cannot be used.
    """
    bundle = _fp32(source)
    with Encoder(bundle, check_hashes=False) as encoder:
        held = [encoder.windows_of(clip) for clip in clips] or _made(encoder)
        wanted = Numbers.of(encoder, held, listing, progress)
    _copy(bundle, out)
    for graph in bundle.manifest.graphs:
        _write(out / graph.file, fp16.convert(_load(bundle, graph)))
    gates = _Gates(out, "fp16", held, listing, wanted, progress)
    manifest = gates.describe(bundle.manifest)
    parity = gates.measure()
    amend(out, manifest, parity=parity)
    return Lowered(parity, ())


def to_bf16(
    source: Path,
    out: Path,
    clips: Sequence[Path] = (),
    listing: Sequence[Labelled] = (),
    progress: Callable[[str], None] = lambda _: None,
    *,
    fp32: Path | None = None,
) -> Lowered:
    """Write a bundle beside one in FP32 or INT8 whose encoders are computed in bfloat16 where the
    engine has it: of the same files, since it is the engine that rounds.

    Args:
        source: the bundle.
        out: folder to make; must not exist.
        clips: recordings for the gate of cosines; of a source in FP32 beside the made ones of
            ``verify``, else those that it was not calibrated on.
        listing: labelled recordings for the gates of accuracy; none for no such gates.
        progress: called with the name of each stage.
        fp32: the bundle in FP32 to measure against, of a source in INT8.

    Raises:
        ClapError: a bundle of another precision, or nothing here computes in bfloat16.
        AudioError: a recording cannot be used.
    """
    bundle, exact = Bundle(source), _fp32(fp32 or source)
    of: dict[Precision, Precision] = {plain: half for half, plain in IN_FILES.items()}
    was = bundle.manifest.audio_graph.precision
    if was not in of:
        raise ClapError(f"{bundle.folder} is in {was}: give a bundle in {' or '.join(of)}.")
    check_bfloat16(of[was])
    with Encoder(exact, check_hashes=False) as encoder:
        made = _made(encoder)
        held = [encoder.windows_of(clip) for clip in clips]
        held = held if fp32 else made + held
        wanted = _with_mel(Numbers.of(encoder, held, listing, progress), exact, made)
    _copy(bundle, out)
    gates = _Gates(out, of[was], held, listing, wanted, progress, made)
    manifest = gates.describe(bundle.manifest)
    parity = gates.measure()
    amend(out, manifest, parity=parity)
    return Lowered(parity, ())


def to_int8(
    source: Path,
    out: Path,
    clips: Sequence[Path],
    listing: Sequence[Labelled] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Lowered:
    """Write an INT8 bundle beside an FP32 one.

    Args:
        source: the bundle in FP32.
        out: folder to make; must not exist.
        clips: real recordings, of the kind that the model will get. Every second one shows the
            activations; the others are held out, for the gates.
        listing: labelled recordings for the gates of accuracy; none for no such gates.
        progress: called with the name of each stage.

    Raises:
        ClapError: a bundle of another precision, or no recordings.
        AudioError: a recording cannot be used.
    """
    bundle = _fp32(source)
    if not clips:
        raise ClapError(
            "int8 needs real recordings to see what values the model's layers take: "
            "name some with --calibrate."
        )
    shown, held_paths = clips[::2], held_back(clips)
    if len(held_paths) < LEAST_HELD:
        raise ClapError(
            f"int8 needs at least {2 * LEAST_HELD} recordings, {len(clips)} were given: half of "
            "them are held back to measure the result on."
        )
    with Encoder(bundle, check_hashes=False) as encoder:
        progress("activations of the audio encoder")
        spec = bundle.manifest.audio
        some = [shown[i] for i in _spread(len(shown), MOST_WINDOWS)]
        windows = [row for clip in some for row in encoder.windows_of(clip)]
        picked = [windows[i] for i in _spread(len(windows), MOST_WINDOWS)]
        audio = _Encoder(bundle, bundle.manifest.audio_graph)
        audio.observe([graph_inputs([row], spec) for row in picked], progress)
        encoders = [audio, *_text_encoder(bundle, progress)]
        held = [encoder.windows_of(clip) for clip in held_paths]
        wanted = Numbers.of(encoder, held, listing, progress)
    _copy(bundle, out)
    gates = _Gates(out, "int8", held, listing, wanted, progress)
    # Several limits may leave out the same layers: one try is enough.
    for left in dict.fromkeys(tuple(e.worst(times) for e in encoders) for times in LEFT_OUT):
        for graph, nodes in zip(encoders, left, strict=True):
            graph.write(out, nodes)
        manifest = gates.describe(bundle.manifest)
        parity = gates.measure()
        if parity.passed:
            break
    findings = (*manifest.findings, *_few(len(held)))
    amend(out, manifest, parity=parity, findings=findings)
    return Lowered(parity, tuple(node for nodes in left for node in nodes))


def held_back(clips: Sequence[Path]) -> Sequence[Path]:
    """The recordings that INT8 is measured on, and not calibrated with."""
    return clips[1::2]


def _text_encoder(bundle: Bundle, progress: Callable[[str], None]) -> Iterator[_Encoder]:
    """The text encoder with its activations, if the bundle has one."""
    spec, graph = bundle.manifest.text, bundle.manifest.text_graph
    if spec is None or graph is None:
        return
    progress("activations of the text encoder")
    encoder = _Encoder(bundle, graph)
    tokens = TextTokenizer(bundle.read(spec.tokenizer), spec)
    encoder.observe([dict(tokens([phrase])) for phrase in PHRASES], progress)
    yield encoder


def check_bfloat16(precision: str) -> None:
    """Refuse a precision that cannot be measured here, before any work is done.

    Raises:
        ClapError: no engine, or a CPU, without bfloat16.
    """
    problem = no_bfloat16()
    if problem:
        raise ClapError(
            f"--precision {precision} is measured as it is computed, and {problem}. Export on a "
            "machine that has bfloat16, with openvino installed (the extra clap-export[openvino]); "
            "or take fp32 or int8."
        )


def _made(encoder: Encoder) -> list[np.ndarray]:
    """Windows of the made clips of ``verify``."""
    clips = awkward_clips(encoder.manifest.audio)
    return [encoder.windows_of(clip.samples, clip.sample_rate) for clip in clips]


def _with_mel(numbers: Numbers, bundle: Bundle, made: Sequence[np.ndarray]) -> Numbers:
    """The same, with the bundle's spectrograms of made clips."""
    providers = providers_of(bundle.manifest) or ("cpu",)
    return replace(numbers, mel=spectrograms(bundle, made, providers)) if made else numbers


def _fp32(source: Path) -> Bundle:
    bundle = Bundle(source)
    precision = bundle.manifest.audio_graph.precision
    if precision != "fp32":
        raise ClapError(f"{bundle.folder} is in {precision}: give a bundle in fp32.")
    return bundle


def _copy(bundle: Bundle, out: Path) -> None:
    out.mkdir(parents=True)
    for name in bundle.manifest.files:
        (out / name).write_bytes(bundle.read(name).data)


def _few(count: int) -> Iterator[Finding]:
    if count < enough_for_worst():
        yield Finding(
            "few-recordings",
            f"INT8 was measured on {count} recordings, and for others the spread of these is "
            f"extrapolated; {enough_for_worst()} (calibrate with {2 * enough_for_worst()}) show "
            "how far 95 % of all stay within, with 95 % confidence",
        )


@dataclass(frozen=True)
class _Gates:
    """What a bundle of lower precision is measured with.

    Attributes:
        out: the bundle.
        precision: that it is in.
        clips: windows of the recordings that were held back.
        listing: labelled recordings, or none.
        wanted: FP32's numbers.
        progress: called with the name of each stage.
        made: windows of made clips, whose spectrograms are a gate too; none for no such gate.
    """

    out: Path
    precision: Precision
    clips: Sequence[np.ndarray]
    listing: Sequence[Labelled]
    wanted: Numbers
    progress: Callable[[str], None]
    made: Sequence[np.ndarray] = ()

    def describe(self, fp32: Manifest) -> Manifest:
        """Write the manifest of graphs that have just been written, which opening them needs."""
        return amend(
            self.out,
            fp32,
            audio_graph=replace(fp32.audio_graph, precision=self.precision),
            text_graph=fp32.text_graph and replace(fp32.text_graph, precision=self.precision),
            files=entries(self.out, fp32.files),
            parity=None,
        )

    def measure(self) -> Parity:
        """The gates of the bundle as it is now."""
        bundle = Bundle(self.out, check_hashes=False)
        with Encoder(bundle, providers=providers_of(bundle.manifest)) as encoder:
            found = Numbers.of(encoder, self.clips, self.listing, self.progress)
        found = _with_mel(found, bundle, self.made)
        return found.against(self.wanted, self.precision)


class _Encoder:
    """One encoder: its FP32 graph, the layers in it, and how far each one's rounding is felt."""

    def __init__(self, bundle: Bundle, graph: Graph) -> None:
        self.name = graph.file
        self.model = _load(bundle, graph)
        self.steps: dict[str, ranges.Steps] = {}
        self.effects: dict[str, float] = {}

    def observe(
        self, feeds: Sequence[dict[str, np.ndarray]], progress: Callable[[str], None]
    ) -> None:
        """Choose steps, and measure what each layer alone in INT8 does to the embedding."""
        layers = int8.layers(self.model.graph)
        names = [layer.data for layer in layers]
        names += [layer.after for layer in layers if layer.after]
        self.steps = ranges.observe(self.model, names, feeds)
        some = [feeds[i] for i in _spread(len(feeds), ALONE)]
        self.effects = effects(
            self.model, self.steps, some, lambda said: progress(f"{self.name}: {said}")
        )

    def worst(self, times: float) -> tuple[str, ...]:
        """Layers whose effect is more than ``times`` the median's."""
        limit = times * max(float(np.median([*self.effects.values()])), EPSILON)
        return tuple(node for node, effect in self.effects.items() if effect > limit)

    def write(self, folder: Path, left: Collection[str]) -> None:
        """Write the graph with some layers in FP32."""
        chosen = self.effects.keys() - set(left)
        _write(folder / self.name, int8.quantise(self.model, self.steps, chosen))


def _load(bundle: Bundle, graph: Graph) -> onnx.ModelProto:
    return onnx.load_model_from_string(bundle.graph(graph)[0].data)


def _write(path: Path, graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` indices, spread evenly over ``count`` things."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
