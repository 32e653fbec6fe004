"""The command line of building engines: the options, and the verb ``build``.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command.ending import DONE, GATE_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.manifest import Parity

    Building = Callable[[Path, Path, Path, Callable[[str], None]], Parity | None]

all_options = options.all_of(
    click.option("--max-batch", type=click.IntRange(1), help="Most rows of a run.  [default: 64]"),
    click.option("--opt-batch", type=click.IntRange(1), help="Rows to tune for.  [default: 16]"),
    click.option("--workspace", "workspace_mib", type=click.IntRange(1),
                 help="MiB of GPU memory that a layer may use.  [default: all]"),
    click.option("--opt-level", type=click.IntRange(0, 5), help="Tuning effort.  [default: 3]"),
    click.option("--tf32", is_flag=True, help="Let FP32 products use TF32."),
    click.option("--version-compatible", is_flag=True,
                 help="Let later TensorRTs of this major version run the engines."),
    click.option("--hardware-compatibility", "hardware",
                 type=click.Choice(["none", "ampere_plus", "same_compute_capability"]),
                 help="Other GPUs that may run them.  [default: none]"),
    click.option("--device", type=click.IntRange(0), help="GPU to build on.  [default: 0]"),
    click.option("--compute-capability", "compute_capabilities", multiple=True,
                 help="Build ahead of time for such GPUs (8.9), without one; TensorRT-RTX."),
    click.option("--library", type=click.Choice(["tensorrt", "tensorrt_rtx"]),
                 help="What builds.  [default: what is installed]"),
)  # fmt: skip


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The engine options among click's arguments that were given."""
    names = {option.name for option in build.params} - {"bundle", "as_json"}
    found = {name: value for name, value in arguments.items() if name in names}
    return {n: v for n, v in found.items() if v is not None and v is not False and v != ()}


def flags(engine: dict[str, Any]) -> list[str]:
    """Engine options as they are typed."""
    names = {option.name: option.opts[0] for option in build.params}
    return [names[name] for name in engine]


def building(engine: dict[str, Any], precision: str = "fp16") -> Building:
    """What builds engines into a bundle here, and measures them; its machine has been looked at.

    It takes the bundle, one to measure against, the path whose neighbour keeps timings, and a
    progress function; it returns None where the engines cannot run.
    """
    from clap_export.engine.bundle import add_engines, check_precision, measure
    from clap_export.engine.options import BuildOptions
    from clap_export.engine.toolchain import toolchain

    check_precision(precision)
    wanted = BuildOptions(**engine)
    chain = toolchain(wanted)

    def run(
        folder: Path, reference: Path, name: Path, progress: Callable[[str], None]
    ) -> Parity | None:
        cache = name.with_name(f"{name.name}.timing-cache")
        add_engines(folder, chain, wanted, cache, progress)
        if chain.driver is None:
            return None
        return measure(folder, reference, wanted.device, progress)

    return run


@click.command()
@click.argument("bundle", type=PATH)
@all_options
@options.json_option
def build(bundle: Path, as_json: bool, **engine: Any) -> int:
    """Build BUNDLE's TensorRT engines on this machine from its ONNX graphs; exit code 1 if a gate
    fails. No torch and no checkpoint is needed.

    The shapes, the GPU and the library go into the manifest; timings are kept in a file beside the
    bundle, which makes the next build quicker. Of a tagger (.onnx, see freeze) the engine is
    written beside it, and not measured.
    """
    if bundle.suffix == ".onnx":
        return _of_tagger(bundle, given(engine), as_json)
    built = building(given(engine))
    from clap_export.cli import show

    with show.stages() as progress:
        parity = built(bundle, bundle, bundle, progress)
    if as_json:
        from runtime.manifest import read_manifest

        show.manifest_json(read_manifest(bundle))
    else:
        show.built(bundle, parity)
    return DONE if parity is None or parity.passed else GATE_FAILED


def _of_tagger(path: Path, engine: dict[str, Any], as_json: bool) -> int:
    from clap_export.cli import show
    from clap_export.engine.options import BuildOptions
    from clap_export.engine.tagger import add_engine
    from clap_export.engine.toolchain import toolchain

    wanted = BuildOptions(**engine)
    chain = toolchain(wanted)
    with show.stages() as progress:
        made = add_engine(path, chain, wanted, progress)
    show.engine(made, as_json)
    return DONE
