"""An engine from a tagger: the labels are looked up inside it, on the GPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from clap_export.engine.build import EngineSource, build
from clap_export.engine.bundle import check_precision, record
from clap_export.engine.options import BuildOptions
from clap_export.engine.profiles import audio_profiles
from clap_export.engine.toolchain import Toolchain
from runtime import schema
from runtime.engines import Engine
from runtime.files import writing
from runtime.tagger_file import BuiltFrom, TaggerFile, engine_record


def add_engine(
    path: Path,
    chain: Toolchain,
    options: BuildOptions,
    progress: Callable[[str], None] = lambda _: None,
) -> Engine:
    """Build the engine of a tagger beside it; the one it had is replaced.

    Args:
        path: of the tagger.
        chain: from :func:`clap_export.engine.toolchain.toolchain`.
        options: the user's.
        progress: called with what is being done.

    Raises:
        BundleError: it is no tagger, or damaged.
        BackendError: TensorRT cannot build an engine, or not in the graph's precision.
        ClapError: a graph in INT8, or the folder cannot be written.
    """
    tagger = TaggerFile(path, engine=False)
    graph = tagger.manifest.audio_graph
    check_precision(graph.precision)
    profiles = audio_profiles(tagger.manifest, options)
    cache = path.with_name(f"{path.name}.timing-cache")
    content, _ = tagger.graph(graph)
    source = EngineSource(content, profiles, graph.precision == "fp16")
    built = build(chain.dialect, source, options, cache, progress)
    name = f"{path.name}.engine"
    with writing(path.with_name(name)) as part:
        part.write_bytes(built.plan)
    engine = record(name, graph, chain, options, built.layers, profiles)
    sha256 = hashlib.sha256(built.plan).hexdigest()
    made = BuiltFrom(1, tagger.sha256, sha256, len(built.plan), engine)
    with writing(engine_record(path)) as part:
        part.write_text(json.dumps(schema.to_plain(made), indent=2) + "\n", encoding="utf-8")
    return engine
