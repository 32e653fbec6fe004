"""What was quickest for a bundle on this machine, in a file beside the bundle.

``clap-export tune`` measures and writes it, and so does an export that chooses. An encoder that is
not told what to run on takes it, as long as machine, engines and model are those that were
measured; else it says so and runs as if there were none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from runtime import files, schema
from runtime.arguments import MOST_THREADS
from runtime.bundle import Bundle
from runtime.cores import usable_cores
from runtime.errors import BundleError, ClapError
from runtime.manifest import Measured, Name, Precision
from runtime.schema import Within

log = logging.getLogger(__name__)

FORMAT: Literal["clap-export-tuned"] = "clap-export-tuned"
SUFFIX = ".tuned.json"
CPUINFO = Path("/proc/cpuinfo")
MOST_BYTES = 1 << 20
# Distributions of one engine, of which one is installed.
ENGINES: dict[str, tuple[str, ...]] = {
    "cpu": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    "openvino": ("openvino",),
}

Provider = Literal["cpu", "openvino"]
Threads: TypeAlias = Annotated[int, Within(1, MOST_THREADS)]
Rows: TypeAlias = Annotated[int, Within(1, 1 << 20)]


@dataclass(frozen=True)
class Machine:
    """What times depend on.

    Attributes:
        cpu: name of the processor.
        instructions: hash of the instruction sets that it offers; clouds give many CPUs one name.
        cores: that the process may use.
        engines: the version of each that is installed, by provider.
    """

    cpu: Name
    instructions: Name
    cores: Rows
    engines: dict[Provider, Name]

    @classmethod
    def here(cls) -> Machine:
        """This machine, as this process sees it; no engine is imported."""
        cpu, instructions = _processor()
        versions: dict[Provider, str] = {}
        for provider in ("cpu", "openvino"):
            found = next(filter(None, map(_version, ENGINES[provider])), None)
            if found is not None:
                versions[provider] = found
        return cls(cpu, instructions, usable_cores(), versions)

    def unlike(self, other: Machine) -> str:
        """What is different about another; empty where nothing is."""
        if (self.cpu, self.instructions) != (other.cpu, other.instructions):
            same = " of other instruction sets" if self.cpu == other.cpu else ""
            return f"on the CPU {self.cpu}, and this is {other.cpu}{same}"
        if self.cores != other.cores:
            return f"with {self.cores} cores, and {other.cores} may be used now"
        if self.engines != other.engines:
            mine, here = (
                " and ".join(f"{name} {v}" for name, v in one.engines.items()) or "no engine"
                for one in (self, other)
            )
            return f"with {mine}, and here is {here}"
        return ""


@dataclass(frozen=True)
class Timing:
    """A way to run the audio graph.

    Attributes:
        threads: inside a run; None is the engine's own choice.
        bfloat16: the encoder's products were computed in it.
        batch: windows in a run.
        milliseconds: median, for each window.
    """

    provider: Provider
    threads: Threads | None
    bfloat16: bool
    batch: Rows
    milliseconds: Measured


@dataclass(frozen=True)
class Tuned:
    """What was quickest, and what it was chosen from.

    Attributes:
        audio_sha256: of the audio graph that was measured.
        precision: that the manifest said it had.
        provider: to run on where none is asked for.
        threads: inside a run; None is the engine's own choice.
        batch_size: windows in a run.
        timings: all that were measured.
    """

    format: Literal["clap-export-tuned"]
    format_version: Literal[1]
    audio_sha256: Name
    precision: Precision
    machine: Machine
    provider: Provider
    threads: Threads | None
    batch_size: Rows
    timings: tuple[Timing, ...]

    def stale(self, bundle: Bundle) -> str:
        """Why it does not hold for a bundle on this machine; empty where it does."""
        graph = bundle.manifest.audio_graph
        now = (bundle.manifest.files[graph.file].sha256, graph.precision)
        if (self.audio_sha256, self.precision) != now:
            return "of another audio graph"
        return self.machine.unlike(Machine.here())


def path_of(folder: Path) -> Path:
    """Where the choice for a bundle is: beside it, since it belongs to the machine."""
    whole = Path(folder).resolve()
    return whole.with_name(whole.name + SUFFIX)


def choice(bundle: Bundle) -> Tuned | None:
    """What was chosen for a bundle on this machine; None where nothing was.

    A file that cannot be used is said, and passed over.
    """
    path = path_of(bundle.folder)
    if not path.is_file():
        return None
    try:
        problem = ""
        found = read(path)
        stale = found.stale(bundle)
        if stale:
            problem = f"{path} was measured {stale}"
    except ClapError as error:
        problem, found = str(error).rstrip("."), None
    if problem:
        log.warning(
            "%s: it is not used. Measure again: clap-export tune %s", problem, bundle.folder
        )
        return None
    return found


def read(path: Path) -> Tuned:
    """Read a file of :func:`write`.

    Raises:
        BundleError: it cannot be read, or is no JSON.
        SchemaError: keys that do not fit.
    """
    data = files.read(path, most=MOST_BYTES, error=BundleError)
    return schema.read(Tuned, schema.read_json(data, str(path), BundleError), str(path))


def check_writable(folder: Path) -> None:
    """Refuse, before any work is done, a bundle beside which nothing can be written.

    Raises:
        ClapError: it lies in a folder that cannot be written.
    """
    beside = path_of(folder).parent
    if not os.access(beside, os.W_OK | os.X_OK):
        raise ClapError(
            f"the choice is written beside the bundle, and '{beside}' cannot be written: copy the "
            "bundle to where you may write."
        )


def write(folder: Path, tuned: Tuned) -> Path:
    """Write the choice for a bundle beside it; the path of the file.

    Raises:
        ClapError: the folder that the bundle lies in cannot be written.
    """
    path = path_of(folder)
    text = json.dumps(schema.to_plain(tuned), indent=2, ensure_ascii=False) + "\n"
    with files.writing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _processor() -> tuple[str, str]:
    """Its name, and a hash of its instruction sets."""
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as file:
            first = dict[str, str]()  # of many like it
            for line in file:
                name, separator, value = line.partition(":")
                if separator:
                    first[name.strip()] = value.strip()
                elif first:
                    break
    except OSError:
        first = {}
    name = first.get("model name") or first.get("CPU part") or platform.processor()
    offered = first.get("flags") or first.get("Features") or ""
    digest = hashlib.sha256(" ".join(sorted(offered.split())).encode()).hexdigest()
    return (name or platform.machine())[:255], digest[:16]


def _version(distribution: str) -> str | None:
    from importlib import metadata  # it brings much that a bundle without a choice needs not

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
