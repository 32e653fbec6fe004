"""Engines into a bundle, whose ONNX graphs stay: a device can build its own from them again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from clap_export.engine.build import EngineSource, build
from clap_export.engine.options import BuildOptions
from clap_export.engine.profiles import audio_profiles, text_profiles
from clap_export.engine.toolchain import Toolchain
from clap_export.parity.clips import awkward_clips
from clap_export.parity.fp32 import Numbers
from runtime import Encoder
from runtime.bundle import Bundle
from runtime.engines import Engine, Engines, Profile
from runtime.errors import ClapError
from runtime.files import owning, writing
from runtime.manifest import FileEntry, Graph, Manifest, Parity, amend, read_manifest

Progress = Callable[[str], None]


def check_precision(precision: str) -> None:
    """Refuse graphs that no engine is built from.

    Raises:
        ClapError: INT8 or bfloat16.
    """
    if precision not in ("fp32", "fp16"):
        raise ClapError(
            f"engines are built in fp16 or fp32, and {precision} was asked for: INT8 and bfloat16 "
            "are for CPUs. Take --precision fp16."
        )


def add_engines(
    folder: Path,
    chain: Toolchain,
    options: BuildOptions,
    cache: Path,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Build the engines of a bundle into it; the ones it had are replaced.

    The bundle is whole at any moment: new files have new names, and the manifest changes last.
    Afterwards it has no engine that its manifest does not list, whoever left it there.

    Args:
        folder: the bundle.
        chain: from :func:`clap_export.engine.toolchain.toolchain`.
        options: the user's.
        cache: timing cache, beside the bundle: read if it is there, and written.
        progress: called with what is being done.

    Raises:
        BundleError: the bundle is damaged.
        BackendError: TensorRT cannot build an engine, or not in the graph's precision.
        ClapError: graphs in INT8, or the folder cannot be written.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        Bundle(folder)  # which says so if there is none
        raise ClapError(f"{folder} cannot be written, and engines are built into it: copy it.")
    with owning(folder):
        bundle = Bundle(folder)
        try:
            made, files = _built(bundle, chain, options, cache, progress)
            old = bundle.manifest.engines
            gone = {engine.file for engine in old.each} if old else set[str]()
            kept = {
                name: entry for name, entry in bundle.manifest.files.items() if name not in gone
            }
            tools = {**bundle.manifest.tools, chain.dialect.library: chain.dialect.version}
            return amend(folder, bundle.manifest, files=kept | files, engines=made, tools=tools)
        finally:
            _remove_unlisted(folder, bundle.manifest)


def _built(
    bundle: Bundle, chain: Toolchain, options: BuildOptions, cache: Path, progress: Progress
) -> tuple[Engines, dict[str, FileEntry]]:
    """The engines, written into the bundle's folder under names that no other content has."""
    manifest = bundle.manifest
    wanted = [("audio", manifest.audio_graph, audio_profiles(manifest, options))]
    if manifest.text_graph is not None:
        wanted.append(("text", manifest.text_graph, text_profiles(manifest, options)))
    made: dict[str, Engine] = {}
    files: dict[str, FileEntry] = {}
    for name, graph, profiles in wanted:
        check_precision(graph.precision)
        progress(f"{name} engine")
        content, _ = bundle.graph(graph)
        source = EngineSource(content, profiles, graph.precision == "fp16")
        built = build(
            chain.dialect, source, options, cache,
            lambda said, name=name: progress(f"{name} engine: {said}"),
        )  # fmt: skip
        sha256 = hashlib.sha256(built.plan).hexdigest()
        file = f"{name}-{sha256[:12]}.engine"
        with writing(bundle.path(file)) as part:
            part.write_bytes(built.plan)
        files[file] = FileEntry(sha256, len(built.plan))
        made[name] = record(file, graph, chain, options, built.layers, profiles)
    return Engines(made["audio"], made.get("text")), files


def _remove_unlisted(folder: Path, before: Manifest) -> None:
    """Remove engines that the manifest does not list (any more): those that were replaced, and
    those of a build that failed or was killed."""
    old = before.engines
    engines = {folder / engine.file for engine in old.each} if old else set[Path]()
    for kind in ("audio", "text"):
        engines |= set(folder.glob(f"{kind}-????????????.engine"))
    with contextlib.suppress(ClapError, OSError):  # a left-over does no harm
        listed = read_manifest(folder).files
        for path in engines:
            if path.name not in listed:
                path.unlink()


def measure(folder: Path, reference: Path, device: int, progress: Progress) -> Parity:
    """Compare a bundle's engines with a reference's graphs on the CPU, through the runtime; the
    result is written into the bundle.

    Args:
        folder: the bundle with engines.
        reference: bundle whose graphs are right: in FP32, or the same one.
        device: number of the GPU.
        progress: called with what is being done.

    Raises:
        BackendError: the engines do not run here.
    """
    with Encoder(reference, providers=("cpu",)) as truth:
        clips = [
            truth.windows_of(clip.samples, clip.sample_rate)
            for clip in awkward_clips(truth.manifest.audio)
        ]
        wanted = Numbers.of(truth, clips, (), progress)
    with Encoder(folder, device=device) as encoder:
        engines = encoder.manifest.engines
        assert engines is not None  # add_engines was called
        parity = Numbers.of(encoder, clips, (), progress).against(wanted, engines.audio.precision)
        amend(folder, encoder.manifest, parity=parity)
    return parity


def record(
    file: str, graph: Graph, chain: Toolchain, options: BuildOptions, layers: dict[str, int],
    profiles: tuple[Profile, ...],
) -> Engine:  # fmt: skip
    """What is written of an engine that was built from a graph."""
    device = chain.device
    return Engine(
        file=file,
        library=chain.dialect.library,
        version=chain.dialect.version,
        compute_capabilities=options.compute_capabilities
        if device is None
        else (device.compute_capability,),
        device="" if device is None else device.name,
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        tf32=options.tf32,
        precision="fp16" if graph.precision == "fp16" else "fp32",
        layers=layers,
        profiles=profiles,
    )
