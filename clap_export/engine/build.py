"""One ONNX graph to one engine, with whatever TensorRT is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clap_export.engine import layers
from clap_export.engine.constraints import constrain
from clap_export.engine.options import BuildOptions
from runtime.backends.trt.dialect import Dialect
from runtime.content import Content
from runtime.engines import Profile
from runtime.errors import BackendError
from runtime.files import writing


@dataclass(frozen=True)
class Built:
    """An engine that was built.

    Attributes:
        plan: the engine file's content.
        layers: number of layers that put out each type.
    """

    plan: bytes
    layers: dict[str, int]


@dataclass(frozen=True)
class EngineSource:
    """What one engine is built from.

    Attributes:
        graph: the ONNX file's bytes, whose types are the engine's. The library gets these, as it
            might find another file at the same path.
        profiles: shapes to serve.
        half: whether the encoder is in FP16 in the graph, and must be in the engine.
    """

    graph: Content
    profiles: tuple[Profile, ...]
    half: bool


def build(
    dialect: Dialect,
    source: EngineSource,
    options: BuildOptions,
    cache: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build an engine.

    Args:
        dialect: the library; TensorRT's own needs the GPU, which must have been asked for before.
        source: the graph, and what is served of it.
        options: the user's.
        cache: timing cache, read if it is there and fits, and written.
        progress: called with what is being done.

    Raises:
        BackendError: TensorRT cannot parse or build it, or the encoder did not become FP16.
    """
    trt, graph, profiles, half = dialect.trt, source.graph, source.profiles, source.half
    builder = dialect.builder()
    network = dialect.network(builder)
    _parser = _parse(dialect, network, graph)  # holds the weights until the engine is built
    config = builder.create_builder_config()
    if half and dialect.weak:
        constrain(trt, network, graph.data)
        dialect.allow_half(config)
    elif half and layers.half_products(network) < layers.SHARE:
        raise _not_half(dialect, graph, layers.of_network(network))
    _configure(dialect, config, options)
    for profile in profiles:
        config.add_optimization_profile(_profile(builder, network, profile, graph))
    dialect.share_profiles(config)
    timings = None if dialect.ahead_of_time else _timings(config, cache)
    monitor = _monitor(trt, progress) if dialect.monitors else None
    dialect.watch(config, monitor)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"{dialect.library} {dialect.version} could not build '{graph.name}': its log above "
            "says why. Try a smaller --max-batch or a larger --workspace."
        )
    plan = bytes(plan)
    if timings is not None and cache is not None:
        _keep(cache, bytes(config.get_timing_cache().serialize()))
    if options.compute_capabilities:  # no GPU to look into the engine with: what was asked for
        return Built(plan, layers.of_network(network))
    found = inspect(dialect, plan, profiles, options)
    if half and not found.get("HALF"):
        raise _not_half(dialect, graph, found)
    return Built(plan, found)


def inspect(
    dialect: Dialect, plan: bytes, profiles: tuple[Profile, ...], options: BuildOptions
) -> dict[str, int]:
    """Read an engine's types back; see :func:`clap_export.engine.layers.of_engine`."""
    engine, _runtime = dialect.engine(plan, options.version_compatible)
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    for name, shapes in profiles[0].inputs.items():
        context.set_input_shape(name, shapes.opt)  # of shapes left open it does not tell the types
    inspector.execution_context = context
    return layers.of_engine(
        inspector.get_engine_information(dialect.trt.LayerInformationFormat.JSON)
    )


def _parse(dialect: Dialect, network: Any, graph: Content) -> Any:
    parser = dialect.parser(network)
    read = parser.parse(graph.data)
    if not read or not network.num_layers:  # it takes an empty file, and some others, for a graph
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise BackendError(
            f"{dialect.library} {dialect.version} cannot parse '{graph.name}': "
            f"{errors or 'the file holds no graph'}. Export the bundle again."
        )
    return parser


def _configure(dialect: Dialect, config: Any, options: BuildOptions) -> None:
    trt = dialect.trt
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # types can be read back
    config.builder_optimization_level = options.opt_level
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware != "none":
        level = getattr(trt.HardwareCompatibilityLevel, options.hardware.upper(), None)
        if level is None:
            raise BackendError(
                f"{dialect.library} {dialect.version} does not know --hardware-compatibility "
                f"{options.hardware}."
            )
        config.hardware_compatibility_level = level
    if options.compute_capabilities:
        dialect.aim(config, options.compute_capabilities)


def _profile(builder: Any, network: Any, profile: Profile, graph: Content) -> Any:
    names = {network.get_input(i).name for i in range(network.num_inputs)}
    if names != profile.inputs.keys():
        raise BackendError(
            f"'{graph.name}' has inputs {sorted(names)}; {sorted(profile.inputs)} were expected. "
            "Export the bundle again."
        )
    made = builder.create_optimization_profile()
    for name, shapes in profile.inputs.items():
        made.set_shape(name, shapes.min, shapes.opt, shapes.max)
    return made


def _timings(config: Any, cache: Path | None) -> Any:
    """The timing cache; one that another GPU or version wrote is replaced by an empty one."""
    kept = cache.read_bytes() if cache is not None and cache.is_file() else b""
    timings = config.create_timing_cache(kept)
    if timings is None or not config.set_timing_cache(timings, False):
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return timings


def _keep(path: Path, data: bytes) -> None:
    with writing(path) as part:
        part.write_bytes(data)


def _monitor(trt: Any, progress: Callable[[str], None]) -> Any:
    """TensorRT's progress, in per cent of its outermost phase that has steps."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self._steps[name] = steps
            progress(name.lower())

        def step_complete(self, name: str, step: int) -> bool:
            steps = self._steps.get(name, 0)
            if steps:
                progress(f"{name.lower()}: {100 * (step + 1) // steps} %")
            return True  # go on

        def phase_finish(self, name: str) -> None:
            self._steps.pop(name, None)

    return Monitor()


def _not_half(dialect: Dialect, graph: Content, found: dict[str, int]) -> BackendError:
    return BackendError(
        f"{dialect.library} {dialect.version} built '{graph.name}' with its encoder not in FP16 "
        f"(layers by type: {found}): the engine was thrown away."
    )
