"""What the process runs on, and how much memory it holds."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from clap_export.bench.report import Gpu, Machine
from runtime.cores import usable_cores

MIB = 1 << 20
PACKAGES = (
    "onnxruntime", "openvino", "torch", "transformers", "numpy", "soundfile", "soxr", "tokenizers"
)  # fmt: skip


def machine(gpu: Gpu | None = None) -> Machine:
    """This machine as it is now, with a GPU if one is measured."""
    import runtime

    versions = {"runtime": runtime.__version__}
    for package in PACKAGES:
        found = _version(package)
        if found is not None:
            versions[package] = found
    return Machine(
        cpu=_cpu_model(),
        cores=usable_cores(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=versions,
        gpu=gpu,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def memory_mib() -> tuple[float, float]:
    """Current and peak resident set size of this process, in MiB.

    The peak that ``getrusage`` gives on Linux is that of the program which started this one where
    that was larger, so the kernel's own account is read there. Where neither the kernel nor psutil
    tells the current size, the peak stands for it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status.read_text(), re.MULTILINE))
        if len(fields) == 2:
            return int(fields["VmRSS"]) * 1024 / MIB, int(fields["VmHWM"]) * 1024 / MIB
    try:
        import psutil

        info = psutil.Process().memory_info()
        current, peak = info.rss, getattr(info, "peak_wset", 0)  # the latter on Windows only
    except ImportError:
        current = peak = 0
    if not peak and sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return (current or peak) / MIB, max(peak, current) / MIB


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
    try:  # onnxruntime-gpu is another distribution of the same module
        return str(importlib.import_module(package).__version__)
    except (ImportError, AttributeError):
        return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    return platform.processor() or platform.machine() or "unknown"
