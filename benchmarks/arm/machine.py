"""A 64-bit ARM Debian in a folder, whose programs run here through qemu-user.

Debian's packages are unpacked, not configured: nothing of them has to run, and no kernel support
(binfmt, chroot) is needed. ``qemu -L`` looks every absolute path up in the folder first, so what
ONNX Runtime and OpenVINO ask about the processor is answered there, by files that describe the one
that qemu emulates; without them they would read of this machine's, and crash.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

QEMU = "qemu-aarch64-static"
CPU = "cortex-a72"  # a Raspberry Pi 4's
TRIPLET = "aarch64-linux-gnu"
DEBIAN = "python3 libsndfile1-dev libsoxr-dev zlib1g-dev libutf8proc-dev g++"
WHEELS = "numpy onnxruntime openvino soundfile soxr tokenizers"
PROGRAMS = {"debootstrap": "debootstrap", QEMU: "qemu-user-static", "dpkg-deb": "dpkg"}

# What Linux says of a Raspberry Pi 4: Arm's numbers for the Cortex-A72 (implementer 0x41, part
# 0xd08, r0p3) and its caches, as its Technical Reference Manual has them. One core is enough.
CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
SYSTEM = {
    "possible": "0",
    "present": "0",
    "online": "0",
    "kernel_max": "255",
    "cpu0/regs/identification/midr_el1": "0x00000000410fd083",
    "cpu0/topology/physical_package_id": "0",
    "cpu0/topology/core_id": "0",
    "cpu0/topology/core_cpus_list": "0",
}
CACHES = [  # level, kind, size, sets, ways
    (1, "Data", "32K", 256, 2),
    (1, "Instruction", "48K", 256, 3),
    (2, "Unified", "1024K", 1024, 16),
]


@dataclass(frozen=True)
class Machine:
    """What was made by :func:`make`."""

    root: Path

    @property
    def site(self) -> Path:
        """The wheels, unpacked."""
        return self.root / "opt" / "site"

    def command(self, program: str | Path, environment: dict[str, str] | None = None) -> list[str]:
        """That runs a program for ARM; its path is one of this machine."""
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        pairs = [word for variable in variables for word in ("-E", variable)]
        return [QEMU, "-cpu", CPU, "-L", str(self.root), *pairs, str(program)]

    def python(self, *paths: Path) -> list[str]:
        """That runs its Python, which sees the wheels and these folders."""
        environment = {
            "PYTHONPATH": os.pathsep.join(map(str, (*paths, self.site))),
            "PYTHONPYCACHEPREFIX": str(self.root / "var" / "cache" / "python"),
        }
        return self.command(self.root / "usr" / "bin" / "python3", environment)


def ran(command: list[str]) -> str:
    """What it printed; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise SystemExit(f"{' '.join(command[:3])} … ended with {done.returncode}: {said}")
    return done.stdout


def mirror() -> tuple[str, str]:
    """Debian's release and where this machine has it from, by its apt."""
    asked = ["--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    for line in ran(["apt-get", "indextargets", *asked]).splitlines():
        origin, codename, address = line.split()
        if origin == "Debian" and "-" not in codename:  # no updates, security or backports
            return codename, address
    raise SystemExit("apt of this machine knows no Debian: this needs a Debian")


def describe_cpu(root: Path) -> None:
    """Write what Linux would say of it."""
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(CPUINFO)
    files = dict(SYSTEM)
    for i, (level, kind, size, sets, ways) in enumerate(CACHES):
        one = {"level": level, "type": kind, "size": size, "number_of_sets": sets,
            "ways_of_associativity": ways, "coherency_line_size": 64, "shared_cpu_list": "0",
            "shared_cpu_map": "1"}  # fmt: skip
        files |= {f"cpu0/cache/index{i}/{name}": str(value) for name, value in one.items()}
    for name, value in files.items():
        path = root / "sys" / "devices" / "system" / "cpu" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")


def install_wheels(machine: Machine, archives: Path) -> None:
    """The versions that are installed here, for the Python and the C library there."""
    python = os.readlink(machine.root / "usr" / "bin" / "python3").removeprefix("python")
    (library,) = archives.glob("libc6_*.deb")  # libc6_2.36-9+deb12u10_arm64.deb
    minor = int(library.name.split("_")[1].split("-")[0].split(".")[1])
    tags = [f"--platform=manylinux_2_{i}_aarch64" for i in range(minor, 16, -1)]
    tags.append("--platform=manylinux2014_aarch64")
    wheels = [f"{name}=={metadata.version(name)}" for name in WHEELS.split()]
    ran([
        sys.executable, "-m", "pip", "install", "--quiet", "--target", str(machine.site),
        "--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *tags, *wheels,
    ])  # fmt: skip


def make(root: Path) -> Machine:
    """Make it, unless it is there already; root's rights are needed.

    Raises:
        SystemExit: something is missing, or a step failed.
    """
    if root.exists():
        return Machine(root)
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise SystemExit(f"missing here: apt-get install {' '.join(missing)}")
    partial = root.with_name(root.name + ".partial")
    packages = partial / "packages"
    shutil.rmtree(partial, ignore_errors=True)
    packages.mkdir(parents=True)
    codename, address = mirror()
    ran(["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase",
        f"--include={','.join(DEBIAN.split())}", codename, str(packages), address])  # fmt: skip
    machine = Machine(partial / "root")
    archives = packages / "var" / "cache" / "apt" / "archives"
    for package in sorted(archives.glob("*.deb")):
        ran(["dpkg-deb", "--extract", str(package), str(machine.root)])
    describe_cpu(machine.root)
    install_wheels(machine, archives)
    machine.root.rename(root)
    shutil.rmtree(partial)
    return Machine(root)
